"""Ollama's /api/pull (api-contract 4.6): its body, and the frames that tell how far a pull is."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from compat_api.decoding import BodyDecoder
from compat_api.ollama.requests import EMPTY_BODY
from inference.errors import BadRequest, InferenceError
from registry.pull_state import FileState, PullState

NOT_FOUND = "pull model manifest: file does not exist"
"""Ollama's command line knows this text."""

_NOT_FOUND_CODES = ("repository_not_found", "revision_not_found")
MANIFEST = {"status": "pulling manifest"}
_VERIFYING = {"status": "verifying sha256 digest"}
_CONVERTING = {"status": "converting to OpenVINO IR"}
_WRITING = {"status": "writing manifest"}
SUCCESS = {"status": "success"}
_TOKEN = re.compile(r"[!-~]*")
_PHASES = ("manifest", "files", "verify", "convert", "install")


class PullFailed(InferenceError):
    """The pull ended without a model; a 500 to who does not stream."""


class PullBody(Struct):
    """`insecure` is accepted: certificates are checked all the same. `token` is ours; Ollama's clients, which cannot
    send it, have the header X-Hub-Authorization."""

    model: str | None = None
    name: str | None = None
    insecure: bool | None = None
    stream: bool | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None


class CancelPullBody(Struct):
    """As Ollama names a model: old clients call the field `name`."""

    model: str | None = None
    name: str | None = None


class PullRequest(Struct, frozen=True):
    """`token` is for the hub; '' where none was sent."""

    model: str
    stream: bool
    token: str


_decode = BodyDecoder(PullBody, "PullRequest", EMPTY_BODY)
_decode_cancel = BodyDecoder(CancelPullBody, "CancelPullRequest", EMPTY_BODY)


def parse(body: bytes) -> PullRequest:
    """Raises BadRequest."""
    wire = _decode(body)
    model = (wire.model or wire.name or "").strip()
    if not model:
        raise BadRequest("invalid model name", "model")
    return PullRequest(model, wire.stream is not False, checked_token("token", wire.token or ""))


def parse_cancel(body: bytes) -> str:
    """The name whose pull is to end. Raises BadRequest."""
    wire = _decode_cancel(body)
    name = (wire.model or wire.name or "").strip()
    if not name:
        raise BadRequest('"model" is required: the name that is being pulled', "model")
    return name


def checked_token(field: str, token: str) -> str:
    """As it may stand in a header. Raises BadRequest, which does not repeat it."""
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise BadRequest(f'"{field}": has characters that no token has; copy it anew', field)
    return token


class Frames:
    """Turns looks at one pull into frames; each look yields what is new since the last. `MANIFEST` was sent before."""

    def __init__(self) -> None:
        self._sent: dict[str, int] = {}
        self._phase = 0
        self._converted = False

    def of(self, state: PullState) -> list[dict[str, Any]]:
        """Raises PullFailed once the pull has ended without a model."""
        done = state.state == "done"
        phase = len(_PHASES) if done else max(self._phase, _phase(state))
        frames = self._files(state, whole=phase >= _PHASES.index("verify"))
        if state.state in ("failed", "cancelled"):
            raise PullFailed(_words(state))
        for passed in range(self._phase + 1, min(phase, len(_PHASES) - 1) + 1):
            frames += self._entered(_PHASES[passed], state)
        self._phase = phase
        return [*frames, SUCCESS] if done else frames

    def still(self, state: PullState) -> dict[str, Any]:
        """Where the pull is, for who has heard nothing new for a while."""
        moving = next((file for file in state.files if 0 < file.completed_bytes < file.size_bytes), None)
        if state.phase == "files" and moving is not None and moving.sha256:
            return _layer(moving)
        known = {"convert": _CONVERTING, "verify": _VERIFYING, "install": _WRITING}
        return known.get(state.phase, MANIFEST)

    def _entered(self, phase: str, state: PullState) -> list[dict[str, Any]]:
        if phase == "convert":
            return [_CONVERTING] if state.phase == "convert" else []
        return {"verify": [_VERIFYING], "install": [_WRITING]}.get(phase, [])

    def _files(self, state: PullState, whole: bool) -> list[dict[str, Any]]:
        """A layer for each file whose digest is known, the first time before its first byte. Small files, which hubs
        announce without one, get theirs when they are whole. Only where a hub announces none at all the files go by
        name meanwhile, so that a client sees that bytes flow."""
        layers = [file for file in state.files if file.sha256]
        if layers:
            return [_layer(file) for file in layers if self._note(file)]
        moved = [file for file in state.files if (whole or file.completed_bytes) and self._note(file)]
        return [{"status": f"pulling {file.name}", **_amounts(file)} for file in moved]

    def _note(self, file: FileState) -> bool:
        """Whether this is news. A file that got its digest when it was whole is told of again, with it."""
        key = f"{file.name} {file.sha256}"
        if self._sent.get(key) == file.completed_bytes:
            return False
        self._sent[key] = file.completed_bytes
        return True


def _phase(state: PullState) -> int:
    return _PHASES.index(state.phase) if state.phase in _PHASES else 0


def _layer(file: FileState) -> dict[str, Any]:
    return {
        "status": f"pulling {file.sha256[:12]}",
        "digest": f"sha256:{file.sha256}",
        **_amounts(file),
    }


def _amounts(file: FileState) -> dict[str, int]:
    """`completed` is left out while it is 0, as Go does."""
    amounts = {"total": file.size_bytes}
    return amounts | {"completed": file.completed_bytes} if file.completed_bytes else amounts


def _words(state: PullState) -> str:
    if state.state == "cancelled":
        return f"the pull of {state.name} was cancelled"
    return NOT_FOUND if state.error_code in _NOT_FOUND_CODES else state.error
