"""`bench --wire`: what a dialect adds to a token, and what a token costs down to the socket. CPU time, no engine.

The events are there beforehand: thoughts, text in the pieces that `demo`'s tokens make of it, a tool call, the end.
They go through the one driver, an event for each write, as a stream of one client has them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from typing import Any, Final, cast

from compat_api.consumer import Message, Receive, Send
from compat_api.dialect import Encoder
from compat_api.generation import DIALECTS, GenerationConsumer
from compat_api.urls import resolve
from inference import engine
from inference.bench import Row
from inference.bench_engine import cpu_seconds, loop_factory
from inference.bench_models import DEMO, MINILM, spec_of
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.bench_table import Aim, Quantity, Result, of_rounds
from inference.config import EngineConfig
from inference.engine import Engine
from inference.events import Event, Finish, ReasoningDelta, Start, TextDelta
from inference.route_facts import Route
from inference.tokenizer import TextCodec
from inference.types import ChatRequest, ToolCall
from npuproxy.bench_client import Client
from npuproxy.bench_memory import layer_alone
from npuproxy.bench_server import ServerTarget

TOKENS: Final = 4096
SOCKET_TOKENS: Final = 16_384
THOUGHTS: Final = 8
"""One token of so many is a thought."""
PLAIN_LINE: Final = b'{"line":"%b"}\n' % (b"x" * 115)
"""Of the size that the dialects' lines have."""

_MESSAGES: Final = [{"role": "user", "content": "How do I pull a model?"}]
BODIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "/api/chat": ("chat", {"messages": _MESSAGES}),
    "/api/generate": ("generate", {"prompt": "How do I pull a model?"}),
    "/v1/chat/completions": ("openai.chat", {"messages": _MESSAGES}),
    "/v1/completions": ("openai.completions", {"prompt": "How do I pull a model?"}),
    "/v1/responses": ("openai.responses", {"input": "How do I pull a model?"}),
    "/v1/messages": ("anthropic.messages", {"messages": _MESSAGES, "max_tokens": 9999}),
}
"""Path -> operation, and what a client sends there for a stream."""

ADDED: Final = {
    path: Quantity(name="added", what=f"{path}: added to a token", unit="µs", aim=Aim(30)) for path in BODIES
}
SOCKET: Final = {
    path: Quantity(name="socket", what=f"{path}: a token, down to the socket", unit="µs") for path in BODIES
}


def without_models() -> None:
    """An engine that is never started: it takes the records of requests. Their lines would only disturb."""
    logging.getLogger("npuproxy.request").setLevel(logging.WARNING)
    engine.install(Engine(EngineConfig()))


class PlayingConsumer(GenerationConsumer):
    """The driver of generations with events that exist already."""

    tokens = TOKENS
    steps = False
    """Whether each event comes in a turn of the loop of its own, as tokens do."""

    async def handle(self, body: bytes) -> None:
        dialect = DIALECTS[self.operation.name]
        request = dialect.parse(body)
        assert isinstance(request, ChatRequest)
        self.encoder = self._encoder_of(request)
        self.encode_error = self.encoder.error
        await self.finish(await self._write_all_but_last(dialect, played(self.tokens, self.steps)))
        self.log.close(200)

    def _encoder_of(self, request: ChatRequest) -> Encoder:
        return DIALECTS[self.operation.name].encoder(request)


class TakingConsumer(PlayingConsumer):
    """Takes each event, and writes `line` for it, if anything."""

    line = b""

    def _encoder_of(self, request: ChatRequest) -> Encoder:
        return _Line(self.line)


class PlainConsumer(TakingConsumer):
    line = PLAIN_LINE


class _Line:
    """An Encoder that encodes nothing."""

    def __init__(self, line: bytes) -> None:
        self._line = line

    def event(self, event: Event) -> bytes:
        return self._line

    def whole(self, events: Sequence[Event]) -> bytes:
        return self._line

    def error(self, status: int, message: str, code: str | None) -> bytes:
        return message.encode()


async def played(tokens: int, steps: bool) -> AsyncGenerator[list[Event], None]:
    """`steps`: each event in a turn of the loop of its own."""
    for event in _events(tokens):
        yield [event]
        if steps:
            await asyncio.sleep(0)


@cache
def _events(tokens: int) -> tuple[Event, ...]:
    route = Route(requested="CPU", routed="CPU", executed="CPU", reason="preferred")
    start = Start(route=route, model_digest="0" * 64, prompt_tokens=40, queue_s=0.0, load_s=0.0)
    pieces = _pieces(tokens)
    thoughts = tokens // THOUGHTS
    finish = Finish(
        reason="stop", prompt_tokens=40, completion_tokens=tokens, total_s=1.0, load_s=0.0, prefill_s=0.1, decode_s=0.9
    )  # fmt: skip
    call = ToolCall(id="call_bench", name="weather", arguments={"city": "Zürich", "days": 3})
    return (
        start,
        *(ReasoningDelta(piece) for piece in pieces[:thoughts]),
        *(TextDelta(piece) for piece in pieces[thoughts:]),
        call,
        finish,
    )


def _pieces(tokens: int) -> list[str]:
    """A licence, token by token, again and again."""
    codec = TextCodec.open(spec_of(DEMO, "demo", exact=True))
    ids = codec.tokens_of((MINILM / "LICENSE").read_text("utf-8"), special=False)
    pieces = codec.decoder().push(ids)
    return [pieces[index % len(pieces)] for index in range(tokens)]


# --- the rows -------------------------------------------------------------------------------------------------


def added(stage: Stage) -> list[Result]:
    """Encoding and writing, into nothing, less the same events taken and not encoded."""
    rounds = 3 if stage.quick else 25
    without_models()
    costs: dict[str, list[float]] = {path: [] for path in BODIES}
    _events(TOKENS)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        for index in range(rounds + 1):
            sides = [*BODIES, ""]
            turn = sides[index % len(sides) :] + sides[: index % len(sides)]
            taken = {path: runner.run(_streamed(path)) for path in turn}
            if index:  # the first one warms up
                for path, values in costs.items():
                    values.append((taken[path] - taken[""]) / TOKENS * 1e6)
    note = f"{TOKENS:,} tokens a stream; an event taken and not encoded: {taken[''] / TOKENS * 1e6:.1f} µs"
    return [
        of_rounds(ADDED[path], values, notes=() if number else [note])
        for number, (path, values) in enumerate(costs.items())
    ]


async def _streamed(path: str) -> float:
    """Seconds of CPU for one stream; '': the events alone."""
    body = _body(path or "/api/chat")
    written = 0

    async def send(message: Message) -> None:
        nonlocal written
        written += len(message.get("body", b""))

    async def receive() -> Message:
        if asked:
            await asyncio.Event().wait()
        asked.append(path)
        return {"type": "http.request", "body": body, "more_body": False}

    asked: list[str] = []
    consumer = PlayingConsumer() if path else TakingConsumer()
    scope = {
        "npuproxy.resolved": resolve("POST", path or "/api/chat"),
        "npuproxy.request_id": "req_bench",
        "method": "POST",
        "path": path,
        "headers": [],
    }
    began = time.process_time()
    await consumer(scope, receive, send)
    seconds = time.process_time() - began
    if path and written < TOKENS * 10:
        raise BenchError(f"{path} wrote {written} bytes for {TOKENS} tokens")
    return seconds


def _body(path: str) -> bytes:
    return json.dumps({"model": "demo", "stream": True} | BODIES[path][1]).encode()


def socket(stage: Stage) -> list[Result]:
    """The server's HTTP layer with a client that reads, beside lines of a like size that nobody encodes."""
    tokens = TOKENS if stage.quick else SOCKET_TOKENS
    costs: dict[str, list[float]] = {path: [] for path in BODIES}
    plain: list[float] = []
    with layer_alone("--serve-wire", str(tokens)) as (process, port):
        client = Client(port)
        for index in range((2 if stage.quick else 5) + 1):
            stage.say(f"socket: round {index}")
            for path, query in [*((path, "") for path in BODIES), ("/api/chat", "?plain")]:
                before = cpu_seconds(process)
                exchange = client.post(path + query, json.loads(_body(path)))
                client.exchange([exchange])
                if exchange.status != 200 or len(exchange.data) < tokens * 10:
                    raise BenchError(f"{path}: status {exchange.status}, {len(exchange.data)} bytes")
                took = (cpu_seconds(process) - before) / tokens * 1e6
                if index:
                    (plain if query else costs[path]).append(took)
        client.close()
    line = statistics.median(plain)
    return [
        of_rounds(SOCKET[path], values, f"{statistics.median(values):.1f} / {line:.1f} µs")
        for path, values in costs.items()
    ]


ROWS: Final = (
    Row(tuple(ADDED.values()), added),
    Row(tuple(SOCKET.values()), socket),
)


# --- the child ------------------------------------------------------------------------------------------------


class NoServer(ServerTarget):
    """Nothing is started that these rows do not start themselves."""

    def start(self, memory_budget_bytes: int = 0) -> None:
        pass


def application(tokens: int) -> Any:
    """ASGI: every path of BODIES plays its events; with `?plain`, as lines that are there."""
    without_models()
    playing = type("Playing", (PlayingConsumer,), {"tokens": tokens, "steps": True})
    plain = type("Plain", (PlainConsumer,), {"tokens": tokens, "steps": True})
    _events(tokens)

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        consumer = plain if scope["query_string"] == b"plain" else playing
        await cast(GenerationConsumer, consumer())(scope, receive, send)

    return answer
