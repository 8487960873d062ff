"""The efficiency mode in admin: chosen in a form, beside what counts now and what the machine says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from inference.modes import MODES, NAMES, Mode
from inference.telemetry.readings import Flag, Reading
from registry.admin import cells, running
from registry.models.efficiency import ONLY, EfficiencyChoice

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[EfficiencyChoice]
    _Form = ModelForm[EfficiencyChoice]
else:
    _Admin, _Form = admin.ModelAdmin, ModelForm  # they take no parameter at run time

_PATH = "admin:registry_efficiencychoice_{}"


@admin.register(EfficiencyChoice)
class EfficiencyAdmin(_Admin):
    """One row. Without it NPU_PROXY_MODE counts, and its form begins with that."""

    fields = ("mode", "effective", "reason", "limits", "machine", "modes", "changed_at")
    readonly_fields = ("effective", "reason", "limits", "machine", "modes", "changed_at")

    class Media:
        css = cells.STYLES

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not EfficiencyChoice.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: EfficiencyChoice | None = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """There is no list of one row."""
        if EfficiencyChoice.objects.exists():
            return HttpResponseRedirect(reverse(_PATH.format("change"), args=(ONLY,)))
        if self.has_add_permission(request):
            return HttpResponseRedirect(reverse(_PATH.format("add")))
        return super().changelist_view(request, extra_context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponse:
        """The first choice adds the row, which is no news to who chooses."""
        once = dict.fromkeys(("show_save_and_add_another", "show_save_and_continue"), False)
        titled = {"title": "Efficiency mode", **once, **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, titled)

    def get_fields(self, request: HttpRequest, obj: EfficiencyChoice | None = None) -> tuple[str, ...]:
        return self.fields if obj is not None else tuple(n for n in self.fields if n != "changed_at")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, str | list[str]]:
        return {"mode": str(settings.MODE)}

    def save_model(self, request: HttpRequest, obj: EfficiencyChoice, form: _Form, change: bool) -> None:
        """Counts at once in this server, and within two seconds in any other process of it."""
        obj.pk, obj.changed_at = ONLY, timezone.now()
        super().save_model(request, obj, form, change)
        if (server := running.engine()) is not None:
            server.efficiency.choose(obj.mode)

    @admin.display(description="counts now")
    def effective(self, row: EfficiencyChoice) -> SafeString:
        server = running.engine()
        if server is None:
            return cells.tag("unknown", title="this process is not the server")
        return cells.tag(server.efficiency.now.mode.name, "good")

    @admin.display(description="because")
    def reason(self, row: EfficiencyChoice) -> str:
        server = running.engine()
        return server.efficiency.now.reason if server is not None else cells.UNKNOWN

    @admin.display(description="a device may have")
    def limits(self, row: EfficiencyChoice) -> str:
        server = running.engine()
        return _limits(server.efficiency.now.mode) if server is not None else cells.UNKNOWN

    @admin.display(description="this machine")
    def machine(self, row: EfficiencyChoice) -> SafeString:
        """What Auto looks at; unknown decides nothing."""
        server = running.engine()
        if server is None:
            return cells.UNKNOWN
        now = server.telemetry.readings()
        facts = (
            ("battery", *_reading(now.battery)),
            ("on battery", *_flag(now.on_battery)),
            ("temperature, mean", *_reading(now.mean_temperature)),
            ("fans, mean", *_reading(now.mean_fan)),
        )
        return cells.table(("what", "now", "source"), facts)

    @admin.display(description="what they mean")
    def modes(self, row: EfficiencyChoice) -> SafeString:
        rows = [(mode.name, mode.meaning, ", ".join(mode.order), _limits(mode)) for mode in MODES.values()]
        auto = next(name for name in NAMES if name not in MODES)
        rows.append((auto, "by battery, hours, heat and fans", cells.UNKNOWN, "those of what it stands for"))
        return cells.table(("mode", "meaning", "order", "a device may have"), rows)


def _limits(mode: Mode) -> str:
    bounds = ((mode.max_watts, "W"), (mode.max_fan_percent, "% of its fans"), (mode.max_celsius, "°C"))
    return ", ".join(f"{bound:g} {unit}" for bound, unit in bounds if bound is not None) or "any"


def _reading(reading: Reading) -> tuple[str, str]:
    if reading.value is None:
        return "unknown", cells.UNKNOWN
    return f"{reading.value:.0f} {reading.unit}", reading.source


def _flag(flag: Flag) -> tuple[str, str]:
    return {True: "yes", False: "no", None: "unknown"}[flag.value], flag.source or cells.UNKNOWN
