"""`manage.py models known`: the catalogue of short names as a table, or as the JSON of /api/models/known."""

from __future__ import annotations

from typing import Any

from registry import known, verdict
from registry.known import Known

HEAD = ("NAME", "TYPE", "PARAMETERS", "CONTEXT", "DOWNLOAD", *verdict.DEVICES, "INSTALLED", "NOTE")
_SIGNS = {"fits": "yes", "may_exceed_memory": "maybe", "not_suited": "no"}


def facts() -> list[dict[str, Any]]:
    """What `--json` prints."""
    return [known.facts(model) for model in known.known()]


def rows() -> list[tuple[str, ...]]:
    """The lines of the table, under HEAD."""
    return [_row(model) for model in known.known()]


def _row(model: Known) -> tuple[str, ...]:
    entry = model.entry
    build = entry.build_for("")
    return (
        entry.name,
        entry.kind,
        entry.parameters,
        str(entry.context),
        f"{build.gb:g} GB" if build else "-",
        *(_SIGNS[model.placements[device].verdict.level] for device in verdict.DEVICES),
        ", ".join(model.installed) or "-",
        entry.note,
    )
