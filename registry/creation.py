"""Makes a model of another one, or of files that were sent: what a Modelfile says, as a row.

A model made `from` another shares its folder and, where no adapter changes the weights, its worker. It inherits what it
does not set itself; PARAMETERs are merged name by name, MESSAGEs, LICENSE and the texts are replaced as a whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from django.db import IntegrityError, transaction
from django.utils import timezone
from msgspec import Struct, structs

from inference.chat_template import ChatTemplate
from inference.errors import BadRequest, ModelDamaged, ModelNotFound
from inference.types import Message
from registry import blobs, folder, go_template, install, ir, lora, names, parameters, sources, store
from registry.convert import Precision
from registry.disk_errors import disk_errors
from registry.modelfile import ROLES, Said
from registry.models import Model
from registry.sources import Source

logger = logging.getLogger(__name__)

MOST_MESSAGES: Final = 1000
LARGEST_TEXT: Final = 1024 * 1024
"""Characters of SYSTEM, TEMPLATE, LICENSE, and of all MESSAGEs together: they are kept in memory."""

_PROBE: Final = "Which way to 4711?"
_OWN: Final = ("id", "name", "builtin", "pinned", "parent", "modified_at")
"""Fields of a row that its children do not inherit."""

Say = Callable[[str], object]


class Recipe(Struct, frozen=True, kw_only=True):
    """What is wanted. One of `source` and `files` is given; '' and empty leave what is inherited."""

    name: str
    source: str = ""
    """FROM: a model's name."""
    files: Mapping[str, str] = {}
    """Name in the model's folder -> `sha256:…` of a file that was sent."""
    adapters: Mapping[str, str] = {}
    """Name -> `sha256:…`; adapter_config.json beside a .safetensors says how strongly it counts."""
    template: str = ""
    system: str = ""
    licences: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = {}
    messages: tuple[Said, ...] = ()
    precision: str = ""
    """For files that are converted: int4 or int8."""


def create(recipe: Recipe, say: Say = str, cancelled: Callable[[], bool] = bool) -> Model:
    """The row, written when all is in place; a model of that name is replaced. Blocking.

    `say` gets Ollama's status lines, the first when nothing in the recipe can be wrong any more. Raises BadRequest,
    ModelNotFound, ModelDamaged, and for files what `registry.importer` raises.
    """
    name = check(recipe)
    if recipe.files:
        return _from_files(recipe, name, say, cancelled)
    parent = row_of(recipe.source)
    row = Model(**inherited(parent))
    row.name = name.display
    row.parent = parent.parent if parent.name.lower() == name.key else parent.name
    _apply(recipe, row)
    say(f"using existing layer sha256:{row.digest}")
    _say_texts(recipe, say)
    made = save(row, name, say)
    blobs.drop_stale()
    return made


def check(recipe: Recipe) -> names.Name:
    """What can be said without a look at the models. The name to be; raises BadRequest."""
    name = names.parse(recipe.name)
    _check_texts(recipe)
    parameters.checked(recipe.parameters)
    if recipe.files and recipe.source:
        raise BadRequest("give 'from' or 'files', not both", "from")
    if not recipe.files and not recipe.source:
        raise BadRequest("neither 'from' or 'files' was specified", "from")
    if recipe.source and recipe.precision:
        raise BadRequest(
            f"'quantize': {recipe.source} is converted already; quantise when files are converted", "quantize"
        )
    return name


def inherited(parent: Model) -> dict[str, Any]:
    """The fields that a copy, or a child, begins with."""
    fields = [field.attname for field in Model._meta.concrete_fields]
    return {field: getattr(parent, field) for field in fields if field not in _OWN}


def save(row: Model, name: names.Name, say: Say = str) -> Model:
    """Write the row under this name; what had the name goes, with files that nothing else refers to."""
    say("writing manifest")
    row.name, row.modified_at = name.display, timezone.now()
    try:
        _replace(row, name)
    except IntegrityError:  # another one took the name between our look and our write
        _replace(row, name)
    logger.info("created %s", row.name)
    say("success")
    return row


@transaction.atomic
def _replace(row: Model, name: names.Name) -> None:
    before = Model.by_name(name).select_for_update().first()
    if before is not None:
        row.pinned = before.pinned
        row.local_only = (
            row.local_only or before.local_only
        )  # what was kept here is not let out by a new file
        unused = {entry["sha256"] for entry in before.adapters}
        transaction.on_commit(lambda: blobs.drop_unused(unused))
        install.remove(before, replaced=True)
    row.save(force_insert=True)


def row_of(name: str) -> Model:
    """Raises ModelNotFound with the name as it was written; aliases count."""
    row = Model.objects.filter(name=store.info(name).name).first()
    if row is None:  # another process removed it within this second
        raise ModelNotFound(name)
    return row


def _apply(recipe: Recipe, row: Model) -> None:
    """Check what the recipe says, and put it over what the row inherited. Raises BadRequest."""
    row.parameters = {**row.parameters, **parameters.checked(recipe.parameters)}
    row.messages = [said._asdict() for said in recipe.messages] or row.messages
    row.system = recipe.system or row.system
    row.licence = "\n".join(recipe.licences) or row.licence
    if row.kind == Model.Kinds.EMBEDDING and (
        recipe.system or recipe.template or recipe.messages or recipe.adapters
    ):
        raise BadRequest(
            f"'{recipe.source or recipe.name}' embeds texts; SYSTEM, TEMPLATE, MESSAGE and ADAPTER are for chat",
            "from",
        )
    if recipe.template:
        _set_template(recipe.template, row)
    if recipe.adapters:
        row.adapters = [*row.adapters, *_adapters(recipe.adapters, Path(row.path))]
        if len(row.adapters) > lora.MOST:
            raise BadRequest(
                f"{len(row.adapters)} adapters; at most {lora.MOST} are loaded with a model", "adapters"
            )


def _set_template(template: str, row: Model) -> None:
    """Tried as the engine will use it, in its sandbox, within its deadline. Raises BadRequest."""
    if go_template.is_go(template):
        go_template.stands_for_own(template, row.chat_template, folder.infill_tokens(Path(row.path)))
        row.template = ""
    else:
        row.template = "" if template == row.chat_template else template
    found = ChatTemplate.open(row.spec())
    if _PROBE not in found.tried((Message(role="user", content=_PROBE),)).text:
        raise BadRequest(
            "template: what it renders does not have the text of the messages; loop over `messages`",
            "template",
        )
    can = {*row.capabilities} - {"tools", "thinking"} | found.capabilities
    row.capabilities = [capability for capability in folder.CAPABILITIES if capability in can]


def _adapters(given: Mapping[str, str], model: Path) -> list[dict[str, Any]]:
    found = {name: _blob(name, digest) for name, digest in given.items()}
    config = next(
        (path for name, (path, _) in found.items() if PurePosixPath(name).name == lora.CONFIG), None
    )
    entries = []
    for name, (path, sha256) in found.items():
        if path == config:
            continue
        shape = lora.read(path, name)
        lora.check_fits(shape, model, name)
        kept = blobs.adapter_path(sha256)
        if not kept.is_file():
            _link(path, kept)
        size = path.stat().st_size
        entries.append(
            {"path": str(kept), "sha256": sha256, "size": size, "alpha": lora.alpha(config, shape)}
        )
    if not entries:
        raise BadRequest("adapters: none of them is a .safetensors file", "adapters")
    return entries


def _blob(name: str, digest: str) -> tuple[Path, str]:
    sha256 = blobs.parse_digest(digest)
    path = blobs.find(sha256)
    if path is None:
        raise BadRequest(
            f"'{name}': sha256:{sha256} was not sent; POST it to /api/blobs/sha256:{sha256} first", "files"
        )
    return path, sha256


def _from_files(recipe: Recipe, name: names.Name, say: Say, cancelled: Callable[[], bool]) -> Model:
    found = {_relative(given): _blob(given, digest) for given, digest in recipe.files.items()}
    workshop = install.models_folder() / install.STAGING / f"create-{secrets.token_hex(8)}"
    gathered, made = workshop / "files", workshop / "model"
    try:
        with disk_errors(name.display):
            for relative, (path, _) in found.items():
                _link(path, gathered / relative)
        layers = [f"using existing layer sha256:{sha256}" for _, sha256 in found.values()]
        if f"{ir.parts(found)[0]}.xml" in found:
            sources.check_ir(gathered, [*found])
            _write_sums(gathered, {relative: sha256 for relative, (_, sha256) in found.items()})
            made = gathered
        else:
            source = _source(gathered, recipe)
            while layers:
                say(layers.pop(0))
            _convert(source, made, recipe, say, cancelled)
        row = Model(**structs.asdict(_read(made)), format=_format(found), name=name.display)
        _apply(recipe, row)
        for layer in layers:
            say(layer)
        _say_texts(recipe, say)
        say("writing manifest")
        kept = (
            "template",
            "system",
            "parameters",
            "messages",
            "adapters",
            "licence",
            "capabilities",
            "format",
        )
        row = install.install(made, {"name": name.display, **{field: getattr(row, field) for field in kept}})
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    blobs.drop_stale()
    say("success")
    return row


def _read(made: Path) -> folder.Folder:
    """What is wrong with the files is the client's to mend. Raises BadRequest."""
    try:
        return folder.read(made)
    except ModelDamaged as error:
        raise BadRequest(f"files: '{error.file}' {error.fault}", "files") from None


def _source(gathered: Path, recipe: Recipe) -> Source:
    """What the files are. Raises BadRequest for what is not converted, or not to the precision that is wanted."""
    files = [path for path in gathered.rglob("*") if path.is_file()]
    source = sources.look(files[0] if len(files) == 1 else gathered)
    if recipe.precision and source.kind != "safetensors":
        raise BadRequest(f"'quantize': {source.kind} files keep their precision; leave it out", "quantize")
    if recipe.precision not in ("", "int4", "int8"):
        raise BadRequest(f"'quantize': {recipe.precision[:40]!r} is not int4 or int8", "quantize")
    return source


def _convert(source: Source, made: Path, recipe: Recipe, say: Say, cancelled: Callable[[], bool]) -> None:
    from registry import importer  # it brings the converters

    made.mkdir(mode=0o700)
    wishes = importer.Wishes(
        precision=cast(Precision, recipe.precision or "int8"),
        on_progress=lambda progress: say(f"converting: {progress.phase}"),
        cancelled=cancelled,
    )
    importer.fill(source, made, wishes)


def _format(found: Mapping[str, object]) -> str:
    gguf = any(name.endswith(".gguf") for name in found)
    return Model.Formats.GGUF if gguf else Model.Formats.OPENVINO


def _relative(name: str) -> str:
    """A name inside the model's folder, one level deep at most. Raises BadRequest."""
    path = PurePosixPath(name)
    bad = (
        path.is_absolute() or "\\" in name or ":" in name or any(part.startswith(".") for part in path.parts)
    )
    if bad or not 1 <= len(path.parts) <= 2 or not name.isprintable() or len(name) > 200:
        raise BadRequest(f"files: {name[:200]!r} is no name of a file in a model's folder", "files")
    return path.as_posix()


def _link(path: Path, target: Path) -> None:
    """The same bytes a second time where the file system can, else a copy."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):
        os.link(path, target)
        return
    shutil.copyfile(path, target)


def _write_sums(path: Path, digests: Mapping[str, str]) -> None:
    lines = [f"{sha256}  {name}\n" for name, sha256 in sorted(digests.items()) if name != folder.SUMS]
    (path / folder.SUMS).unlink(missing_ok=True)
    (path / folder.SUMS).write_text("".join(lines), "utf-8")


def _say_texts(recipe: Recipe, say: Say) -> None:
    texts = (recipe.template, recipe.system, *recipe.licences)
    said = "".join(f"{role}\n{content}\n" for role, content in recipe.messages)
    for text in (*texts, said, parameters.as_text(recipe.parameters)):
        if text:
            say(f"creating new layer sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def _check_texts(recipe: Recipe) -> None:
    texts = {
        "system": (recipe.system,),
        "template": (recipe.template,),
        "license": recipe.licences,
        "messages": [said.content for said in recipe.messages],
        "parameters": [value for _, value in parameters.pairs(recipe.parameters) if isinstance(value, str)],
    }
    for field, parts in texts.items():
        if (length := sum(map(len, parts))) > LARGEST_TEXT:
            raise BadRequest(f"{field}: {length} characters; at most {LARGEST_TEXT} are kept", field)
        if any("\0" in part for part in parts):  # PostgreSQL keeps none
            raise BadRequest(f"{field}: a NUL character cannot be kept", field)
    if len(recipe.messages) > MOST_MESSAGES:
        raise BadRequest(f"{len(recipe.messages)} messages; at most {MOST_MESSAGES} are kept", "messages")
    for index, said in enumerate(recipe.messages):
        if said.role not in ROLES:
            raise BadRequest(
                f"messages[{index}].role: {said.role[:40]!r} is none of {', '.join(ROLES)}",
                f"messages[{index}].role",
            )
