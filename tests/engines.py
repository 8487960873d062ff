"""An engine of a test's own, with real workers and the built-in models; no server, no database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import structs

import inference.builtin
from inference.config import EngineConfig
from inference.engine import Engine
from inference.events import Event, Finish, Start, TextDelta
from inference.reports import LoadReport
from inference.types import ChatRequest, Kind, Message, ModelSpec, Sampling

BUILTIN = Path(inference.builtin.__file__).parent
GREEDY = Sampling(temperature=0.0)


def spec_of(folder: Path, **changes: Any) -> ModelSpec:
    """The spec of a model folder as the registry would make it, digests included."""
    files = {}
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        files[name.lstrip("*")] = ((folder / name.lstrip("*")).stat().st_size, digest)
    size = sum(size for size, _ in files.values())
    kind: Kind = "embedding" if (folder / "1_Pooling").exists() else "chat"
    capabilities = {"embedding"} if kind == "embedding" else {"completion", "tools", "thinking"}
    spec = ModelSpec(
        name=f"{folder.name}:latest", digest=files["openvino_model.xml"][1], path=folder, kind=kind, files=files,
        size_bytes=size, context_length=256 if kind == "embedding" else 4096,
        kv_bytes_per_token=0 if kind == "embedding" else 5 * 2 * 2 * 64 * 4,
        capabilities=frozenset(capabilities), exact=kind == "chat",
    )  # fmt: skip
    return structs.replace(spec, **changes)


DEMO = spec_of(BUILTIN / "demo")
MINILM = spec_of(BUILTIN / "all-minilm")


def ask(text: str = "How do I pull a model?", **changes: Any) -> ChatRequest:
    fields = {
        "model": "demo",
        "messages": (Message(role="user", content=text),),
        "think": False,
        "sampling": GREEDY,
    }
    return ChatRequest(**{**fields, **changes})


def babble(tokens: int = 2000, seed: int = 6, **changes: Any) -> ChatRequest:
    """A long answer: at this temperature every token is as likely as the end, one in two thousand."""
    hot = Sampling(temperature=1000.0, top_k=0, top_p=1.0, seed=seed, max_tokens=tokens)
    return ask(sampling=hot, **changes)


@asynccontextmanager
async def running_engine(
    on_load: Callable[[LoadReport], None] = lambda report: None, **config: Any
) -> AsyncIterator[Engine]:
    engine = Engine(EngineConfig(**{"device": "CPU", **config}), on_load)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def events_of(engine: Engine, spec: ModelSpec, request: ChatRequest) -> list[Event]:
    async with aclosing(engine.generate(spec, request)) as batches:
        return [event async for batch in batches for event in batch]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def start_of(events: list[Event]) -> Start:
    assert isinstance(events[0], Start)
    return events[0]


def finish_of(events: list[Event]) -> Finish:
    assert isinstance(events[-1], Finish)
    return events[-1]


def run(scenario: Callable[[], Awaitable[None]], deadline_s: float = 60) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(deadline_s):
            await scenario()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    """Waits for a state that another task brings about."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.01)
