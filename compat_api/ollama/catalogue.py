"""Ollama's answers about models: tags, show, ps, version (api-contract 2.6, 4.1, 4.2 and 5)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from msgspec import Struct

from compat_api.decoding import BodyDecoder
from compat_api.ollama.requests import EMPTY_BODY
from compat_api.refusals import require_model
from compat_api.timestamps import rfc3339
from inference.states import LoadedModel, Snapshot
from registry.store import ModelInfo

VERSION = "0.20.0"
"""The Ollama whose API this is: clients refuse old ones (VS Code below 0.6.4, Codex below 0.13.4)."""

_COPILOT = "GitHubCopilotChat/"
_LONGEST_ARRAY = 5
"""Of model_info; longer ones are empty unless `verbose` is asked for."""
_FOREVER = timedelta(days=106_751)
"""Go's longest duration, 292 years: what Ollama adds for a model that stays."""


class ShowBody(Struct):
    model: str | None = None
    name: str | None = None
    verbose: bool | None = None
    system: str | None = None
    template: str | None = None
    options: dict[str, Any] | None = None


class Shown(NamedTuple):
    """What /api/show is asked."""

    name: str
    verbose: bool


_decode_show = BodyDecoder(ShowBody, "ShowRequest", EMPTY_BODY)


def parse_show(body: bytes) -> Shown:
    """The model's name as the client wrote it; old clients call the field `name`."""
    wire = _decode_show(body)
    return Shown(require_model(wire.model or wire.name), wire.verbose is True)


def tags(models: Iterable[ModelInfo]) -> dict[str, Any]:
    return {"models": [_tag(model) for model in models]}


class Tags:
    """The answer of /api/tags, encoded once for each state of the registry, and each model once for each version of its
    row. A thousand models are half a megabyte, and the dicts of each answer would make the garbage collector look
    through the whole process every second.
    """

    def __init__(self) -> None:
        self._last: list[ModelInfo] = []
        self._answer = orjson.dumps(tags(()))
        self._parts: dict[int, tuple[ModelInfo, bytes]] = {}
        """By the identity of the value, which is kept alive here."""

    def encoded(self, models: list[ModelInfo]) -> bytes:
        """`models` as `store.all_models` gives them: the same values until a row was written."""
        same = len(self._last) == len(models) and all(a is b for a, b in zip(self._last, models, strict=True))
        if not same:
            self._parts = {
                id(model): self._parts.get(id(model)) or (model, orjson.dumps(_tag(model)))
                for model in models
            }
            self._answer = b'{"models":[' + b",".join(part for _, part in self._parts.values()) + b"]}"
            self._last = models
        return self._answer


def _tag(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.spec.name,
        "model": model.spec.name,
        "modified_at": rfc3339(model.modified_at),
        "size": model.spec.size_bytes,
        "digest": model.digest,
        "details": _details(model) | _lengths(model),
        "capabilities": list(model.capabilities),
        **_elsewhere(model),
    }


def _elsewhere(model: ModelInfo) -> dict[str, str]:
    """Of a model that another server answers for: which, by its name here, never by its address."""
    return {"remote_model": model.their_name, "remote_host": model.backend} if model.backend else {}


def _details(model: ModelInfo) -> dict[str, Any]:
    return {
        "parent_model": model.parent_model,
        "format": model.format,
        "family": model.family,
        "families": list(model.families),
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization_level,
    }


def _lengths(model: ModelInfo) -> dict[str, int]:
    lengths = {
        "context_length": model.spec.context_length,
        "embedding_length": model.spec.embedding_length,
    }
    return {name: length for name, length in lengths.items() if length}


def show(model: ModelInfo, asked: Shown, user_agent: str) -> dict[str, Any]:
    """VS Code's Copilot shows general.basename in its list, and finds the model again by it."""
    model_info = {name: value if asked.verbose else _short(value) for name, value in model.model_info.items()}
    if user_agent.startswith(_COPILOT):
        model_info["general.basename"] = asked.name
    optional: dict[str, Any] = {
        "license": model.licence,
        "system": model.system,
        "messages": [said._asdict() for said in model.messages],
    }
    return {name: value for name, value in optional.items() if value} | {
        "modelfile": model.modelfile,
        "parameters": model.parameters_text,
        "template": model.template,
        "details": _details(model),
        "model_info": model_info,
        "capabilities": list(model.capabilities),
        "modified_at": rfc3339(model.modified_at),
        **_elsewhere(model),
    }


def _short(value: Any) -> Any:
    """A vocabulary is no news to most who ask."""
    return [] if isinstance(value, list) and len(value) > _LONGEST_ARRAY else value


def ps(snapshot: Snapshot, models: Iterable[ModelInfo]) -> dict[str, Any]:
    """What is loaded, what stays longest first; a model on two devices has two entries, and so have two names that
    share a worker. A name that was removed has none, though others may keep its worker."""
    known = {model.name: model for model in models}
    loaded = sorted(snapshot.models, key=lambda entry: _expires(entry, snapshot.time), reverse=True)
    return {
        "models": [
            _loaded(known[name], entry, snapshot.time)
            for entry in loaded
            for name in entry.names
            if name in known
        ]
    }


def _loaded(model: ModelInfo, entry: LoadedModel, now: float) -> dict[str, Any]:
    return {
        "name": model.name,
        "model": model.name,
        "size": entry.size_bytes,
        "digest": model.digest,
        "details": _details(model),
        "expires_at": rfc3339(_expires(entry, now)),
        "size_vram": 0 if entry.device.startswith("CPU") else entry.size_bytes,
        "context_length": min(entry.context_length, model.spec.context_length),
    }


def _expires(entry: LoadedModel, now: float) -> datetime:
    longest = datetime.fromtimestamp(now, UTC) + _FOREVER
    if entry.expires_at is None or entry.expires_at >= longest.timestamp():
        return longest
    return datetime.fromtimestamp(entry.expires_at, UTC)
