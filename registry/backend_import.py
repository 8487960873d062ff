"""Backends of a file become rows, all or none."""

from __future__ import annotations

from typing import Any

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
    faults = _faults(row, entry)
    already = any(fault.startswith(entry.path) for fault in found.faults)
    if faults:
        found.faults += [] if already else faults
    elif not already:
        row.save()
        (added if is_new else updated).append(row.name)
        found.notes += [(row.name, words) for words in backends.doubts(row)]


def _faults(row: Backend, entry: Entry) -> list[str]:
    said = []
    try:
        row.full_clean()
    except ValidationError as error:
        for field, words in error.message_dict.items():
            value: Any = entry.values.get(field)
            path = entry.keys.get(field, f"{entry.path}.{field}")
            said += [
                f"{path}: {word}" if str(value) in word else f"{path}: {value!r}: {word}" for word in words
            ]
    if entry.key is not None:
        try:
            row.set_key(entry.key)
        except ValueError as error:
            said.append(f"{entry.path}.key: {error}")
    return said
