"""Other servers in admin: added, tested, switched off; how each is now, where this process is the server. A key is
written there and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from inference.states import DeviceState
from registry import backends
from registry.admin import cells, running, why_here
from registry.admin.page_actions import PageActions
from registry.models import Backend
from registry.sealing import SealBroken

if TYPE_CHECKING:
    _Form = forms.ModelForm[Backend]
else:
    _Form = forms.ModelForm

MOST_TESTED = 5
"""At once: each may take its time to answer."""
_WIDE = {"size": 60, "spellcheck": "false", "autocomplete": "off"}
_LINES = {"rows": 3, "cols": 50, "spellcheck": "false"}
_SHOWN = 12
"""Models named in a message."""


_WHERE = (
    *("name", "protocol", "url", "key", "clear_key"),
    *("verify_tls", "ca_file", "enabled", "note"),
)


class BackendForm(_Form):
    """The key goes in and never comes out: its field is empty whatever the row has."""

    key = forms.CharField(
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={**_WIDE, "autocomplete": "new-password"}),
        help_text="none is set; servers of your own often want none",
    )
    clear_key = forms.BooleanField(label="take its key away", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.sealed_key:
            self.fields["key"].help_text = "one is set; left empty, it stays"

    class Meta:
        model = Backend
        fields = (
            *("name", "protocol", "url", "verify_tls", "ca_file", "enabled", "note"),
            *("kind", "watts", "latency_ms", "tokens_per_s", "priority"),
            *("supported", "preferred", "excluded", "aliases", "max_size"),
            *("slots", "first_byte_s", "silence_s"),
        )
        widgets = {
            "name": forms.TextInput(attrs={**_WIDE, "size": 30}),
            "url": forms.TextInput(attrs={**_WIDE, "placeholder": "http://box:11434"}),
            "ca_file": forms.TextInput(attrs=_WIDE),
            "note": forms.TextInput(attrs={"size": 60}),
            "max_size": forms.TextInput(attrs={"size": 8, "placeholder": "70b"}),
            "supported": forms.Textarea(attrs=_LINES),
            "preferred": forms.Textarea(attrs=_LINES),
            "excluded": forms.Textarea(attrs=_LINES),
            "aliases": forms.Textarea(attrs={**_LINES, "placeholder": "gpt-4o=Qwen/Qwen3-8B"}),
        }

    def clean(self) -> dict[str, Any]:
        """The key goes into the row first: whether the address may change depends on it."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        key, clear = cleaned.pop("key", ""), cleaned.get("clear_key")
        if key and clear:
            self.add_error("clear_key", "give a key, or take it away")
        elif key or clear:
            try:
                self.instance.set_key(key)
            except ValueError as error:
                self.add_error("key", str(error))
        return cleaned


@admin.register(Backend)
class BackendAdmin(PageActions):
    form = BackendForm
    list_display = ("name", "speaks", "address", "health", "models", "work", "what", "key_state")
    list_filter = ("enabled", "protocol", "kind")
    search_fields = ("name", "url", "note")
    list_per_page = 50
    show_full_result_count = False
    actions = ("test", "enable", "disable")
    empty_words = (
        "No other servers. Add an Ollama, LM Studio, vLLM or npuproxy: its models are answered here too."
    )
    fieldsets = (
        (None, {"fields": ("health", "models", "work")}),
        (
            "Where it is",
            {"fields": _WHERE},
        ),
        (
            "What it is",
            {
                "description": "What is left empty is assumed by its class until it was measured.",
                "fields": ("kind", "watts", "latency_ms", "tokens_per_s", "priority"),
            },
        ),
        ("Which models it gets", {"fields": ("supported", "preferred", "excluded", "aliases", "max_size")}),
        ("How long, how many", {"fields": ("slots", "first_byte_s", "silence_s")}),
    )  # fmt: skip

    class Media:
        css = cells.STYLES

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.add_backend")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Keys, headers and figures go by its name, so it stays."""
        return ["health", "models", "work", *(("name",) if obj else ())]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new one has no state, and no key to take away."""
        if obj:
            return self.fieldsets
        (title, options), *rest = self.fieldsets[1:]
        fields = tuple(name for name in options["fields"] if name != "clear_key")
        return [(title, {**options, "fields": fields}), *rest]

    def buttons(self, row: Any) -> dict[str, str]:
        turn = {"disable": "Switch off"} if row.enabled else {"enable": "Switch on"}
        return {"test": "Test", **turn}

    def why(self, request: HttpRequest, row: Backend) -> str:
        return why_here.address(request, device=row.name)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        saving = dict.fromkeys(("show_save", "show_save_and_continue"), True)
        return super().change_view(request, object_id, form_url, saving | (extra_context or {}))

    def save_model(self, request: HttpRequest, obj: Backend, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for words in backends.doubts(obj):
            messages.warning(request, f"About {obj.name}: {words}")

    # --- actions ------------------------------------------------------------------------------------------------

    @admin.action(description="Test the selected servers: ask each for its models", permissions=["change"])
    def test(self, request: HttpRequest, rows: QuerySet[Backend]) -> None:
        from registry import backend_probe  # brings an HTTP client, which commands that load admin do without

        for row in rows[:MOST_TESTED]:
            try:
                found = backend_probe.probe(row.spec())
            except (SealBroken, ValueError) as error:
                messages.error(request, f"Not asked: {row.name}: {error}")
                continue
            if isinstance(found, backend_probe.Failed):
                messages.error(request, f"No answer from {row.name}: {found.fault} – {found.mend.words}")
                continue
            names = ", ".join(found.served[:_SHOWN]) + (", …" if len(found.served) > _SHOWN else "")
            took, count = f"{found.latency_s * 1000:.0f} ms", _count(len(found.served))
            messages.success(request, f"Answer from {row.name} in {took}, {count}{names and ': '}{names}")
        if (left := len(rows) - MOST_TESTED) > 0:
            messages.warning(request, f"{left} more were not asked: {MOST_TESTED} at once.")

    @admin.action(description="Switch on", permissions=["change"])
    def enable(self, request: HttpRequest, rows: QuerySet[Backend]) -> None:
        self._turn(request, rows, True)

    @admin.action(description="Switch off: no new request goes there", permissions=["change"])
    def disable(self, request: HttpRequest, rows: QuerySet[Backend]) -> None:
        self._turn(request, rows, False)

    def _turn(self, request: HttpRequest, rows: QuerySet[Backend], enabled: bool) -> None:
        wanted: list[Any] = list(rows.values_list("pk", flat=True))
        count = Backend.objects.filter(pk__in=wanted).exclude(enabled=enabled).update(enabled=enabled)
        verb = "Switched on" if enabled else "Switched off"
        messages.success(request, f"{verb}: {count} of {len(wanted)}; the server follows within two seconds.")

    # --- cells --------------------------------------------------------------------------------------------------

    @admin.display(description="API", ordering="protocol")
    def speaks(self, row: Backend) -> str:
        return row.get_protocol_display()

    @admin.display(description="address", ordering="url")
    def address(self, row: Backend) -> SafeString:
        return format_html('<code class="address">{}</code>', row.url)

    @admin.display(description="now", ordering="enabled")
    def health(self, row: Backend) -> SafeString:
        if not row.enabled:
            return cells.tag("off")
        if running.snapshot() is None:
            return cells.tag("unknown", title="this process is not the server")
        found = _state(row)
        if found is None:
            why = next(iter(backends.doubts(row)), "the server will follow in a moment")
            return format_html('{} <span class="why">{}</span>', cells.tag("not asked", "warn"), why)
        if found.healthy:
            return cells.tag("well", "good")
        return format_html('{} <span class="why">{}</span>', cells.tag("not well", "bad"), found.fault)

    @admin.display(description="models")
    def models(self, row: Backend) -> SafeString | str:
        found = _state(row)
        if found is None or not found.healthy:
            return cells.UNKNOWN
        return format_html('<span title="{}">{}</span>', "\n".join(found.models), len(found.models))

    @admin.display(description="requests now")
    def work(self, row: Backend) -> str:
        found = _state(row)
        if found is None:
            return cells.UNKNOWN
        if not (found.running or found.waiting):
            return "none"
        bound = f" of {found.slots}" if found.slots else ""
        return f"{found.running}{bound} running" + (f", {found.waiting} waiting" if found.waiting else "")

    @admin.display(description="class", ordering="kind")
    def what(self, row: Backend) -> str:
        return row.get_kind_display()

    @admin.display(description="key")
    def key_state(self, row: Backend) -> SafeString:
        return cells.tag("set", "good") if row.sealed_key else cells.UNKNOWN


def _state(row: Backend) -> DeviceState | None:
    now = running.snapshot()
    others = (state for state in now.devices if not state.local) if now else ()
    return next((state for state in others if state.id == row.name), None)


def _count(models: int) -> str:
    return "1 model" if models == 1 else f"{models} models"
