"""Rows of devices: written when the server finds them, read for the budgets that operators gave them."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db import transaction

from inference.device_names import kind_of
from inference.states import DeviceState
from registry.models import Device

MB = 1_000_000


@transaction.atomic
def found(states: Iterable[DeviceState]) -> None:
    """Keeps a row for each, and for those that have gone; writes only what is new, since each write makes the server
    read the table again."""
    known = {row.name: row for row in Device.objects.all()}
    for state in states:
        row = known.pop(state.id, None) or Device(name=state.id)
        facts: dict[str, object] = {
            "full_name": state.full_name[:200],
            "emulated": state.emulated,
            "kind": state.kind or kind_of(state.id, state.full_name),
            "driver": state.driver[:100],
            "memory_bytes": state.memory_bytes,
            "present": state.available,
        }
        if row.pk is None or any(getattr(row, field) != value for field, value in facts.items()):
            for field, value in facts.items():
                setattr(row, field, value)
            row.save()
    for row in known.values():
        if row.present:
            row.present = False
            row.save()


def preferred() -> str:
    """'NPU' where this machine has one and is to use it: models are pulled in the build made for it; else ''."""
    wanted = settings.ENGINE.device.upper()
    if wanted != "AUTO" and not wanted.startswith("NPU"):
        return ""
    return "NPU" if Device.objects.filter(name__startswith="NPU").exists() else ""


def budgets() -> dict[str, int]:
    """Device -> bytes, of those that have a budget of their own."""
    rows = Device.objects.filter(memory_budget_mb__isnull=False).values_list("name", "memory_budget_mb")
    return {name: megabytes * MB for name, megabytes in rows if megabytes}
