"""Safetensors -> OpenVINO IR, by optimum-cli in a child process with an environment of its own (registry/converter.py).

The weights are only ever in the child. No code of a repository runs: `auto_map` and pickles are refused before the
child starts, it is offline, and remote code is never trusted.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from django.conf import settings
from msgspec import Struct

from inference.errors import BadRequest
from registry import child, converter, names, pulls, sources, sums
from registry.models import Download, Model
from registry.refusals import ConversionFailed, ConverterMissing, ImportRefused

Precision = Literal["int4", "int8", "int4-npu"]
PRECISIONS: Final[tuple[str, ...]] = get_args(Precision)
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "int8": ("--weight-format", "int8"),
    "int4": ("--weight-format", "int4", "--group-size-fallback", "adjust"),
    "int4-npu": ("--weight-format", "int4", "--sym", "--ratio", "1.0", "--group-size", "-1"),
}
"""int4-npu: symmetric and channel-wise, what the NPU's compiler is made for."""
DEADLINE_S: Final = 4 * 3600.0
TICK_S: Final = 1.0
_PHASES: Final = (
    ("export", re.compile(r"TracerWarning|Export|loss_type")),
    ("load", re.compile(r"Loading weights|Loading checkpoint shards|torch_dtype")),
    ("compress", re.compile(r"nncf|Applying Weight Compression|Mixed-Precision")),
    ("load", re.compile(r"^phase: import")),
)
_SHARE: Final = re.compile(r"(\d{1,3})\s?%")
_KEPT: Final = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    "generation_config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json",
    "README.md", "LICENSE", "LICENSE.txt",
)  # fmt: skip
"""Taken over as they are: what the exporter writes again may differ, and counts must not."""
_WAY_OUT: Final = "look for a build of it with OpenVINO IR on the hub (organisation OpenVINO)"


NOTHING: Final = "this server converts nothing (NPU_PROXY_CONVERT=no); name a repository with OpenVINO IR"


class Progress(Struct, frozen=True):
    """`phase`: install, load, export, compress or check; `share` of it is None where nobody knows."""

    phase: str
    elapsed_s: float
    share: float | None = None


def task_of(folder: Path) -> str:
    """What optimum is asked to export: a generator or an encoder. Raises ImportRefused for anything else."""
    config = sources.config(folder)
    architecture = str((config.get("architectures") or [""])[0])
    if architecture.endswith("ForCausalLM"):
        return "text-generation-with-past"
    if (folder / "1_Pooling" / "config.json").is_file() or architecture.endswith("Model"):
        return "feature-extraction"
    raise ImportRefused(
        folder.name, f"has the architecture {architecture[:60]!r}, which is not converted", _WAY_OUT
    )


def precision_for(task: str, device: str) -> Precision:
    """What weights become where nobody says it: the catalogue's sizes are of the same choice."""
    if task == "feature-extraction":
        return "int8"
    return "int4-npu" if device.upper().startswith("NPU") else "int4"


def request(model: Model, precision: str) -> Download:
    """Ask for the model in another precision, under a name of its own (`m:latest` in int4 is `m:int4`): a pull of the
    repository and commit that it came from, which converts what it fetches. Returns its row; for admin and API.

    Raises BadRequest for a precision that is none of PRECISIONS, a model that came from no repository, a name that is
    taken, and ConverterMissing where nobody has consented. A repository that has IR itself is refused by the pull.
    """
    if precision not in PRECISIONS:
        raise BadRequest(f"precision: {precision[:40]!r} is none of {', '.join(PRECISIONS)}", "precision")
    if not model.revision:
        raise BadRequest(
            f"'{model.name}' came from no repository; import its safetensors folder again with --precision {precision}",
            "model",
        )
    name, _, tag = model.name.rpartition(":")
    wanted = names.parse(f"{name}:{precision if tag == 'latest' else f'{tag}-{precision}'}")
    row = Model.by_name(wanted).first()
    if row is not None and row.source != model.source:
        raise BadRequest(f"a model '{row.name}' exists, from elsewhere; remove it first", "model")
    if settings.CONVERT != "yes" and not (settings.CONVERT == "ask" and converter.is_installed()):
        raise ConverterMissing(converter.CONSENT if settings.CONVERT == "ask" else NOTHING)
    return pulls.again(
        Download(name=wanted.display, repo=model.source, revision=model.revision, variant=precision)
    )


def check(folder: Path) -> None:
    """Raises ImportRefused for a repository that brings code, or lacks shards. Reads no weights."""
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        name = path.relative_to(folder).as_posix()
        if path.suffix in sources.PICKLES:
            raise ImportRefused(
                folder.name, f"holds a pickle ({name}), which runs code when opened", "remove it"
            )
        if path.suffix == ".json" and path.is_file() and "config" in path.name and _has_code(path):
            raise ImportRefused(folder.name, f"brings code of its own (auto_map in {name})", _WAY_OUT)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _json(index).get("weight_map")
        named = {str(shard) for shard in shards.values()} if isinstance(shards, dict) else set()
        if missing := sorted(shard for shard in named if not (folder / Path(shard).name).is_file()):
            raise ImportRefused(folder.name, f"lacks {missing[0]}", "download it again")
    if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer.model").is_file():
        raise ImportRefused(folder.name, "has no tokenizer.json", "add it from the model's repository")


def _has_code(path: Path) -> bool:
    return "auto_map" in json.dumps(_json(path))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ImportRefused(
            path.parent.name, f"has a {path.name} that is not JSON", "download it again"
        ) from None
    return value if isinstance(value, dict) else {}


def convert(
    source: Path,
    target: Path,
    *,
    precision: Precision = "int8",
    on_progress: Callable[[Progress], object] = id,
    cancelled: Callable[[], bool] = bool,
    deadline_s: float = DEADLINE_S,
    consent: bool | None = None,
) -> None:
    """Fill the empty folder `target` with IR, SHA256SUMS included. Blocking, minutes to hours.

    `consent` to install the converter where it is not; None: what NPU_PROXY_CONVERT says. Raises ImportRefused,
    ConverterMissing, ConversionFailed, ConversionCancelled; what is in `target` then is of no use.
    """
    allowed = settings.CONVERT if consent is None else "yes" if consent else "ask"
    if allowed == "no":
        raise ConverterMissing(NOTHING)
    task = task_of(source)
    check(source)
    _check_room(source, target)
    reporter = _Reporter(on_progress, cancelled)
    reporter.begin("install" if not converter.is_installed() else "load")
    python = converter.ensure(allowed == "yes", cancelled=reporter.tick)
    reporter.begin("load")
    with tempfile.TemporaryDirectory(
        prefix="convert-", dir=target.parent, ignore_cleanup_errors=True
    ) as home:
        child.run(
            [
                str(python), "-I", str(Path(__file__).with_name("convert_child.py")), "export", "openvino",
                "--model", str(source.resolve()), "--task", task, "--library", "transformers",
                *_OPTIONS[precision], str(target.resolve()),
            ],
            f"the conversion of '{source.name}'",
            on_line=reporter.heard, cancelled=reporter.tick, deadline_s=deadline_s,
            variables=_variables(Path(home)), folder=Path(home),
        )  # fmt: skip
    reporter.begin("check")
    if not (target / "openvino_model.bin").is_file():
        raise ConversionFailed(f"the conversion of '{source.name}' ended without a model")
    _take_over(source, target)
    sums.write(target)


def _variables(home: Path) -> dict[str, str]:
    """A home of its own, so that nothing is read from the user's caches; offline; nobody is told of the use."""
    consent = home / "intel" / "openvino_telemetry"
    consent.parent.mkdir()
    consent.write_text("0")
    return child.environment(
        HOME=str(home), USERPROFILE=str(home), HF_HOME=str(home / "hf"), HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1", PYTHONUNBUFFERED="1", PYTHONUTF8="1", COLUMNS="100",
        TMPDIR=str(home), TEMP=str(home), TMP=str(home),
    )  # fmt: skip


def _check_room(source: Path, target: Path) -> None:
    needed = sum(path.stat().st_size for path in source.glob("*.safetensors"))
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise ConversionFailed(
            f"the conversion of '{source.name}' needs up to {needed / 1e9:.1f} GB on disk, {free / 1e9:.1f} GB are free"
        )


def _take_over(source: Path, target: Path) -> None:
    for name in _KEPT:
        if (source / name).is_file():
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, target / name)


class _Reporter:
    """Lines of the child -> progress; at least one report each TICK_S, since a phase may be silent for minutes."""

    def __init__(self, on_progress: Callable[[Progress], object], cancelled: Callable[[], bool]) -> None:
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._began = self._told = time.monotonic()
        self._phase = ""
        self._share: float | None = None

    def begin(self, phase: str) -> None:
        self._phase, self._share = phase, None
        self._tell()

    def heard(self, line: str) -> None:
        """tqdm and rich write `45%` into the lines of the phase that they belong to."""
        for phase, pattern in _PHASES:
            if pattern.search(line):
                if phase != self._phase:
                    self.begin(phase)
                share = _SHARE.search(line)
                if share and int(share[1]) <= 100 and "│" not in line:
                    self._share = int(share[1]) / 100
                    self._tell()
                return

    def tick(self) -> bool:
        """Asked several times a second while the child runs."""
        if time.monotonic() - self._told >= TICK_S:
            self._tell()
        return self._cancelled()

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._on_progress(Progress(self._phase, self._told - self._began, self._share))
