"""Loads a model on a device and runs a few tokens, in the running server or, without one, in this process."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from types import TracebackType
from typing import Any, Protocol, Self

import httpx
from django.conf import settings
from msgspec import Struct

from inference.engine import Engine
from inference.errors import InferenceError, LoadFailed
from inference.events import Finish, Start
from inference.process import LOAD_DEADLINE_S, START_DEADLINE_S
from inference.reports import LoadReport
from inference.types import ChatRequest, EmbedRequest, Message, ModelSpec, Placement, Sampling
from npuproxy.running_server import RunningServer
from registry.models import Device
from registry.records import Records

PROMPT = "Count from one to twenty."
TOKENS = 16
ALREADY_LOADED_S = 0.01
"""A load that took less was none."""


class Warmed(Struct, frozen=True, kw_only=True):
    """How it went on one device. Times are None where nothing was measured."""

    model: str
    device: str
    executed: str = ""
    """As the runtime says."""
    load_s: float | None = None
    """0: it was loaded already."""
    ttft_s: float | None = None
    """From the hand-over to the worker to the first token; of an embedding model to its vectors."""
    tokens_per_s: float | None = None
    """Of decode; of an embedding model, tokens of the texts."""
    cache_bytes: int | None = None
    """Of the compile cache; None where the device keeps none, or the server did the load."""
    compiled: bool = False
    """The load filled the cache."""
    error: str = ""


class Warmer(Protocol):
    """Who loads."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def devices(self) -> list[str]:
        """What this machine has, as the runtime names it."""

    def warm(self, spec: ModelSpec, device: str) -> Warmed:
        """Never raises for what goes wrong with the model; `error` says it."""


class InServer:
    """Asks the running server over its own API, so that it keeps what is loaded."""

    def __init__(self, server: RunningServer) -> None:
        timeout = httpx.Timeout(30, read=LOAD_DEADLINE_S + 60)
        self._client = server.client(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._client.close()

    def devices(self) -> list[str]:
        """As the server wrote them down: within a second or two of its very first start."""
        deadline = time.monotonic() + START_DEADLINE_S
        while not (names := list(Device.objects.values_list("name", flat=True))):
            if time.monotonic() > deadline:
                raise LoadFailed("the server has found no device; its log says why")
            time.sleep(0.1)
        return names

    def warm(self, spec: ModelSpec, device: str) -> Warmed:
        body: dict[str, Any] = {"model": spec.name}
        if spec.kind == "embedding":
            path, body["input"] = "/api/embed", [PROMPT]
        else:
            path = "/api/generate"
            options = {"num_predict": TOKENS, "temperature": 0}
            body |= {"prompt": PROMPT, "think": False, "stream": False, "options": options}
        headers = {"X-NPU-Proxy-Device": device, "X-Target-Strict": "true"}
        try:
            answer = self._client.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            return Warmed(model=spec.name, device=device, error=f"the server did not answer: {error}")
        said = answer.json()
        if not answer.is_success:
            return Warmed(model=spec.name, device=device, error=str(said.get("error", answer.status_code)))
        load_s = said.get("load_duration", 0) / 1e9
        if spec.kind == "embedding":
            ttft_s = said.get("total_duration", 0) / 1e9 - load_s
            count, decode_s = said.get("prompt_eval_count", 0), ttft_s
        else:
            ttft_s = said.get("prompt_eval_duration", 0) / 1e9
            count, decode_s = said.get("eval_count", 0) - 1, said.get("eval_duration", 0) / 1e9
        return Warmed(
            model=spec.name, device=device, executed=answer.headers.get("X-NPU-Proxy-Device", ""),
            load_s=_load(load_s), ttft_s=ttft_s, tokens_per_s=_rate(count, decode_s),
        )  # fmt: skip


class InProcess:
    """An engine of this process: fills the compile caches, and keeps nothing in memory."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._records = Records()
        self._report: LoadReport | None = None
        self._engine = Engine(settings.ENGINE, self._loaded)

    def _loaded(self, report: LoadReport) -> None:
        self._report = report
        self._records.loaded(report)

    def __enter__(self) -> Self:
        self._runner.run(self._engine.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        async def stop() -> None:
            await self._engine.stop()
            await self._records.close()

        self._runner.run(stop())
        self._runner.close()

    def devices(self) -> list[str]:
        return [state.id for state in self._runner.run(self._engine.devices()) if state.available]

    def warm(self, spec: ModelSpec, device: str) -> Warmed:
        self._report = None
        try:
            measured = self._runner.run(self._measure(spec, Placement(device=device, strict=True)))
        except InferenceError as error:
            return Warmed(model=spec.name, device=device, error=str(error))
        report: LoadReport | None = self._report
        cache = report.cache if report else None
        return Warmed(
            model=spec.name, device=device, **measured,
            cache_bytes=cache.size_bytes if cache else None, compiled=bool(cache and cache.compiled),
        )  # fmt: skip

    async def _measure(self, spec: ModelSpec, placement: Placement) -> dict[str, Any]:
        if spec.kind == "embedding":
            wish = EmbedRequest(model=spec.name, texts=(PROMPT,), keep_alive_s=0.0, placement=placement)
            done = await self._engine.embed(spec, wish)
            ttft_s = done.total_s - done.start.load_s
            rate = _rate(done.prompt_tokens, ttft_s)
            start, load_s = done.start, done.start.load_s
        else:
            start, finish = await self._chat(spec, placement)
            load_s, ttft_s = finish.load_s, finish.prefill_s
            rate = _rate(finish.completion_tokens - 1, finish.decode_s)
        executed = start.route.executed
        return {"executed": executed, "load_s": _load(load_s), "ttft_s": ttft_s, "tokens_per_s": rate}

    async def _chat(self, spec: ModelSpec, placement: Placement) -> tuple[Start, Finish]:
        wish = ChatRequest(
            model=spec.name, messages=(Message(role="user", content=PROMPT),), think=False, keep_alive_s=0.0,
            sampling=Sampling(max_tokens=TOKENS, temperature=0.0), placement=placement,
        )  # fmt: skip
        async with aclosing(self._engine.generate(spec, wish)) as batches:
            events = [event async for batch in batches for event in batch]
        starts = [event for event in events if isinstance(event, Start)]
        assert isinstance(events[-1], Finish)
        return starts[-1], events[-1]


def _load(load_s: float) -> float:
    return load_s if load_s >= ALREADY_LOADED_S else 0.0


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if count > 0 and seconds > 0 else None
