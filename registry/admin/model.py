"""Models in admin: what is it, where does it run, is it well. Nothing is typed here: rows come
from installing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inference.errors import InferenceError
from inference.types import LoadedModel, LoadRequest
from registry import pulls, verification, weights
from registry.models import Model

if TYPE_CHECKING:
    from inference.engine import Engine

    _Admin = admin.ModelAdmin[Model]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time

T = TypeVar("T")

LOAD_TIMEOUT_S: Final = 600.0
"""As long as a worker may be silent while it loads (openvino-facts 23)."""


@admin.register(Model)
class ModelAdmin(_Admin):
    """Read-only but for its actions; a load runs in the server's engine, which lives in the same process."""

    list_display = (
        "name",
        "kind",
        "size",
        "parameter_size",
        "quantization",
        "context_length",
        "can",
        "runs_on",
        "builtin",
    )
    list_filter = ("kind", "family", "quantization", "builtin")
    search_fields = ("name", "family", "architecture", "digest")
    actions = ("verify", "pull", "load", "unload")
    fieldsets = (
        (None, {"fields": ("name", "kind", "can", "runs_on", "builtin", "pinned", "modified_at")}),
        (
            "What it is",
            {
                "fields": (
                    "architecture",
                    "family",
                    "parameter_size",
                    "quantization",
                    "context_length",
                    "embedding_length",
                    "block_count",
                    "head_count",
                    "head_count_kv",
                    "kv_bytes_per_token",
                )
            },
        ),
        ("How it is loaded", {"fields": ("exact", "pooling", "normalize", "system", "parameters")}),
        ("Files", {"fields": ("size", "digest", "path", "file_table")}),
        ("Texts", {"classes": ("collapse",), "fields": ("chat_template", "template", "licence")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return [str(name) for _, options in self.fieldsets for name in options["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(ordering="size_bytes")
    def size(self, row: Model) -> str:
        return filesizeformat(row.size_bytes)

    @admin.display(description="parameters", ordering="parameter_count")
    def parameter_size(self, row: Model) -> str:
        return weights.human(row.parameter_count) if row.parameter_count else "unknown"

    @admin.display(description="capabilities")
    def can(self, row: Model) -> str:
        return ", ".join(row.capabilities)

    @admin.display(description="runs on")
    def runs_on(self, row: Model) -> str:
        """Every worker that holds the model now, by the device that executes it."""
        server = _server()
        if server is None:
            return "unknown"
        held = [_place(model) for model in server.snapshot().models if model.digest == row.digest]
        return ", ".join(held) or "not loaded"

    @admin.display(description="KV cache bytes a token")
    def kv_bytes_per_token(self, row: Model) -> int:
        return row.kv_bytes_per_token

    @admin.display(description="files")
    def file_table(self, row: Model) -> SafeString:
        lines = format_html_join(
            "",
            '<tr><td>{}</td><td style="text-align:right">{}</td><td><code>{}</code></td></tr>',
            ((name, filesizeformat(size), sha256) for name, (size, sha256) in sorted(row.files.items())),
        )
        return format_html("<table>{}</table>", lines)

    @admin.action(description="Verify the files of the selected models", permissions=["change"])
    def verify(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        for row in rows:
            checks = list(verification.check_files(row.spec()))
            faults = [f"{check.file} {check.fault}" for check in checks if not check.good]
            if faults:
                self.message_user(
                    request, f"Damaged files of {row.name}: {'; '.join(faults)}", messages.ERROR
                )
            else:
                self.message_user(
                    request, f"All {len(checks)} files of {row.name} are good", messages.SUCCESS
                )

    @admin.action(description="Pull the selected models again", permissions=["change"])
    def pull(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        """Where the repository has not changed this fetches only what is missing."""
        for row in rows:
            if not row.source or row.builtin:
                self.message_user(request, f"Nothing to pull: {row.name} came from no hub", messages.WARNING)
                continue
            pulls.pull_again(row)
            self.message_user(request, f"Asked for {row.name}; see Downloads", messages.SUCCESS)

    @admin.action(description="Load the selected models", permissions=["change"])
    def load(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        def work(server: Engine, row: Model) -> Coroutine[Any, Any, LoadedModel]:
            return server.load(row.spec(), LoadRequest(model=row.name))

        self._on_engine(request, rows, work, lambda name, loaded: f"Loaded {name} on {_place(loaded)}")

    @admin.action(description="Unload the selected models", permissions=["change"])
    def unload(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        def work(server: Engine, row: Model) -> Coroutine[Any, Any, bool]:
            return server.unload(row.spec())

        self._on_engine(request, rows, work, _unloaded)

    def _on_engine(
        self,
        request: HttpRequest,
        rows: QuerySet[Model],
        work: Callable[[Engine, Model], Coroutine[Any, Any, T]],
        done: Callable[[str, T], str],
    ) -> None:
        """Run it for each row on the engine's loop while this request's thread waits, and say how it went.

        Admin capitalises what it is told, so no message begins with a model's name.
        """
        server = _server()
        if server is None or server.loop is None:
            self.message_user(request, "Models load in the server: start it with `serve`", messages.ERROR)
            return
        for row in rows:
            running = asyncio.run_coroutine_threadsafe(work(server, row), server.loop)
            try:
                self.message_user(request, done(row.name, running.result(LOAD_TIMEOUT_S)), messages.SUCCESS)
            except InferenceError as error:
                self.message_user(request, f"Failed for {row.name}: {error}", messages.ERROR)
            except TimeoutError:
                running.cancel()
                self.message_user(
                    request, f"Gave up on {row.name} after {LOAD_TIMEOUT_S:g} s", messages.ERROR
                )


def _server() -> Engine | None:
    """The engine, where this process is the server; commands load the admin too and are spared the import."""
    from inference import engine

    try:
        return engine.current()
    except RuntimeError:
        return None


def _unloaded(name: str, was_loaded: bool) -> str:
    return f"Unloaded {name}" if was_loaded else f"Nothing to do: {name} was not loaded"


def _place(model: LoadedModel) -> str:
    where = model.executed or model.device
    return where if model.state == "ready" else f"{where} (loading)"
