"""Which files of a repository a model needs, and whether their names may be written to a disk. Pure.

Everything that is not on the list stays on the hub: scripts, pickles, other formats of the same weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final, Literal

from django.template.defaultfilters import filesizeformat
from msgspec import Struct

from registry import ir
from registry.hub_errors import HubUnavailable, NoModelFiles, TooLarge, UnsafeName

Format = Literal["openvino", "safetensors", "gguf"]

MAX_TEXT_BYTES: Final = 128 * 1024**2
"""Of a file that is not weights: the largest tokenizers of today have 35 MB."""
MAX_FILES: Final = 500
MAX_NAME: Final = 200

_BESIDE: Final = re.compile(
    r"(?:[\w-][\w.-]*\.(?:json|jinja)|merges\.txt|vocab\.txt|added_tokens\.txt"
    r"|(?:tokenizer|spiece|sentencepiece\.bpe)\.model"
    r"|(?:licen[cs]e|notice|use_policy|readme|model_card)(?:[.-][\w.-]*)?"
    r"|\d_Pooling/config\.json)",
    re.ASCII | re.IGNORECASE,
)
_WEIGHTS: Final[dict[Format, re.Pattern[str]]] = {
    "openvino": ir.PATTERN,
    "safetensors": re.compile(r"model(?:-\d{5}-of-\d{5})?\.safetensors", re.ASCII),
    "gguf": re.compile(r"[\w-][\w.-]*\.gguf", re.ASCII | re.IGNORECASE),
}
_WINDOWS_DEVICES: Final = re.compile(
    r"(?:con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(?:\..*)?", re.IGNORECASE
)
_SHARD: Final = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_PREFERRED_GGUF: Final = ("q4_k_m", "q4_0", "q8_0", "f16")


class Entry(Struct, frozen=True, kw_only=True):
    """One line of a repository's tree; folders, links and submodules are no files."""

    name: str
    size: int
    sha256: str
    blob_id: str
    is_file: bool = True


def choose(
    repo: str, entries: Iterable[Entry], *, variant: str, limit_bytes: int
) -> tuple[Format, tuple[Entry, ...]]:
    """The format that is there, the best first, and its files by name.

    Raises UnsafeName, NoModelFiles and TooLarge, and HubUnavailable for sizes and digests that mean nothing.
    """
    every = list(entries)
    for entry in every:
        check_name(repo, entry.name)
    found_format = _format(repo, {entry.name for entry in every if entry.is_file})
    weights = _WEIGHTS[found_format]
    chosen = [entry for entry in every if weights.fullmatch(entry.name) or _BESIDE.fullmatch(entry.name)]
    if found_format == "gguf":
        chosen = _one_gguf(repo, chosen, variant)
    _check(repo, chosen, weights, limit_bytes)
    return found_format, tuple(sorted(chosen, key=lambda entry: entry.name))


def check_name(repo: str, name: str) -> None:
    """Raises UnsafeName for a name that could mean a place outside of the folder it is put into."""
    parts = name.split("/")
    if (
        not name
        or len(name) > 4096
        or "\\" in name
        or any(ord(character) < 32 for character in name)
        or any(part in ("", ".", "..") for part in parts)
        or PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).drive
    ):
        raise UnsafeName(
            f"{repo} has a file named {name[:80]!r}, which is no name inside of a folder; it was refused"
        )


def _format(repo: str, names: set[str]) -> Format:
    if all(name in names for name in ir.files(names)):
        return "openvino"
    if "config.json" in names and any(_WEIGHTS["safetensors"].fullmatch(name) for name in names):
        return "safetensors"
    if any(_WEIGHTS["gguf"].fullmatch(name) for name in names):
        return "gguf"
    if f"{ir.parts(names)[0]}.xml" in names:
        missing = next(name for name in ir.files(names) if name not in names)
        raise NoModelFiles(
            f"{repo} has {ir.parts(names)[0]}.xml without {missing}; use a complete repository"
        )
    deeper = sorted(name for name in names if name.endswith("/openvino_model.xml"))
    if deeper:
        raise NoModelFiles(
            f"{repo} has OpenVINO files in a folder of its own ({deeper[0]}) and none beside its config.json; "
            "use a repository made for OpenVINO, of the organisation OpenVINO say"
        )
    raise NoModelFiles(
        f"{repo} has no openvino_model.xml, no model.safetensors and no GGUF file: nothing that runs here; "
        "look for an OpenVINO build of it with /api/search"
    )


def _one_gguf(repo: str, chosen: list[Entry], variant: str) -> list[Entry]:
    """The GGUF file of that quantization, or the one that is usual, and what lies beside it."""
    weights = _WEIGHTS["gguf"]
    whole = [entry for entry in chosen if weights.fullmatch(entry.name) and not _SHARD.search(entry.name)]
    wishes = (variant.lower(),) if variant else _PREFERRED_GGUF
    for wish in wishes:
        stem = re.compile(rf"(?:^|[.-]){re.escape(wish)}\.gguf$", re.IGNORECASE)
        if match := next((entry for entry in whole if stem.search(entry.name)), None):
            break
    else:
        if variant or not whole:
            there = ", ".join(entry.name for entry in whole[:12]) or "files in several parts only"
            raise NoModelFiles(f"{repo} has no GGUF file {variant or 'in one piece'}; there are: {there}")
        match = min(whole, key=lambda entry: entry.size)
    return [match, *(entry for entry in chosen if not weights.fullmatch(entry.name))]


def _check(repo: str, chosen: list[Entry], weights: re.Pattern[str], limit_bytes: int) -> None:
    seen: set[str] = set()
    for entry in chosen:
        _check_entry(repo, entry, is_weights=weights.fullmatch(entry.name) is not None)
        if entry.name.lower() in seen:
            raise UnsafeName(f"{repo} has two files that differ in case only: {entry.name}")
        seen.add(entry.name.lower())
    if len(chosen) > MAX_FILES:
        raise TooLarge(f"{repo} has {len(chosen)} files for one model; at most {MAX_FILES} are taken")
    total = sum(entry.size for entry in chosen)
    if total > limit_bytes:
        raise TooLarge(
            f"{repo} has {human_size(total)}, the limit is {human_size(limit_bytes)}; "
            "raise NPU_PROXY_PULL_LIMIT to take it"
        )


def _check_entry(repo: str, entry: Entry, *, is_weights: bool) -> None:
    if not entry.is_file:
        raise UnsafeName(f"{repo} has no regular file under the name {entry.name}; it was refused")
    if len(entry.name) > MAX_NAME or any(_WINDOWS_DEVICES.fullmatch(part) for part in entry.name.split("/")):
        raise UnsafeName(f"{repo} has a file named {entry.name[:80]!r}, which not every system can hold")
    if entry.size < 0 or not re.fullmatch(r"(?:[0-9a-f]{64})?", entry.sha256):
        raise HubUnavailable(
            f"the hub announces {entry.name} of {repo} with a size or digest that means nothing"
        )
    if not is_weights and entry.size > MAX_TEXT_BYTES:
        raise TooLarge(
            f"{entry.name} of {repo} has {human_size(entry.size)}; at most {human_size(MAX_TEXT_BYTES)} are taken "
            "for a file that holds no weights"
        )


def human_size(size_bytes: int) -> str:
    return str(filesizeformat(size_bytes)).replace("\xa0", " ")
