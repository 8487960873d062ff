"""A model that another server must load first: what that took is told apart from its prefill."""

from __future__ import annotations

import httpx
from conftest import RunningServer
from engines import events_of, finish_of
from msgspec import structs
from test_remote_failures import chat, scenario

from inference.engine import Engine
from inference.remote import RemoteSpec
from inference.types import ModelSpec, Sampling


def test_a_load_over_there_is_told_apart_from_the_prefill(server: RunningServer) -> None:
    behind = RemoteSpec(id="behind", protocol="ollama", url=server.url, models={"m": "demo"})

    emptied = httpx.post(f"{server.url}/api/generate", json={"model": "demo", "keep_alive": 0}, timeout=30)
    assert emptied.json()["done_reason"] == "unload"

    @scenario(behind)
    async def _(engine: Engine, model: ModelSpec) -> None:
        asked = structs.replace(chat(passed=False), think=False, sampling=Sampling(max_tokens=4))
        cold = finish_of(await events_of(engine, model, asked))
        warm = finish_of(await events_of(engine, model, asked))
        assert cold.load_s > warm.load_s
        for finish in (cold, warm):
            assert finish.prefill_s > 0
            assert finish.load_s + finish.prefill_s + finish.decode_s <= finish.total_s
