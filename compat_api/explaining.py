"""POST /routes/explain: where a request would run and why. Nothing runs by it and nothing is loaded."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from msgspec import Struct, structs

from compat_api import ollama
from compat_api.consumer import InferenceConsumer, off_loop
from compat_api.decoding import BodyDecoder
from compat_api.dialect import JSON_UTF8
from compat_api.generation import require_completion
from inference import engine
from inference.errors import BadRequest
from inference.explanation import Considered, Explanation
from inference.types import ChatRequest, Source


class ExplainBody(Struct):
    """A chat, or a prompt; any other field of /api/chat or /api/generate besides."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Any] | None = None


_decode = BodyDecoder(ExplainBody, "ExplainRequest", "missing request body")


class ExplainConsumer(InferenceConsumer):
    async def handle(self, body: bytes) -> None:
        request = self.sourced(self.placed(await off_loop(parse, body)), body)
        spec = await self.find(request.model)
        require_completion(spec, request.model, "chat")
        explained = await engine.current().explain(spec, request)
        await self.reply(JSON_UTF8, orjson.dumps(shown(spec.name, explained)), [])


def parse(body: bytes) -> ChatRequest:
    """Raises BadRequest."""
    wish = _decode(body)
    dialect = ollama.CHAT if wish.messages is not None else ollama.GENERATE
    parsed = dialect.parse(body)
    if not isinstance(parsed, ChatRequest):
        raise BadRequest('"prompt" or "messages" is required', "prompt")
    operation = "chat" if wish.messages is not None else "generate"
    return structs.replace(parsed, source=Source(operation=operation, body=body))  # what passes there unread


def shown(model: str, explained: Explanation) -> dict[str, Any]:
    """As JSON: times in ms, as the headers have them."""
    return {
        "model": model,
        "prompt_tokens": explained.prompt_tokens,
        "winner": explained.winner or None,
        "reason": explained.reason or None,
        "fallback_reason": explained.fallback_reason or None,
        "why": explained.why,
        "rule": "score" if explained.by_score else "chain",
        "requested": explained.requested or None,
        "target": explained.target or None,
        "chain": list(explained.chain),
        "busy_wait_ms": explained.busy_wait_s * 1000,
        "mode": explained.stored_mode,
        "effective_mode": explained.mode,
        "weights": {"time": explained.by_time, "power": explained.by_power},
        "order": list(explained.order),
        "load_in_background": explained.load_in_background or None,
        "candidates": [_candidate(one) for one in explained.candidates],
    }


def _candidate(one: Considered) -> dict[str, Any]:
    over = one.exceeds
    return {
        "device": one.device,
        "class": one.kind,
        "local": one.local,
        "fault": one.fault or None,
        "fault_words": one.fault_words or None,
        "limit_tokens": one.limit_tokens,
        "ready": one.ready,
        "wait_ms": round(one.wait_s * 1000, 1),
        "load_ms": round(one.load_s * 1000, 1),
        "begins_in_time": one.begins_in_time,
        "queue": one.queue,
        "latency_ms": None if one.latency_s is None else round(one.latency_s * 1000, 1),
        "latency_from": _origin(one.latency_s, one.latency_measured),
        "watts": one.watts,
        "watts_from": _origin(one.watts, one.watts_measured),
        "exceeds": None
        if over is None
        else {"limit": over.limit, "figures": over.figures, "ratio": over.ratio},
        "score": None if one.score is None else round(one.score, 1),
        "terms": None if one.terms is None else msgspec.to_builtins(one.terms),
    }


def _origin(value: float | None, measured: bool) -> str | None:
    return None if value is None else "measured" if measured else "assumed"
