"""Backends of a file become rows, all or none."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.exceptions import ValidationError
from django.db import transaction
from msgspec import Struct

from inference.errors import BadRequest
from registry import backend_files, backends
from registry.backend_files import Entry, Found
from registry.models import Backend


class Imported(Struct, frozen=True):
    """What became of a file. `notes`: (path of a key or name of a backend, words)."""

    added: tuple[str, ...]
    updated: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]


class _Tried(Exception):
    """A rehearsal has come to its end."""


def run(content: bytes, *, dry: bool = False) -> Imported:
    """Raises BadRequest with every fault on a line of its own; then, and with `dry`, no row has changed."""
    found = backend_files.read(content)
    added: list[str] = []
    updated: list[str] = []
    try:
        with transaction.atomic():
            for entry in found.entries:
                _write(entry, found, added, updated)
            if found.faults:
                raise BadRequest("nothing was imported:\n" + "\n".join(found.faults), "file")
            if dry:
                raise _Tried
    except _Tried:
        pass
    return Imported(tuple(added), tuple(updated), tuple(found.unused), tuple(found.notes))


def _write(entry: Entry, found: Found, added: list[str], updated: list[str]) -> None:
    """A row that is there keeps what the file does not say."""
    name = str(entry.values.get("name", "")).lower()
    row = Backend.objects.filter(name=name).first() or Backend()
    is_new = row.pk is None
    for field, value in entry.values.items():
        if value is None and not Backend._meta.get_field(field).null:
            continue
        setattr(row, field, value)
    said = {fault.partition(": ")[0] for fault in found.faults}
    found.faults += [f"{path}: {words}" for path, words in _faults(row, entry) if path not in said]
    if not any(fault.startswith(entry.path) for fault in found.faults):
        row.save()
        (added if is_new else updated).append(row.name)
        found.notes += [(row.name, words) for words in backends.doubts(row)]


def _faults(row: Backend, entry: Entry) -> Iterator[tuple[str, str]]:
    """Path and words; a password in an address is not repeated."""
    if entry.key is not None:
        try:
            row.set_key(entry.key)
        except ValueError as error:
            yield f"{entry.path}.key", str(error)
    try:
        row.full_clean()
    except ValidationError as error:
        for field, faults in error.message_dict.items():
            value = str(entry.values.get(field))
            for words in faults:
                shown = words if field == "url" or value in words else f"{value!r}: {words}"
                yield entry.keys.get(field, f"{entry.path}.{field}"), shown
