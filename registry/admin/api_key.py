"""API keys in admin: made there, shown once, revoked. Nobody can read a secret later, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from registry import api_keys
from registry.admin import cells
from registry.admin.asking import Question, ask, is_answered
from registry.models import ApiKey

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[ApiKey]
    _Form = forms.ModelForm[ApiKey]
else:
    _Admin = admin.ModelAdmin  # takes no parameter at run time
    _Form = forms.ModelForm

_REVOKE = Question(
    "revoke",
    "Revoke?",
    "A revoked key never opens anything again. Who uses it is refused within two seconds:",
    "Revoke",
)
_TONES: dict[str, cells.Tone] = {"active": "good", "expired": "warn", "revoked": "bad"}


class ApiKeyForm(_Form):
    class Meta:
        model = ApiKey
        fields = (
            *("name", "scope", "expires_at", "models_allowed", "devices_allowed", "remote_allowed"),
            *("priority", "default_priority", "requests_per_minute", "tokens_per_minute"),
        )
        widgets = {
            "models_allowed": forms.TextInput(attrs={"size": 60, "spellcheck": "false"}),
            "devices_allowed": forms.TextInput(attrs={"size": 30, "spellcheck": "false"}),
        }

    def clean_models_allowed(self) -> str:
        return self._bound("models_allowed", api_keys.models_text)

    def clean_devices_allowed(self) -> str:
        return self._bound("devices_allowed", api_keys.devices_text)

    def _bound(self, field: str, read: Callable[[str], str]) -> str:
        """An empty field is no bound; one that holds nothing but commas is a mistake."""
        value: str = self.cleaned_data[field]
        try:
            return read(value) if value.strip() else ""
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


@admin.register(ApiKey)
class ApiKeyAdmin(_Admin):
    """Its bounds may be changed at any time; its secret is not there to be shown."""

    form = ApiKeyForm
    list_display = ("name", "begins", "scope", "state", "bounds", "expiry", "requests", "tokens", "last_used")
    list_filter = ("scope",)
    search_fields = ("name", "shown")
    list_select_related = ("use",)
    list_per_page = 50
    show_full_result_count = False
    actions = ("revoke",)
    readonly_fields = ("begins", "state", "last_used", "requests", "tokens", "created_at", "revoked_at")
    empty_words = "No keys. This machine needs none; who asks from elsewhere does. Add one."

    class Media:
        css = cells.STYLES

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return (*ApiKeyForm.Meta.fields, *(self.readonly_fields if obj else ()))

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            request.META["npuproxy.secret"] = api_keys.issue(obj)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The secret on a page of its own, and nowhere else: no cookie, session or address has it."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Key of {obj.name}",
            "secret": request.META.pop("npuproxy.secret"),
            "media": self.media,
        }
        response = TemplateResponse(request, "admin/registry/api_key_made.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke: the keys open nothing any more", permissions=["change"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> HttpResponse | None:
        if not is_answered(request):
            going = [(row, f"begins with {row.shown}") for row in rows if row.revoked_at is None]
            staying = [(row, "revoked already") for row in rows if row.revoked_at is not None]
            return ask(self, request, _REVOKE, going, staying)
        count = rows.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"{count} revoked; refused within two seconds, for ever.")
        return None

    @admin.display(description="begins with", ordering="shown")
    def begins(self, row: ApiKey) -> SafeString:
        return cells.mono(f"{row.shown}…")

    @admin.display(description="state")
    def state(self, row: ApiKey) -> SafeString:
        state = api_keys.state(row)
        return cells.tag(state, _TONES[state])

    @admin.display(description="bounds")
    def bounds(self, row: ApiKey) -> SafeString:
        rates = ((row.requests_per_minute, "requests"), (row.tokens_per_minute, "tokens"))
        shown = [f"{rate:,} {unit}/min" for rate, unit in rates if rate]
        here = "" if row.remote_allowed else "this machine only"
        bounds = (row.models_allowed, row.devices_allowed, here)
        return cells.tags([*(text for text in bounds if text), *shown])

    @admin.display(description="expires", ordering="expires_at")
    def expiry(self, row: ApiKey) -> str:
        return f"{row.expires_at:%Y-%m-%d %H:%M}" if row.expires_at else "never"

    @admin.display(description="requests", ordering="use__requests")
    def requests(self, row: ApiKey) -> str:
        return f"{row.use.requests:,}" if hasattr(row, "use") else "0"

    @admin.display(description="tokens", ordering="use__tokens")
    def tokens(self, row: ApiKey) -> str:
        return f"{row.use.tokens:,}" if hasattr(row, "use") else "0"

    @admin.display(description="last used", ordering="use__used_at")
    def last_used(self, row: ApiKey) -> SafeString:
        return cells.ago(row.use.used_at if hasattr(row, "use") else None)
