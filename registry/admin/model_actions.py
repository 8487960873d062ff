"""What can be done to models in admin. What takes long goes on, and the list tells how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from inference.errors import InferenceError
from registry import convert, install, pulls, removal, verification_runs
from registry.admin import cells, running
from registry.admin.removing import RemovingAdmin
from registry.models import Alias, Model, Verification

_LEVELS = {True: messages.SUCCESS, False: messages.ERROR, None: messages.INFO}


class ModelActions(RemovingAdmin):
    """Those who may not change a model may do none of it."""

    actions = (
        *("load", "unload", "pin", "unpin", "keep_here", "let_out", "verify", "pull"),
        *("to_int4", "to_int8", "to_int4_npu", "remove"),
    )

    @admin.action(description="Load the selected models", permissions=["change"])
    def load(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._on_engine(request, rows, running.load)

    @admin.action(description="Unload the selected models", permissions=["change"])
    def unload(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._on_engine(request, rows, running.unload)

    @admin.action(description="Pin the selected models", permissions=["change"])
    def pin(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._set_pinned(request, rows, True)

    @admin.action(description="Unpin the selected models", permissions=["change"])
    def unpin(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._set_pinned(request, rows, False)

    @admin.action(description="Keep requests to the selected models on this machine", permissions=["change"])
    def keep_here(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._set(request, rows, "local_only", True, "Kept on this machine")

    @admin.action(description="Let other servers answer for the selected models", permissions=["change"])
    def let_out(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._set(request, rows, "local_only", False, "Open to other servers")

    @admin.action(description="Verify the files of the selected models", permissions=["change"])
    def verify(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        """Small ones now, as many as AT_ONCE_BYTES holds; the others by a thread."""
        left = verification_runs.AT_ONCE_BYTES
        later: list[tuple[Model, Verification]] = []
        for row in rows.order_by("size_bytes"):
            begun = verification_runs.begin(row)
            if begun is None:
                self.message_user(request, f"Already being verified: {row.name}", messages.WARNING)
                continue
            left -= row.size_bytes
            if left < 0:
                later.append((row, begun))
                continue
            self._tell_verified(request, row, begun)
        if later:
            names = ", ".join(row.name for row, _ in later[:5]) + (", …" if len(later) > 5 else "")
            verification_runs.run_in_background(later)
            self.message_user(
                request, f"Verifying {names}: the column `files` tells how far it is", messages.INFO
            )

    def _tell_verified(self, request: HttpRequest, row: Model, begun: Verification) -> None:
        try:
            ended = verification_runs.run(row, begun)
        except verification_runs.Removed:
            self.message_user(request, f"Changed meanwhile: {row.name}", messages.WARNING)
            return
        if ended.faults:
            said = f"Damaged files of {row.name}: {'; '.join(ended.faults)}. Pull it again to mend them"
            self.message_user(request, said, messages.ERROR)
        else:
            self.message_user(request, f"All {len(row.files)} files of {row.name} are good", messages.SUCCESS)

    @admin.action(description="Pull the selected models again", permissions=["change"])
    def pull(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        """Where the repository has not changed this fetches only what is missing."""
        for row in rows:
            if not row.is_of_hub:
                said = f"Nothing to pull: {row.name} is not as it came from a hub"
                self.message_user(request, said, messages.WARNING)
                continue
            pulls.pull_again(row)
            self.message_user(request, f"Asked for {row.name}; see Downloads", messages.SUCCESS)

    @admin.action(description="Convert to int4: a model of its own", permissions=["change"])
    def to_int4(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._convert(request, rows, "int4")

    @admin.action(description="Convert to int8: a model of its own", permissions=["change"])
    def to_int8(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._convert(request, rows, "int8")

    @admin.action(
        description="Convert for an NPU: a model of its own",
        permissions=["change"],
    )
    def to_int4_npu(self, request: HttpRequest, rows: QuerySet[Model]) -> None:
        self._convert(request, rows, "int4-npu")

    # --- removal ----------------------------------------------------------------------------------------------

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or not obj.builtin)

    def what_goes(self, row: Model) -> str:
        path = Path(row.path)
        shared = Model.objects.filter(path=row.path).exclude(pk=row.pk).count()
        if shared:
            files = f"its name; the files stay, {shared} other model{'s' if shared > 1 else ''} use them"
        elif install.is_ours(path):
            files = f"its name and {cells.size(row.size_bytes)} of files"
        else:
            files = "its name; the files stay, they lie where they were imported from"
        aliases = list(Alias.objects.filter(target__iexact=row.name).values_list("name", flat=True)[:5])
        return files + (f". Aliases that lose their model: {', '.join(aliases)}" if aliases else "")

    def why_not(self, row: Model) -> str:
        if row.builtin:
            return "it ships with the program"
        now = running.snapshot()
        busy = sum(held.running for held in running.places(row.name, now)) if now else 0
        return f"it answers {busy} request{'s' if busy > 1 else ''} now" if busy else ""

    def take_away(self, row: Model) -> None:
        removal.remove(row.name)

    # --- inside -----------------------------------------------------------------------------------------------

    def _on_engine(
        self,
        request: HttpRequest,
        rows: Iterable[Model],
        ask: Callable[[Iterable[Model]], list[running.Outcome]],
    ) -> None:
        try:
            outcomes = ask(rows)
        except running.NoServer:
            self.message_user(request, "Models load in the server: start it with `serve`", messages.ERROR)
            return
        for said, went_well in outcomes:
            self.message_user(request, said, _LEVELS[went_well])

    def _convert(self, request: HttpRequest, rows: Iterable[Model], precision: str) -> None:
        """Each is a pull of its repository, which converts what it fetches."""
        for row in rows:
            try:
                asked = convert.request(row, precision)
                self.message_user(request, f"Asked for {asked.name}; see Downloads", messages.SUCCESS)
            except InferenceError as error:
                self.message_user(request, f"Not converted: {row.name}: {error}", messages.ERROR)

    def _set_pinned(self, request: HttpRequest, rows: QuerySet[Model], pinned: bool) -> None:
        self._set(request, rows, "pinned", pinned, "Pinned" if pinned else "Unpinned")

    def _set(self, request: HttpRequest, rows: QuerySet[Model], field: str, value: bool, verb: str) -> None:
        """A query set of its own: one with annotations cannot be updated everywhere."""
        wanted: list[Any] = list(rows.values_list("pk", flat=True))
        changed = Model.objects.filter(pk__in=wanted, **{field: not value}).update(**{field: value})
        self.message_user(request, f"{verb} {changed} of {len(wanted)} selected", messages.SUCCESS)
