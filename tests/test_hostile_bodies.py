"""Thousands of hostile requests at every endpoint: none is a 500, none hangs, and the workers are the same afterwards.

In CI there are 13,600 of them, elsewhere a thousand. A request that is found here is printed whole, and comes again by
the same seed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import RunningServer, start_server
from hostile_bodies import SHAPES
from hostile_traffic import BARE, Client, Hostile, fault_of, traffic
from hub_process import Hub
from workers import worker_of

from compat_api.urls import OPERATIONS

REQUESTS = 13_600 if os.environ.get("CI") else 1_000
"""In CI more than 10,000 of them have a body."""
AT_ONCE = 4
TURN = {"role": "user", "content": "How do I pull a model?"}


@pytest.fixture(scope="module")
def target(hub_of_all: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose hub is an empty one of this machine."""
    running = start_server(tmp_path_factory.mktemp("target"), HF_ENDPOINT=hub_of_all.url)
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def test_every_endpoint_has_hostile_requests() -> None:
    names = {operation.name for operation in OPERATIONS}
    assert set(SHAPES) | BARE == names
    assert not set(SHAPES) & BARE
    seen = {request.operation.name for request in traffic(0, len(OPERATIONS))}
    assert seen == names


def normal_answers(server: RunningServer) -> tuple[str, int]:
    chat = {
        "model": "demo",
        "messages": [TURN],
        "stream": False,
        "think": False,
        "options": {"temperature": 0},
    }
    said = httpx.post(f"{server.url}/api/chat", json=chat, timeout=60).raise_for_status().json()
    vectors = httpx.post(f"{server.url}/api/embed", json={"model": "all-minilm", "input": "a"}, timeout=60)
    return said["message"]["content"], len(vectors.raise_for_status().json()["embeddings"][0])


def test_hostile_requests_leave_the_server_as_it_was(target: RunningServer) -> None:
    before = normal_answers(target)
    workers = [worker_of(target, model).pid for model in ("demo", "all-minilm")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(pool.map(lambda seed: attack(target.port, seed, REQUESTS // AT_ONCE), range(AT_ONCE)))
    faults = [fault for found, _ in runs for fault in found]
    assert not faults, "\n".join(faults[:10])
    statuses = sum((counted for _, counted in runs), Counter[int]())
    assert statuses.total() == REQUESTS
    assert statuses[200] > REQUESTS / 10, f"too few of them reach what they are aimed at: {statuses}"
    assert statuses[503] < REQUESTS / 20, f"a model or a device was away: {statuses}"
    assert normal_answers(target) == before
    assert [worker_of(target, model).pid for model in ("demo", "all-minilm")] == workers
    assert not traces(target.log()), traces(target.log())[0]


def attack(port: int, seed: int, count: int) -> tuple[list[str], Counter[int]]:
    """What was wrong with any answer, and how many there were of each status."""
    faults: list[str] = []
    statuses: Counter[int] = Counter()
    client = Client(port)
    try:
        for index, request in enumerate(traffic(seed, count)):
            try:
                answer = client.send(request)
            except Exception as error:
                return [*faults, f"[{seed}:{index}] {error!r}: {shown(request)}"], statuses
            statuses[answer.status] += 1
            if fault := fault_of(request, answer):
                said = f"{answer.status} {answer.body[:500]!r}"
                faults.append(f"[{seed}:{index}] {fault}: {shown(request)} -> {said}")
    finally:
        client.close()
    return faults, statuses


def shown(request: Hostile) -> str:
    return f"{request.method} {request.target[:300]} {request.headers} {request.body[:2000]!r}"


def traces(log: str) -> list[str]:
    """What the server did not expect."""
    return [trace[:6000] for trace in log.split("Traceback")[1:]]
