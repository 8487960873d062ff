"""The catalogue: short names, and the repository of the hub behind each. Its data is catalog.toml.

What a name means to a pull is `names.refer`; whether a model suits this machine is `verdict.of`. Nothing here
asks the hub: sizes are approximate, and a repository may have gone.
"""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

FILE: Final = Path(__file__).with_name("catalog.toml")

Kind = Literal["chat", "embedding", "rerank", "vision"]
Precision = Literal["int4", "int4-cw", "int4-gq", "int4-npu", "nf4", "int8", "fp16", "original"]
"""Of the weights; catalog.toml says what each means. `original` is converted here after the download."""

NPU_PRECISIONS: Final = ("int4-cw", "int4-gq", "int4-npu")
"""Symmetric: what an NPU compiles."""
CONVERTED_SHARE: Final = {"chat": ("int4", 0.31), "vision": ("int4", 0.31)}
"""Kind -> precision after the conversion of original weights, and its size as a share of theirs (bfloat16).
"""
CONVERTED_DEFAULT: Final = ("int8", 0.51)
"""The same for the other kinds."""
LICENCES: Final = {
    "apache-2.0": "Apache 2.0",
    "mit": "MIT",
    "gemma": "Gemma terms of use",
    "llama2": "Llama 2 community licence",
    "llama3.1": "Llama 3.1 community licence",
    "llama3.2": "Llama 3.2 community licence",
    "qwen-research": "Qwen research licence, not for commercial use",
}
"""Every licence that an entry may name, as the hub writes it -> in words."""

_LATEST = ":latest"


class Build(Struct, frozen=True, forbid_unknown_fields=True):
    """One repository: the entry's model in one precision."""

    repo: str
    precision: Precision
    gb: float
    """Approximate size of the download in 10^9 bytes."""
    gated: bool = False
    """The hub wants the token of somebody who has accepted the licence."""

    @property
    def size_bytes(self) -> int:
        return round(self.gb * 1e9)


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One model of the catalogue."""

    names: tuple[str, ...]
    """Short names, the first of which is the one that is shown."""
    kind: Kind
    parameters: str
    """`8.2B`."""
    context: int
    """Tokens."""
    licence: str
    note: str = ""
    pooling: Literal["", "mean", "cls", "last_token"] = ""
    """Of an embedding model; most conversions lack the file that would say it."""
    dimensions: int = 0
    """Length of an embedding model's vectors."""
    builds: tuple[Build, ...] = ()
    """In order of preference, for devices other than an NPU; empty only for a model that ships with us."""
    builtin: bool = False
    """Ships with the program, so that a pull has nothing to fetch."""

    @property
    def name(self) -> str:
        return self.names[0]

    def build_for(self, device: str) -> Build | None:
        """The build for `device` ('' or any of OpenVINO's names): an NPU's own on an NPU, where there is one."""
        for_npu = [build for build in self.builds if build.precision in NPU_PRECISIONS]
        if device.upper().startswith("NPU") and for_npu:
            return for_npu[0]
        others = [build for build in self.builds if build.precision not in (*NPU_PRECISIONS, "nf4")]
        return next(iter(others or self.builds), None)

    def in_memory(self, build: Build, device: str) -> tuple[int, str]:
        """Bytes of the build's weights and their precision as they will be installed for `device`."""
        if build.precision != "original":
            return build.size_bytes, build.precision
        precision, share = CONVERTED_SHARE.get(self.kind, CONVERTED_DEFAULT)
        if precision == "int4" and device.upper().startswith("NPU"):
            precision = "int4-npu"
        return round(build.size_bytes * share), precision


@cache
def entries() -> tuple[Entry, ...]:
    """Every entry, in the order of the file. Read once."""
    return parse(FILE.read_text("utf-8"))


def parse(text: str) -> tuple[Entry, ...]:
    """The entries of a catalogue file. Raises tomllib.TOMLDecodeError and msgspec.ValidationError."""
    data: Any = tomllib.loads(text)
    return msgspec.convert(data["model"], tuple[Entry, ...])


def find(key: str, device: str = "") -> tuple[Entry, Build | None] | None:
    """The entry of a name in lower case with its tag (`names.Name.key`), and its build for `device`.

    `qwen3:8b-int8` and `tinyllama:int8` name a build of `qwen3:8b` and of `tinyllama` outright.
    """
    known = _by_key()
    if key in known:
        return known[key], known[key].build_for(device)
    return _by_build().get(key)


def row_fields(repo: str) -> dict[str, Any]:
    """What the row of a model from this repository has to say, where its files may not: how it pools.

    Conversions of embedding models mostly lack 1_Pooling/config.json, and a decoder that embeds (Qwen3) looks like a
    chat model without it. {} for everything else.
    """
    entry = _by_repo().get(repo.lower())
    if entry is None or entry.kind != "embedding":
        return {}
    return {"kind": "embedding", "capabilities": ["embedding"], "pooling": entry.pooling}


def similar(name: str, most: int = 3) -> list[str]:
    """Short names that look like `name`, the nearest first."""
    shown = [short for entry in entries() for short in entry.names]
    return difflib.get_close_matches(name.lower(), shown, most, 0.7)


def explicit_names(entry: Entry) -> dict[str, Build]:
    """`qwen3:8b-int8`: the names that choose a build outright, whatever the device."""
    return dict(all_builds(entry))


def all_builds(entry: Entry) -> list[tuple[str, Build]]:
    """Each build with the name that chooses it outright."""
    joint = "-" if ":" in entry.name else ":"
    return [(f"{entry.name}{joint}{build.precision}", build) for build in entry.builds]


@cache
def _by_key() -> dict[str, Entry]:
    return {name if ":" in name else name + _LATEST: entry for entry in entries() for name in entry.names}


@cache
def _by_repo() -> dict[str, Entry]:
    return {build.repo.lower(): entry for entry in entries() for build in entry.builds}


@cache
def _by_build() -> dict[str, tuple[Entry, Build]]:
    return {name: (entry, build) for entry in entries() for name, build in explicit_names(entry).items()}
