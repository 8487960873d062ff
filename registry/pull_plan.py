"""What a pull would fetch, before it does: size, licence, files, and whether it suits the devices."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from registry import catalog, hub, names, verdict
from registry.models import Model
from registry.names import Reference
from registry.repository_files import human_size
from registry.verdict import Verdict


class Plan(Struct, frozen=True, kw_only=True):
    """One name, as the hub has it now."""

    name: str
    repo: str
    """'' for a model that ships with the program."""
    commit: str
    format: str
    licence: str
    gated: bool
    size_bytes: int
    files: tuple[tuple[str, int], ...]
    verdicts: dict[str, Verdict]

    def json(self) -> dict[str, Any]:
        return {
            **structs.asdict(self),
            "files": [{"name": name, "size_bytes": size} for name, size in self.files],
            "verdicts": {device: structs.asdict(verdict) for device, verdict in self.verdicts.items()},
        }


def plan(text: str, *, token: str = "", endpoint: str = "", device: str = "", revision: str = "") -> Plan:
    """Asks the hub, fetches nothing. Raises what `names.refer` and `hub.repository` raise."""
    reference = names.refer(f"{text}@{revision}" if revision else text, device)
    if not reference.repo:
        return _of_builtin(reference)
    found = hub.repository(
        reference.repo, reference.revision, token=token, endpoint=endpoint, variant=reference.variant
    )
    kind, precision = _kind(reference, found.task), _precision(reference)
    return Plan(
        name=reference.name.display,
        repo=found.repo,
        commit=found.commit,
        format=found.format,
        licence=found.licence or "none named",
        gated=found.gated,
        size_bytes=found.total_bytes,
        files=tuple((file.name, file.size) for file in found.files),
        verdicts={name: verdict.of(found.total_bytes, kind, precision, name) for name in verdict.DEVICES},
    )


def _of_builtin(reference: Reference) -> Plan:
    row = Model.by_name(reference.name).first()
    entry = reference.entry
    assert entry is not None
    return Plan(
        name=reference.name.display,
        repo="",
        commit="",
        format="openvino",
        licence=entry.licence,
        gated=False,
        size_bytes=row.size_bytes if row else 0,
        files=tuple((name, size) for name, (size, _) in sorted(row.files.items())) if row else (),
        verdicts={name: verdict.of_entry(entry, name)[1] for name in verdict.DEVICES},
    )


def _kind(reference: Reference, task: str) -> str:
    if reference.entry is not None:
        return reference.entry.kind
    return "embedding" if task in ("feature-extraction", "sentence-similarity") else "chat"


def _precision(reference: Reference) -> str:
    """Of the catalogue; else as repositories of this kind are named (`…-int4-cw-ov`); '' where neither says it."""
    if reference.build is not None:
        return reference.build.precision
    repo = reference.repo.lower()
    known = sorted((*catalog.NPU_PRECISIONS, "int4", "int8", "nf4", "fp16"), key=len, reverse=True)
    return next((precision for precision in known if f"-{precision}" in repo), "")


def lines(plan: Plan) -> list[str]:
    """For people."""
    source = f"{plan.repo} at {plan.commit[:12]}" if plan.repo else "ships with the program"
    gated = "; gated: its licence must be accepted on the hub first" if plan.gated else ""
    said = [
        f"{plan.name}",
        f"  from      {source}",
        f"  size      {human_size(plan.size_bytes)} in {len(plan.files)} files ({plan.format})",
        f"  licence   {plan.licence}{gated}",
    ]
    for device, judged in plan.verdicts.items():
        said.append(f"  {device:<9} {judged.level.replace('_', ' ')}: {judged.reason}")
    return [*said, "  files", *(f"    {human_size(size):>10}  {name}" for name, size in plan.files)]
