"""The catalogue as it stands on this machine: which of its models are installed, and what suits which device."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from registry import catalog, names, store, verdict
from registry.catalog import Build, Entry
from registry.models import Model
from registry.verdict import Verdict


class Placement(Struct, frozen=True):
    """What a device would get of an entry."""

    build: Build | None
    verdict: Verdict


class Known(Struct, frozen=True):
    """An entry of the catalogue, here and now."""

    entry: Entry
    installed: tuple[str, ...]
    """Names of models of this machine that are this one: they have its name, or come from one of its
    repositories."""
    placements: dict[str, Placement]
    """By device: NPU, GPU, CPU, whether this machine has one or not."""


def known() -> list[Known]:
    """Every entry, in the catalogue's order. One query at most; for threads other than the event loop's."""
    here = {names.parse(model.name).key: model.name for model in store.all_models()}
    by_source = installed_sources()
    machine = verdict.this_machine()
    return [
        Known(
            entry,
            _installed(entry, here, by_source),
            {device: Placement(*verdict.of_entry(entry, device, machine)) for device in verdict.DEVICES},
        )
        for entry in catalog.entries()
    ]


def installed_sources() -> dict[str, list[str]]:
    """Repository of the hub, in lower case -> the models that came from it."""
    found: dict[str, list[str]] = {}
    for name, source in Model.objects.exclude(source="").values_list("name", "source"):
        found.setdefault(source.lower(), []).append(name)
    return found


def _installed(entry: Entry, here: dict[str, str], by_source: dict[str, list[str]]) -> tuple[str, ...]:
    spelled = (*entry.names, *catalog.explicit_names(entry))
    found = [here[key] for key in (names.parse(name).key for name in spelled) if key in here]
    for build in entry.builds:
        found += by_source.get(build.repo.lower(), [])
    return tuple(dict.fromkeys(found))


def facts(model: Known) -> dict[str, Any]:
    """As JSON shows it, in /api/models/known and in `models known --json`. Sizes are approximate bytes."""
    entry, build = model.entry, model.entry.build_for("")
    return {
        "name": entry.name,
        "aliases": list(entry.names[1:]),
        "type": entry.kind,
        "parameters": entry.parameters,
        "context_length": entry.context,
        "license": entry.licence,
        "note": entry.note,
        "builtin": entry.builtin,
        "installed": bool(model.installed),
        "installed_as": list(model.installed),
        "size": build.size_bytes if build else 0,
        "builds": [_build(name, one) for name, one in catalog.all_builds(entry)],
        "devices": {device: _placement(placed) for device, placed in model.placements.items()},
        # under the names of NPU Proxy, whose clients read them here
        "ollama_name": entry.name,
        "huggingface_repo": build.repo if build else "",
        "quantization": build.precision if build else "int8",
    }


def _build(name: str, build: Build) -> dict[str, Any]:
    return {
        "name": name,
        "repo": build.repo,
        "quantization": build.precision,
        "size": build.size_bytes,
        "gated": build.gated,
    }


def _placement(placed: Placement) -> dict[str, Any]:
    build = placed.build
    return {
        "verdict": placed.verdict.level,
        "reason": placed.verdict.reason,
        "repo": build.repo if build else "",
        "quantization": build.precision if build else "",
    }
