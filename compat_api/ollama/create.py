"""Ollama's /api/create, /api/copy, /api/delete, /api/push (api-contract 4.3 to 4.5 and 4.7): bodies and lines."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from compat_api.decoding import BodyDecoder
from compat_api.ollama.requests import EMPTY_BODY
from compat_api.refusals import refuse, require_model
from inference.errors import BadRequest
from registry import names
from registry.creation import Recipe
from registry.modelfile import Said

RETRIEVING = {"status": "retrieving manifest"}
_PRECISIONS = {"q4_0": "int4", "q4_k_m": "int4", "q4_k_s": "int4", "q8_0": "int8"}
"""Ollama's names of quantisations that have a like here."""


class WireSaid(Struct):
    role: str | None = None
    content: str | None = None
    images: list[Any] | None = None


class CreateBody(Struct):
    """`renderer`, `parser`, `requires` and `info` are accepted and not read: they name code inside Ollama, whose work
    the model's own template does here."""

    model: str | None = None
    name: str | None = None
    source: str | None = msgspec.field(default=None, name="from")
    files: dict[str, str] | None = None
    adapters: dict[str, str] | None = None
    template: str | None = None
    license: str | list[str] | None = None
    system: str | None = None
    parameters: dict[str, Any] | None = None
    messages: list[WireSaid] | None = None
    quantize: str | None = None
    stream: bool | None = None


class CopyBody(Struct):
    source: str | None = None
    destination: str | None = None


class NameBody(Struct):
    """Of delete and push; old clients call the field `name`."""

    model: str | None = None
    name: str | None = None
    insecure: bool | None = None
    stream: bool | None = None


class CreateRequest(Struct, frozen=True):
    recipe: Recipe
    stream: bool


class Named(Struct, frozen=True):
    name: str
    stream: bool


class CopyRequest(Struct, frozen=True):
    source: str
    destination: str


_decode_create = BodyDecoder(CreateBody, "CreateRequest", EMPTY_BODY)
_decode_copy = BodyDecoder(CopyBody, "CopyRequest", EMPTY_BODY)
_decode_delete = BodyDecoder(NameBody, "DeleteRequest", EMPTY_BODY)
_decode_push = BodyDecoder(NameBody, "PushRequest", EMPTY_BODY)


def parse_create(body: bytes) -> CreateRequest:
    """Raises BadRequest."""
    wire = _decode_create(body)
    name = (wire.model or wire.name or "").strip()
    if not name:
        raise BadRequest("invalid model name", "model")
    licences = [wire.license] if isinstance(wire.license, str) else wire.license or []
    quantize = (wire.quantize or "").strip().lower()
    recipe = Recipe(
        name=name,
        source=(wire.source or "").strip(),
        files=wire.files or {},
        adapters=wire.adapters or {},
        template=wire.template or "",
        system=wire.system or "",
        licences=tuple(text for text in licences if text),
        parameters=wire.parameters or {},
        messages=tuple(_said(index, said) for index, said in enumerate(wire.messages or ())),
        precision=_PRECISIONS.get(quantize, quantize),
    )
    return CreateRequest(recipe, wire.stream is not False)


def _said(index: int, wire: WireSaid) -> Said:
    refuse(f"messages[{index}].images", wire.images, "a model's own turns have no images")
    return Said((wire.role or "").lower(), wire.content or "")


def parse_copy(body: bytes) -> CopyRequest:
    """Raises BadRequest, which says which of the two names is none."""
    wire = _decode_copy(body)
    asked = CopyRequest(wire.source or "", wire.destination or "")
    for field, name in (("source", asked.source), ("destination", asked.destination)):
        if not _is_name(name):
            raise BadRequest(f'{field} "{name[:200]}" is invalid', field)
    return asked


def parse_delete(body: bytes) -> str:
    """The model's name. Raises BadRequest."""
    wire = _decode_delete(body)
    name = require_model(wire.model or wire.name)
    if not _is_name(name):
        raise BadRequest(f'name "{name[:200]}" is invalid', "model")
    return name


def parse_push(body: bytes) -> Named:
    """Raises BadRequest."""
    wire = _decode_push(body)
    return Named(require_model(wire.model or wire.name), wire.stream is not False)


def _is_name(text: str) -> bool:
    try:
        names.parse(text)
    except BadRequest:
        return False
    return True
