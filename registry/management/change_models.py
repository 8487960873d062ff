"""`manage.py models rm NAME… | cp SRC DST | create NAME -f Modelfile | set NAME`: what changes models, by command.

They need no server. One that runs hears of it within two seconds, and lets go of what was removed.
"""

from __future__ import annotations

import argparse
import codecs
import json
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from inference.errors import BadRequest, InferenceError
from inference.substitution import ANY, WHEN
from registry import blobs, creation, lora, modelfile, removal, substitutions
from registry.creation import Recipe
from registry.models import Model

_PATHS = ("/", "./", "../", "~", ".\\", "..\\")


def add_arguments(verbs: Any) -> list[tuple[ArgumentParser, Callable[..., Any]]]:
    """`verbs` as add_subparsers gives them. Each parser with its work, which takes the options and `out`."""
    rm = verbs.add_parser("rm", help="remove models; their files go when no other model has them")
    rm.add_argument("names", nargs="+", metavar="name")
    cp = verbs.add_parser("cp", help="give a model a further name of its own")
    cp.add_argument("source")
    cp.add_argument("destination")
    create = verbs.add_parser("create", help="make a model as a Modelfile says")
    create.add_argument("name")
    create.add_argument("-f", "--file", type=Path, default=Path("Modelfile"), help="the Modelfile")
    create.add_argument("-q", "--quantize", choices=("int4", "int8"), default="", help="of converted files")
    settings = verbs.add_parser("set", help="how a model is treated")
    settings.add_argument("name")
    switch = argparse.BooleanOptionalAction
    settings.add_argument("--local-only", action=switch, help="its requests never leave this machine")
    settings.add_argument("--pinned", action=switch, help="it is never unloaded to make room")
    instead = verbs.add_parser(
        "substitute", help="let one model answer instead of another; without names: list"
    )
    instead.add_argument("model", nargs="?", help="what is asked for")
    instead.add_argument("substitute", nargs="?", help="what answers instead")
    instead.add_argument("--when", choices=WHEN, default=ANY, help="it cannot run; any by default")
    instead.add_argument("--rm", action="store_true", help="no more")
    return [(rm, remove), (cp, copy), (create, make), (settings, treat), (instead, substitute)]


def substitute(
    model: str | None, substitute: str | None, when: str, rm: bool, as_json: bool, out: TextIO, **_: Any
) -> None:
    if (model is None) != (substitute is None) or (rm and model is None):
        raise BadRequest(
            "name both: the model that is asked for, and the one that answers instead", "substitute"
        )
    if model is not None and substitute is not None:
        if rm:
            substitutions.remove(model, substitute)
        else:
            substitutions.add(model, substitute, when)
    rows = [
        {"model": model, "substitute": rule.name, "when": rule.when}
        for model, rules in substitutions.rules().items()
        for rule in rules
    ]
    if as_json:
        out.write(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        out.write(f"{row['substitute']} instead of {row['model']}: {row['when'].replace('_', ' ')}\n")


def remove(*, names: list[str], as_json: bool, out: TextIO, **_: Any) -> None:
    """All that can be removed; then raises the first fault, if any."""
    faults: dict[str, InferenceError] = {}
    for name in names:
        try:
            removal.remove(name)
        except InferenceError as error:
            faults[name] = error
    if as_json:
        _print_json(out, [{"name": name, "removed": name not in faults} for name in names])
    else:
        out.writelines(f"removed {name}\n" for name in names if name not in faults)
    if faults:
        raise next(iter(faults.values()))


def copy(*, source: str, destination: str, as_json: bool, out: TextIO, **_: Any) -> None:
    _tell(removal.copy(source, destination), as_json, out)


def make(*, name: str, file: Path, quantize: str, as_json: bool, out: TextIO, **_: Any) -> None:
    """Raises BadRequest where the Modelfile cannot be read, and what `creation.create` raises."""
    sent: set[str] = set()
    try:
        recipe = recipe_of(name, file, quantize, sent)
        row = creation.create(recipe, say=str if as_json else lambda status: out.write(f"{status}\n"))
    finally:
        blobs.drop_unused(sent)
    _tell(row, as_json, out)


def treat(
    *, name: str, local_only: bool | None, pinned: bool | None, as_json: bool, out: TextIO, **_: Any
) -> None:
    """Raises BadRequest where nothing is said, and ModelNotFound."""
    said = {"local_only": local_only, "pinned": pinned}
    wanted = {field: value for field, value in said.items() if value is not None}
    if not wanted:
        raise BadRequest("say what: --local-only or --no-local-only, --pinned or --no-pinned")
    row = creation.row_of(name)
    Model.objects.filter(pk=row.pk).update(**wanted)
    row.refresh_from_db()
    if as_json:
        _print_json(out, {"name": row.name} | {field: getattr(row, field) for field in said})
        return
    words = {
        "local_only": ("may be answered by other servers", "stays on this machine"),
        "pinned": ("is unloaded when room is needed", "is never unloaded to make room"),
    }
    for field, value in wanted.items():
        out.write(f"{row.name} {words[field][value]}\n")


def recipe_of(name: str, file: Path, quantize: str, sent: set[str]) -> Recipe:
    """What the Modelfile at `file` wants; paths in it count from its folder. The files that it names become blobs,
    which are noted in `sent`."""
    try:
        found = modelfile.parse(_decoded(file.read_bytes()))
    except OSError as error:
        raise BadRequest(f"{file} cannot be read ({error.strerror}); name it with -f", "file") from None
    except UnicodeDecodeError:
        raise BadRequest(f"{file} is not UTF-8 text", "file") from None
    folder = file.absolute().parent
    path = _path(found.source, folder)
    adapters = [_adapter(text, folder, sent) for text in found.adapters]
    return Recipe(
        name=name,
        source="" if path else found.source,
        files=_kept(path, sent) if path else {},
        adapters={key: digest for adapter in adapters for key, digest in adapter.items()},
        template=found.template or "",
        system=found.system or "",
        licences=found.licences,
        parameters=found.parameters,
        messages=found.messages,
        precision=quantize,
    )


def _path(text: str, folder: Path) -> Path | None:
    """A path that is there, or is written like one; None for what is a model's name."""
    path = folder / Path(text).expanduser()
    if path.exists() or text.startswith(_PATHS):
        return path
    return None


def _adapter(text: str, folder: Path, sent: set[str]) -> dict[str, str]:
    """A file, a folder of PEFT's, or the `sha256:…` that /api/show printed."""
    if text.startswith(("sha256:", "sha256-")):
        return {f"{text[7:19]}.safetensors": text}
    path = folder / Path(text).expanduser()
    kept = _kept(path, sent)
    if path.is_file() and (config := path.with_name(lora.CONFIG)).is_file():
        kept |= _kept(config, sent)
    return {name: digest for name, digest in kept.items() if name.endswith((".safetensors", lora.CONFIG))}


def _kept(path: Path, sent: set[str]) -> dict[str, str]:
    """The file, or each file of the folder and of those in it -> its digest."""
    if path.is_dir():
        files = {entry.relative_to(path).as_posix(): entry for entry in (*path.glob("*"), *path.glob("*/*"))}
    elif path.is_file():
        files = {path.name: path}
    else:
        raise BadRequest(
            f"'{path.name}' is neither a file nor a folder; paths count from the Modelfile", "from"
        )
    digests = {}
    for name, entry in sorted(files.items()):
        if entry.is_file() and not any(part.startswith(".") for part in name.split("/")):
            sha256 = blobs.adopt(entry)
            sent.add(sha256)
            digests[name] = f"sha256:{sha256}"
    return digests


def _tell(row: Model, as_json: bool, out: TextIO) -> None:
    if as_json:
        _print_json(out, {"name": row.name, "parent": row.parent, "digest": row.content_digest})
    else:
        out.write(f"{row.name}\n")


def _print_json(out: TextIO, value: Any) -> None:
    out.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _decoded(content: bytes) -> str:
    """UTF-8, or what the mark at its beginning says: PowerShell's `>` writes UTF-16. Raises UnicodeDecodeError."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")
