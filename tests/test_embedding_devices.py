"""Where embeddings run, and that they wait for no long answer."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from engines import DEMO, MINILM, babble, events_of, run, running_engine, until

from inference import planning
from inference.backends.local import BATCHING_SLOTS, LocalBackend
from inference.config import EngineConfig
from inference.energy import Ledger
from inference.modes import Efficiency
from inference.planning import embedding_device
from inference.pool import Pool
from inference.profiles import Profiles
from inference.route_facts import Candidate
from inference.routing import choose
from inference.telemetry.readings import Readings
from inference.telemetry.sampler import Sampler
from inference.texts import Texts
from inference.types import EmbedRequest, LoadRequest

NPU = Candidate(device="NPU", kind="npu", limit_tokens=256)
CPU = Candidate(device="CPU", limit_tokens=256)


def texts(count: int) -> EmbedRequest:
    return EmbedRequest(model="m", texts=("a",) * count)


@pytest.mark.parametrize(
    ("case", "pinned", "request_", "candidates", "wanted"),
    [
        ("three texts", "auto", texts(3), (NPU, CPU), "NPU"),
        ("four texts", "auto", texts(4), (NPU, CPU), "CPU"),
        ("as ids", "auto", EmbedRequest(model="m", texts=(), ids=((1,),) * 4), (NPU, CPU), "CPU"),
        ("a load alone", "auto", LoadRequest(model="m"), (NPU, CPU), "NPU"),
        ("no NPU", "auto", texts(1), (CPU,), "CPU"),
        ("an NPU that has gone", "auto", texts(1), (Candidate(device="NPU", kind="npu", available=False), CPU), "CPU"),
        ("pinned", "CPU", texts(1), (NPU, CPU), "CPU"),
        (
            "measured on every device",
            "auto",
            texts(1),
            (Candidate(device="NPU", kind="npu", expected_s=2), Candidate(device="CPU", expected_s=1)),
            "CPU",
        ),
        (
            "measured on every device, and the NPU is faster with many",
            "auto",
            texts(40),
            (Candidate(device="NPU", kind="npu", expected_s=1), Candidate(device="CPU", expected_s=2)),
            "NPU",
        ),
        (
            "measured on one",
            "auto",
            texts(1),
            (Candidate(device="NPU", kind="npu"), Candidate(device="CPU", expected_s=2)),
            "NPU",
        ),
    ],
)  # fmt: skip
def test_a_few_texts_are_wanted_on_the_npu_and_many_on_the_cpu(
    case: str,
    pinned: str,
    request_: EmbedRequest | LoadRequest,
    candidates: tuple[Candidate, ...],
    wanted: str,
) -> None:
    config = EngineConfig(embedding_device=pinned)
    assert embedding_device(config, request_, candidates) == wanted, case


def test_a_cold_cpu_is_waited_for_before_texts_leave_the_machine() -> None:
    config, profiles = EngineConfig(), Profiles()
    pool = Pool(config, lambda device: False, lambda report: None, profiles)
    processor = LocalBackend(
        "CPU", "a processor", emulated=False, config=config, pool=pool, texts=Texts(), profiles=profiles,
        ledger=Ledger(Sampler()),
    )  # fmt: skip
    box = Candidate(device="box", kind="dgpu", local=False, limit_tokens=8192)
    facts, candidates = planning.question(
        config, Efficiency(), Readings(), {"CPU": processor}, profiles, MINILM, texts(5), 0, others=(box,)
    )
    (cpu, _) = candidates
    assert not cpu.ready
    assert 0 < cpu.load_s < config.busy_wait_s
    plan = choose(facts, candidates)
    assert [choice.device for choice in plan.choices] == ["CPU", "box"]


def test_an_embedding_starts_while_a_device_is_full_of_long_answers() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            await engine.load(DEMO, LoadRequest(model="demo"))
            await engine.load(MINILM, LoadRequest(model="all-minilm"))
            long = [
                asyncio.create_task(events_of(engine, DEMO, babble(3000, seed=seed)))
                for seed in range(2 * BATCHING_SLOTS)
            ]

            def full() -> bool:
                (device,) = engine.snapshot().devices
                return device.running == BATCHING_SLOTS and device.waiting > 0

            await until(full, 30)
            embedded = await engine.embed(MINILM, texts(2))
            assert embedded.start.queue_s == 0
            assert full(), "the long answers still run, and others still wait for them"
            for task in long:
                task.cancel()
            await asyncio.gather(*long, return_exceptions=True)

    run(scenario, 120)


# --- over HTTP, beside an emulated NPU ------------------------------------------------------------------------


def embed(server: RunningServer, count: int, **headers: str) -> httpx.Response:
    body = {"model": "all-minilm", "input": [f"text number {place} of {count}" for place in range(count)]}
    answer = httpx.post(f"{server.url}/api/embed", json=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["embeddings"]) == count
    return answer


def test_the_number_of_texts_decides_where_they_run(npu_server: RunningServer) -> None:
    """Until both devices were measured three times: this is the first test that embeds there."""
    on_npu, on_cpu = ("NPU", "NPU (emulated)", "false"), ("CPU", "CPU", "false")
    for count, wanted in ((1, on_npu), (3, on_npu), (4, on_cpu), (40, on_cpu)):
        headers = embed(npu_server, count).headers
        found = (headers["X-Backend-Used"], headers["X-NPU-Proxy-Device"], headers["X-NPU-Proxy-Fallback"])
        assert found == wanted, count


def test_a_text_does_not_wait_for_the_npu_while_an_answer_runs_there(npu_server: RunningServer) -> None:
    body: dict[str, Any] = {
        "model": "demo",
        "prompt": "count",
        "think": False,
        "options": {"temperature": 1000, "top_k": 0, "top_p": 1, "num_predict": 2000},
    }
    on_npu = {"X-Target-Backend": "NPU", "X-Target-Strict": "true"}
    with httpx.stream(
        "POST", f"{npu_server.url}/api/generate", json=body, headers=on_npu, timeout=120
    ) as answer:
        assert answer.headers["X-Backend-Used"] == "NPU"
        headers = embed(npu_server, 1).headers
        assert headers["X-Backend-Used"] == "CPU"
        assert headers.get("X-NPU-Proxy-Fallback-Reason", "busy") == "busy", "or the CPU was measured faster"
        assert float(headers["X-NPU-Proxy-Queue-Ms"]) == 0


def test_a_text_that_must_run_on_a_busy_npu_waits_for_its_turn(npu_server: RunningServer) -> None:
    body: dict[str, Any] = {
        "model": "demo",
        "prompt": "count",
        "think": False,
        "options": {"temperature": 1000, "top_k": 0, "top_p": 1, "num_predict": 300},
    }
    on_npu = {"X-Target-Backend": "NPU", "X-Target-Strict": "true"}
    with httpx.stream(
        "POST", f"{npu_server.url}/api/generate", json=body, headers=on_npu, timeout=120
    ) as answer:
        headers = embed(npu_server, 1, **on_npu).headers
        assert headers["X-NPU-Proxy-Device"] == "NPU (emulated)"
        assert float(headers["X-NPU-Proxy-Queue-Ms"]) > 0
        assert [*answer.iter_lines()][-1].endswith("}"), "it ended before the text had its turn"


def test_answers_that_are_wanted_together_do_not_stand_in_line_for_an_npu(npu_server: RunningServer) -> None:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 2,
        "think": False,
    }
    found = {}
    for n in (1, 2):
        answer = httpx.post(f"{npu_server.url}/v1/chat/completions", json={**body, "n": n}, timeout=120)
        assert len(answer.json()["choices"]) == n
        found[n] = (answer.headers["X-Backend-Used"], answer.headers["X-NPU-Proxy-Route-Reason"])
    assert found == {1: ("NPU", "within_npu_limit"), 2: ("CPU", "capability")}
    strict = {"X-Target-Backend": "NPU", "X-Target-Strict": "true"}
    refused = httpx.post(
        f"{npu_server.url}/v1/chat/completions", json={**body, "n": 2}, headers=strict, timeout=120
    )
    assert refused.status_code == 503
    assert "it gives one answer at a time" in refused.json()["error"]["message"]
