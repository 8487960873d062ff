"""`manage.py models list | show NAME | verify [NAME…] | known | import PATH | create | cp | rm | set`: what is there,
what is well, what could be, and what shall be otherwise.

Needs no running server. Everything prints JSON with `--json`; `verify` exits with 1 when a file is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from msgspec import structs

from registry import store, use
from registry.management import change_models, import_model, known_models
from registry.management.verb_command import VerbCommand
from registry.progress import ByteBar
from registry.store import ModelInfo
from registry.use import Life, Ran
from registry.verification import FileCheck, check_files

RAN = ("RAN ON", "REQUESTS", "TOKENS/S", "FIRST TOKEN", "LOAD", "LAST USED")


class Command(VerbCommand):
    help = "Show, check, make, copy and remove models."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(
            dest="verb",
            metavar="list | show | verify | known | import | create | cp | rm | set | substitute",
            required=True,
        )
        listing = verbs.add_parser("list", help="every model, the newest first")
        show = verbs.add_parser("show", help="everything known of one model")
        show.add_argument("name")
        verify = verbs.add_parser("verify", help="read every file and compare its sha256")
        verify.add_argument("names", nargs="*", metavar="name", help="all models if none is named")
        known = verbs.add_parser(
            "known", help="what can be pulled by a short name, and how it suits this machine"
        )
        adopt = verbs.add_parser("import", help="adopt a folder or file of this machine")
        import_model.add_arguments(adopt)
        self.add_verb(listing, self.list_models)
        self.add_verb(show, self.show)
        self.add_verb(verify, self.verify)
        self.add_verb(known, self.known)
        self.add_verb(adopt, self.adopt)
        for verb, work in change_models.add_arguments(verbs):
            self.add_verb(verb, partial(work, out=self.stdout))

    def list_models(self, *, as_json: bool, **_: Any) -> None:
        models = store.all_models()
        lives = use.of(models)
        if as_json:
            self.print_json([_summary(model) | _use(lives[model.name]) for model in models])
            return
        self.print_table(
            ("NAME", "KIND", "PARAMETERS", "QUANTIZATION", "CONTEXT", "SIZE", "CAPABILITIES", "LAST USED"),
            [
                (
                    model.name,
                    model.spec.kind,
                    model.parameter_size,
                    model.quantization_level,
                    str(model.spec.context_length),
                    _size(model.spec.size_bytes),
                    ", ".join(model.capabilities),
                    _last_used(lives[model.name]),
                )
                for model in models
            ],
        )

    def show(self, *, name: str, as_json: bool, **_: Any) -> None:
        model = store.info(name)
        life = use.of([model])[model.name]
        facts = _facts(model)
        if as_json:
            self.print_json(facts | _use(life))
            return
        files = facts.pop("files")
        facts |= {"last_used": _last_used(life)}
        for label, value in facts.items():
            self.stdout.write(f"{label.replace('_', ' '):<22}{_shown(value)}")
        self.stdout.write("")
        self.print_table(
            ("FILE", "BYTES", "SHA256"),
            [(entry["file"], str(entry["size_bytes"]), entry["sha256"]) for entry in files],
        )
        if life.ran:
            self.stdout.write("")
            self.print_table(RAN, [_ran(entry) for entry in life.ran])
        if life.caches:
            self.stdout.write("")
            lines = [(cache.device, _size(cache.size_bytes), _s(cache.compile_s)) for cache in life.caches]
            self.print_table(("COMPILE CACHE", "SIZE", "COMPILED IN"), lines)

    def verify(self, *, names: list[str], as_json: bool, **_: Any) -> None:
        models = [store.info(name) for name in names] if names else store.all_models()
        checks = self._checked(models)
        damaged = [check for check in checks if not check.good]
        if as_json:
            self.print_json(_verdicts(models, checks))
        else:
            for model in models:
                faults = [check for check in damaged if check.model == model.name]
                for check in faults:
                    self.stdout.write(f"{model.name}: {check.file} {check.fault}")
                if not faults:
                    self.stdout.write(f"{model.name}: {len(model.spec.files)} files are good")
        if damaged:
            raise CommandError(
                f"{len(damaged)} of {len(checks)} files are damaged; install their models again"
            )

    def known(self, *, as_json: bool, **_: Any) -> None:
        if as_json:
            self.print_json(known_models.facts())
        else:
            self.print_table(known_models.HEAD, known_models.rows())

    def adopt(
        self, *, path: Path, name: str, copy: bool, precision: str, yes: bool, as_json: bool, **_: Any
    ) -> None:
        import_model.run(path, name, copy, precision, yes, as_json, self.stdout)  # type: ignore[arg-type]

    def _checked(self, models: Sequence[ModelInfo]) -> list[FileCheck]:
        """Check all files, with one bar for all bytes where standard error is a terminal."""
        total = sum(model.spec.size_bytes for model in models)
        checks: list[FileCheck] = []
        with ByteBar(total) as bar:
            for model in models:
                bar.label = model.name
                checks += check_files(model.spec, bar.add)
        return checks


def _summary(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.spec.kind,
        "parameter_count": model.spec.parameter_count,
        "quantization": model.quantization_level,
        "context_length": model.spec.context_length,
        "size_bytes": model.spec.size_bytes,
        "capabilities": list(model.capabilities),
        "digest": model.digest,
        "modified_at": model.modified_at.isoformat(),
        "builtin": model.builtin,
    }


def _facts(model: ModelInfo) -> dict[str, Any]:
    spec = model.spec
    return _summary(model) | {
        "architecture": spec.architecture,
        "family": model.family,
        "embedding_length": spec.embedding_length,
        "kv_bytes_per_token": spec.kv_bytes_per_token,
        "exact": spec.exact,
        "pinned": spec.pinned,
        "local_only": spec.local_only,
        "path": str(spec.path),
        "parameters": model.parameters_text,
        "system": model.system,
        "files": [
            {"file": file, "size_bytes": size, "sha256": sha256}
            for file, (size, sha256) in sorted(spec.files.items())
        ],
    }


def _use(life: Life) -> dict[str, Any]:
    return {
        "used_at": life.used_at.isoformat() if life.used_at else None,
        "ran_on": [structs.asdict(ran) | {"used_at": ran.used_at.isoformat()} for ran in life.ran],
        "compile_caches": [structs.asdict(cache) for cache in life.caches],
    }


def _ran(ran: Ran) -> tuple[str, ...]:
    rate = f"{ran.tokens_per_s:.0f}" if ran.tokens_per_s else "–"
    when = f"{ran.used_at:%Y-%m-%d %H:%M}"
    return ran.device, str(ran.requests), rate, _s(ran.ttft_s), _s(ran.load_s), when


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f} s"


def _last_used(life: Life) -> str:
    return f"{life.used_at:%Y-%m-%d %H:%M}" if life.used_at else "never"


def _verdicts(models: Sequence[ModelInfo], checks: Sequence[FileCheck]) -> list[dict[str, Any]]:
    verdicts = []
    for model in models:
        own = [check for check in checks if check.model == model.name]
        files = [{"file": c.file, "size_bytes": c.size_bytes, "fault": c.fault} for c in own]
        verdicts.append({"name": model.name, "good": all(check.good for check in own), "files": files})
    return verdicts


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, str):
        return " ".join(value.split())
    return str(value)


def _size(size_bytes: int) -> str:
    return filesizeformat(size_bytes).replace("\xa0", " ")
