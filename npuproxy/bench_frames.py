"""The row of `bench --routing` for the WebSocket: how long after a step of the engine its frame is with the client.

The door is a child process, `manage.py bench --serve-frames TOKENS`, with the server's own layers and steps that come
by a clock. Each token's text is the moment of its step, by the clock that all processes of this machine share.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any, Final

from compat_api.consumer import Message, Receive, Send
from compat_api.stream_ws import responses
from compat_api.stream_ws.consumer import StreamConsumer
from compat_api.stream_ws.exchange import Exchange
from inference.bench import Row
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, of_rounds
from inference.events import Finish, Start, TextDelta
from inference.route_facts import Route
from inference.types import Placement
from npuproxy.bench_memory import layer_alone
from npuproxy.bench_socket import upgraded
from npuproxy.bench_wire import without_models

PATH: Final = "/v1/stream/ws"
STEP_S: Final = 0.01
DEADLINE_S: Final = 60.0
FRAMES: Final = Quantity(
    name="frames", what="WebSocket: frame with the client − step of the engine, p50", unit="ms", aim=Aim(0.2)
)
_START: Final = Start(
    route=Route(requested="CPU", routed="CPU", executed="CPU", reason="preferred"),
    model_digest="0" * 64,
    prompt_tokens=1,
    queue_s=0.0,
    load_s=0.0,
)
_FINISH: Final = Finish(
    reason="stop", prompt_tokens=1, completion_tokens=1, total_s=0.0, load_s=0.0, prefill_s=0.0, decode_s=0.0
)


class _Stepping(Exchange):
    """One request whose steps come by a clock, each with the moment at which it came."""

    tokens = 0

    async def _answer(self, body: bytes, wished: Placement, engine_id: str) -> None:
        loop = asyncio.get_running_loop()
        encoder = responses.Encoder(self._id, False, _START, 0.0)
        for _ in range(self.tokens):
            step: asyncio.Future[float] = loop.create_future()
            loop.call_later(STEP_S, _come, step)
            await self._say(encoder.event(TextDelta(repr(await step))))
        self._log.close(200)
        await self._say(encoder.last(_FINISH, self._log.elapsed_s()))


def _come(step: asyncio.Future[float]) -> None:
    step.set_result(time.perf_counter())


def application(tokens: int) -> Any:
    """ASGI of the WebSocket alone."""
    without_models()
    stepping = type("Stepping", (_Stepping,), {"tokens": tokens})

    class Consumer(StreamConsumer):
        exchange = stepping

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        await Consumer()(scope, receive, send)

    return answer


def frames(stage: Stage) -> list[Result]:
    """A median of each round; the client only reads."""
    tokens, rounds = (50, 2) if stage.quick else (300, 5)
    values = []
    with layer_alone("--serve-frames", str(tokens)) as (_, port):
        for index in range(rounds + 1):
            stage.say(f"frames: round {index} of {rounds}")
            behind = [(at - float(text)) * 1000 for at, text in _tokens(port)]
            if len(behind) != tokens:
                raise BenchError(f"{len(behind)} frames for {tokens} tokens")
            if index:
                values.append(statistics.median(behind))
    return [of_rounds(FRAMES, values)]


def _tokens(port: int) -> Iterator[tuple[float, str]]:
    """(moment, text) of each token. A step is longer than a frame's way, so a read has one frame."""
    with upgraded(("127.0.0.1", port), PATH, DEADLINE_S) as sock:
        sock.sendall(_masked(b'{"model": "demo", "prompt": "step"}'))
        data = b""
        while True:
            data += sock.recv(1 << 16)
            now = time.perf_counter()
            while (frame := _taken(data)) is not None:
                body, data = frame
                told = json.loads(body)
                if told["done"]:
                    return
                yield now, told["token"]


def _masked(body: bytes) -> bytes:
    """A short text frame, as clients have to send it; a mask of zeros changes nothing."""
    return bytes((0x81, 0x80 | len(body))) + bytes(4) + body


def _taken(data: bytes) -> tuple[bytes, bytes] | None:
    """The first whole frame's body, and what follows it. Servers' frames have no mask, and these are short."""
    if len(data) < 2:
        return None
    length, at = data[1], 2
    if length == 126:
        if len(data) < 4:
            return None
        length, at = int.from_bytes(data[2:4], "big"), 4
    return (data[at : at + length], data[at + length :]) if len(data) >= at + length else None


ROW: Final = Row((FRAMES,), frames)
