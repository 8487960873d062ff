"""JSON bodies into msgspec Structs, with the rules and the error words of Go's decoder (api-contract 1.1).

Content-Type is not looked at, unknown fields are ignored, null is the same as absent (so every field is
declared `| None`), and a wrong type names the field.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
import orjson
from msgspec import Raw

from inference.errors import BadRequest

T = TypeVar("T")

NULL: Any = msgspec.field(default_factory=partial(Raw, b"null"))
"""The default of a field that stays JSON text. Made anew, since a schema has no words for a Raw as a default."""

_GO_TYPES = {"str": "string", "int": "int", "float": "float64", "bool": "bool"}
_GO_VALUES = {"str": "string", "int": "number", "float": "number"}
_MISMATCH = re.compile(r"Expected `(?P<want>[^`]+)`, got `(?P<got>[^`]+)`(?: - at `\$\.?(?P<path>[^`]*)`)?")
_MALFORMED = re.compile(r"JSON is malformed: (?P<fault>.*) \(byte (?P<at>\d+)\)")
_GO_FAULTS = {
    "expected ':'": "after object key",
    "expected ',' or '}'": "after object key:value pair",
    "expected ',' or ']'": "after array element",
    "object keys must be strings": "looking for beginning of object key string",
    "trailing comma in object": "looking for beginning of object key string",
    "trailing characters": "after top-level value",
    "invalid escaped character": "in string escape code",
    "invalid number": "in numeric literal",
}
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class BodyDecoder(Generic[T]):
    """Decodes one type of body, which error texts call `go_name`; `empty` is said of an empty body."""

    def __init__(self, body_type: type[T], go_name: str, empty: str) -> None:
        self._decoder = msgspec.json.Decoder(body_type)
        self._go_name = go_name
        self._empty = empty

    def __call__(self, body: bytes) -> T:
        if not body or body.isspace():
            raise BadRequest(self._empty)
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _mismatch(str(error), self._go_name) from None
        except RecursionError:
            raise BadRequest("exceeded max depth") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._decode_mended(body)

    def _decode_mended(self, body: bytes) -> T:
        """Once more, with bytes that are no UTF-8 and halves of surrogate pairs as U+FFFD, as Go has them."""
        mended = _ESCAPES.sub(_mend, body.decode("utf-8", "replace")).encode()
        try:
            return self._decoder.decode(mended)
        except msgspec.ValidationError as error:
            raise _mismatch(str(error), self._go_name) from None
        except RecursionError:
            raise BadRequest("exceeded max depth") from None
        except msgspec.DecodeError as error:
            raise BadRequest(_syntax_fault(str(error), mended)) from None


def raw_text(raw: Raw) -> str:
    """The JSON text of a field that was left undecoded, which is then not looked at either: mended as a body is."""
    text = bytes(raw).decode("utf-8", "replace")
    return _ESCAPES.sub(_mend, text) if "\\u" in text else text


def _mend(match: re.Match[str]) -> str:
    return "\\ufffd" if match["lone"] else match[0]


def _mismatch(message: str, go_name: str) -> BadRequest:
    match = _MISMATCH.match(message)
    if match is None:
        return BadRequest(message.replace("`", '"').replace("$.", ""))
    got = _GO_VALUES.get(match["got"], match["got"])
    path = re.sub(r"\[[^\]]*\]", "", match["path"] or "")
    if not path:
        return BadRequest(f"json: cannot unmarshal {got} into Go value of type api.{go_name}")
    want = next(name for name in match["want"].split(" | ") if name != "null")
    type_name = _GO_TYPES.get(want, want)
    return BadRequest(
        f"json: cannot unmarshal {got} into Go struct field {go_name}.{path} of type {type_name}", path
    )


def _syntax_fault(message: str, body: bytes) -> str:
    match = _MALFORMED.match(message)
    if match is None:
        return "unexpected EOF"
    where = _GO_FAULTS.get(match["fault"], "looking for beginning of value")
    at = int(match["at"]) - (match["fault"] == "trailing characters")  # msgspec counts past that one
    character = body[at:].decode("utf-8", "replace")[:1]
    shown = character if character.isprintable() else quoted(character)[1:-1]
    return f"invalid character '{shown}' {where}"


def quoted(text: str) -> str:
    """`text` in double quotes with escapes, near enough to Go's %q."""
    return orjson.dumps(text).decode()
