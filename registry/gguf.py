"""Reads the head of a GGUF file (magic, metadata, tensor infos) and checks it against the file's length.

The runtime loads a truncated file without a word and trusts every length in it (openvino-facts 1b), so nothing reaches
it that did not pass here: each count, length, dimension and offset is bounded before anything is allocated for it. At
most `MAX_HEAD_BYTES` of the file are read; tensor data never is. Layout: the GGUF specification of ggml, versions 2
and 3, little-endian.
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

from msgspec import Struct

from registry.refusals import ImportRefused

MAX_HEAD_BYTES: Final = 64 * 1024**2
"""Metadata and tensor infos. A vocabulary of 150,000 with its merges takes 6 MB, Llama 3's 8 MB."""
MAX_STRING_BYTES: Final = 1024**2
MAX_KEY_BYTES: Final = 65_535
MAX_NAME_BYTES: Final = 64
"""Of a tensor; both bounds are the specification's."""
MAX_ENTRIES: Final = 65_536
"""Metadata entries, and tensors. A model of 126 layers has some 1,200 tensors."""
MAX_ELEMENTS: Final = 2_000_000
"""Of all arrays together; a vocabulary of 262,000 with types, scores and merges has 1.3 million."""
MAX_DIMENSIONS: Final = 4
MAX_DIMENSION: Final = 2**31 - 1
MAX_ALIGNMENT: Final = 65_536

_WAY_OUT = "download it again and compare its sha256 with the publisher's"
SCALARS: Final = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9

Scalar = int | float | bool | str
Value = Scalar | list[Any]


class Kind(Struct, frozen=True):
    """A type of tensor: `block_bytes` for every `block` elements of a row."""

    name: str
    block: int
    block_bytes: int


KINDS: Final = {
    0: Kind("F32", 1, 4),
    1: Kind("F16", 1, 2),
    2: Kind("Q4_0", 32, 18),
    3: Kind("Q4_1", 32, 20),
    6: Kind("Q5_0", 32, 22),
    7: Kind("Q5_1", 32, 24),
    8: Kind("Q8_0", 32, 34),
    9: Kind("Q8_1", 32, 36),
    10: Kind("Q2_K", 256, 84),
    11: Kind("Q3_K", 256, 110),
    12: Kind("Q4_K", 256, 144),
    13: Kind("Q5_K", 256, 176),
    14: Kind("Q6_K", 256, 210),
    15: Kind("Q8_K", 256, 292),
    16: Kind("IQ2_XXS", 256, 66),
    17: Kind("IQ2_XS", 256, 74),
    18: Kind("IQ3_XXS", 256, 98),
    19: Kind("IQ1_S", 256, 50),
    20: Kind("IQ4_NL", 32, 18),
    21: Kind("IQ3_S", 256, 110),
    22: Kind("IQ2_S", 256, 82),
    23: Kind("IQ4_XS", 256, 136),
    24: Kind("I8", 1, 1),
    25: Kind("I16", 1, 2),
    26: Kind("I32", 1, 4),
    27: Kind("I64", 1, 8),
    28: Kind("F64", 1, 8),
    29: Kind("IQ1_M", 256, 56),
    30: Kind("BF16", 1, 2),
    34: Kind("TQ1_0", 256, 54),
    35: Kind("TQ2_0", 256, 66),
    39: Kind("MXFP4", 32, 17),
}


class Tensor(Struct, frozen=True):
    """`shape` in the file's order: the first is the length of a row."""

    name: str
    kind: str
    shape: tuple[int, ...]
    offset: int
    """Bytes from the beginning of the data."""
    size_bytes: int


class Gguf(Struct, frozen=True):
    """A file whose head is whole and whose tensors all lie inside of it."""

    file: str
    metadata: dict[str, Value]
    types: dict[str, int]
    """Key -> number of the value's type, as `SCALARS` has them; 8 is a text, 9 an array."""
    tensors: dict[str, Tensor]


def read(path: Path) -> Gguf:
    """Raises ImportRefused, which names what is wrong, and OSError."""
    with path.open("rb") as file:
        size = path.stat().st_size
        return _Head(file, path.name, size).read()


class _Head:
    """A reader that never takes more than what the file still has and what the bounds allow."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._file = file
        self._name = name
        self._size = size
        self._at = 0
        self._elements = 0

    def read(self) -> Gguf:
        tensor_count, entry_count = self._counts()
        metadata: dict[str, Value] = {}
        types: dict[str, int] = {}
        for _ in range(entry_count):
            key = self._string(MAX_KEY_BYTES, "a metadata key")
            if key in metadata:
                raise self._fault(f"has the metadata key {key[:80]!r} twice")
            types[key] = int(self._scalar("<I"))
            metadata[key] = self._value(types[key], key)
        tensors: dict[str, Tensor] = {}
        for _ in range(tensor_count):
            tensor = self._tensor()
            if tensor.name in tensors:
                raise self._fault(f"has the tensor {tensor.name!r} twice")
            tensors[tensor.name] = tensor
        self._check_places(tensors, self._alignment(metadata))
        return Gguf(self._name, metadata, types, tensors)

    def _counts(self) -> tuple[int, int]:
        if self._take(4, "its magic") != b"GGUF":
            raise ImportRefused(self._name, "is not a GGUF file", "give a file that begins with 'GGUF'")
        version = int(self._scalar("<I"))
        if version not in (2, 3):
            order = " (it is big-endian)" if version in (2 << 24, 3 << 24) else ""
            raise ImportRefused(
                self._name, f"has GGUF version {version}{order}, 2 and 3 are read", "convert it anew"
            )
        tensors, entries = int(self._scalar("<Q")), int(self._scalar("<Q"))
        for what, count, least in (("tensors", tensors, 33), ("metadata entries", entries, 13)):
            if count > MAX_ENTRIES or count * least > self._size:
                raise self._fault(f"claims {count} {what}")
        return tensors, entries

    def _value(self, kind: int, key: str) -> Value:
        if kind in SCALARS:
            return self._scalar(SCALARS[kind])
        if kind == _STRING:
            return self._string(MAX_STRING_BYTES, key)
        if kind != _ARRAY:
            raise self._fault(f"has a value of unknown type {kind} at {key[:80]!r}")
        element, count = int(self._scalar("<I")), int(self._scalar("<Q"))
        if element != _STRING and element not in SCALARS:
            raise self._fault(f"has an array of type {element} at {key[:80]!r}")
        least = 8 if element == _STRING else struct.calcsize(SCALARS[element])
        self._elements += count
        if self._elements > MAX_ELEMENTS or count * least > self._size - self._at:
            raise self._fault(f"claims {count} elements at {key[:80]!r}")
        if element == _STRING:
            return [self._string(MAX_STRING_BYTES, key) for _ in range(count)]
        code = SCALARS[element][1]
        return list(struct.unpack(f"<{count}{code}", self._take(count * least, key)))

    def _tensor(self) -> Tensor:
        name = self._string(MAX_NAME_BYTES, "the name of a tensor")
        count = int(self._scalar("<I"))
        if not 1 <= count <= MAX_DIMENSIONS:
            raise self._fault(f"gives the tensor {name!r} {count} dimensions")
        shape = tuple(int(self._scalar("<Q")) for _ in range(count))
        if not all(1 <= side <= MAX_DIMENSION for side in shape):
            raise self._fault(f"gives the tensor {name!r} the shape {shape}")
        number = int(self._scalar("<I"))
        kind = KINDS.get(number)
        if kind is None:
            raise self._fault(f"gives the tensor {name!r} the unknown type {number}")
        if shape[0] % kind.block:
            raise self._fault(
                f"has rows of {shape[0]} in {name!r}, no multiple of {kind.name}'s {kind.block}"
            )
        size_bytes = prod(shape) // kind.block * kind.block_bytes
        return Tensor(name, kind.name, shape, int(self._scalar("<Q")), size_bytes)

    def _alignment(self, metadata: dict[str, Value]) -> int:
        alignment = metadata.get("general.alignment", 32)
        if (
            not isinstance(alignment, int)
            or not 8 <= alignment <= MAX_ALIGNMENT
            or alignment & (alignment - 1)
        ):
            raise self._fault(f"has the alignment {str(alignment)[:40]}")
        return alignment

    def _check_places(self, tensors: dict[str, Tensor], alignment: int) -> None:
        """Every tensor inside of the file, aligned, and none on top of another."""
        data = -(-self._at // alignment) * alignment
        free = 0
        for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
            if tensor.offset % alignment:
                raise self._fault(f"puts the tensor {tensor.name!r} at an unaligned place")
            if tensor.offset < free:
                raise self._fault(f"puts the tensor {tensor.name!r} on top of another")
            free = tensor.offset + tensor.size_bytes
            if data + free > self._size:
                raise self._fault(
                    f"is truncated: the tensor {tensor.name!r} ends at byte {data + free}, the file at {self._size}"
                )
        end = data + -(-free // alignment) * alignment
        if self._size > end:
            raise self._fault(f"goes on for {self._size - end} bytes after its last tensor")

    def _string(self, most: int, what: str) -> str:
        length = int(self._scalar("<Q"))
        if length > most:
            raise self._fault(f"claims a text of {length} bytes for {what[:80]!r}, {most} are the most")
        try:
            return self._take(length, what).decode("utf-8")
        except UnicodeDecodeError:
            raise self._fault(f"has a text that is not UTF-8: {what[:80]!r}") from None

    def _scalar(self, code: str) -> int | float | bool:
        value: int | float | bool = struct.unpack(code, self._take(struct.calcsize(code), "a number"))[0]
        return value

    def _take(self, count: int, what: str) -> bytes:
        if self._at + count > MAX_HEAD_BYTES:
            raise self._fault(f"has a head of more than {MAX_HEAD_BYTES} bytes")
        data = self._file.read(count)
        self._at += count
        if len(data) != count:
            raise self._fault(f"is truncated: it ends inside of {what[:80]!r}")
        return data

    def _fault(self, fault: str) -> ImportRefused:
        return ImportRefused(self._name, fault, _WAY_OUT)
