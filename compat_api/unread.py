"""Bodies that pass on to another server as they are, though this one could not answer them: several choices, and fields
that are refused here. Only for a model that other servers have alone, where one of them speaks the caller's dialect."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from compat_api.urls import Operation
from inference import engine
from inference.types import ChatRequest, ModelSpec, Source

_STREAMS_UNASKED = ("chat", "generate")
"""Operations of Ollama's API, whose answers are streams unless a request says otherwise."""


class _Body(Struct):
    model: str = ""
    stream: bool | None = None


_decode = msgspec.json.Decoder(_Body)


def passing_on(operation: Operation, body: bytes, spec: ModelSpec | None = None) -> ChatRequest | None:
    """A request that is nothing but its source; None where it cannot pass. `spec`: of its model, if that is known."""
    remotes = engine.current().remotes
    if not remotes.backends:
        return None
    try:
        read = _decode.decode(body)
    except msgspec.MsgspecError:
        return None
    spec = spec or remotes.find(read.model)
    if spec is None or not spec.remote:
        return None
    request = ChatRequest(
        model=read.model,
        messages=(),
        stream=read.stream if read.stream is not None else operation.name in _STREAMS_UNASKED,
        source=Source(operation=operation.name, body=body, alone=True),
    )
    able = [candidate for candidate in remotes.candidates(spec, request) if not candidate.incapable]
    return request if able else None
