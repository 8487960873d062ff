"""Why here: what the router would do with a request, over HTTP and by `manage.py routes explain`; and what
`bench --profile` measures for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, RunningServer, environment, start_server
from msgspec import structs

from inference.explanation import explain
from inference.modes import MODES, PERFORMANCE
from inference.route_facts import NO_LIMIT, Candidate, Facts
from inference.routing import choose

NPU = Candidate(device="NPU", kind="npu", limit_tokens=1801)
IGPU = Candidate(device="GPU", kind="igpu", limit_tokens=8192)
CPU = Candidate(device="CPU", kind="cpu", limit_tokens=8192, expected_s=0.3)


def facts(tokens: int = 100, mode: str = "Auto", **changes: Any) -> Facts:
    given: dict[str, Any] = {"preferred": ("NPU", "GPU", "CPU"), "stored_mode": mode} | changes
    return Facts(prompt_tokens=tokens, mode=MODES.get(mode, PERFORMANCE), **given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (facts(), "NPU is the first of NPU, GPU, CPU that can begin within 2 s"),
        (facts(mode="Performance"), "GPU has the highest score of those that may begin"),
        (facts(target="CPU"), "CPU was asked for"),
        (facts(max_watts=1), "nobody is within the limits, and NPU exceeds them least"),
        (facts(9000), "8192"),
        (facts(allowed=("CPU",)), "CPU is the only one that can"),
    ],
)
def test_the_reason_is_told_in_words(given: Facts, words: str) -> None:
    explained = explain(given, (NPU, IGPU, CPU))
    assert words in explained.why
    if explained.winner:
        assert explained.order == tuple(choice.device for choice in choose(given, (NPU, IGPU, CPU)).choices)


BOX = Candidate(device="box", kind="dgpu", local=False, limit_tokens=NO_LIMIT)
AWAY = structs.replace(BOX, device="cellar", available=False, fault="it cannot be reached")
FEW = structs.replace(BOX, device="attic", incapable="takes no images")


@pytest.mark.parametrize(
    ("given", "candidates", "words"),
    [
        (facts(preferred=()), (BOX,), "box is the only one that can"),
        (
            facts(preferred=()),
            (BOX, structs.replace(BOX, device="rack")),
            "box is the first of box, rack that can begin within 2 s",
        ),
        (
            facts(),
            (structs.replace(CPU, wait_s=9), BOX),
            "box is the first of CPU, box that can begin within 2 s",
        ),
        (facts(preferred=()), (AWAY,), "no server can answer now: cellar: it cannot be reached"),
        (facts(preferred=()), (FEW,), "attic takes no images"),
        (
            facts(preferred=(), remote=False, remote_forbidden_by="this API key"),
            (BOX,),
            "this request is kept on this machine by this API key, and box is another server",
        ),
    ],
)
def test_other_servers_are_named_as_they_are(
    given: Facts, candidates: tuple[Candidate, ...], words: str
) -> None:
    assert explain(given, candidates).why == words


def test_what_another_server_does_not_tell_is_not_told() -> None:
    explained = explain(facts(tokens=0, preferred=()), (BOX, AWAY, FEW), counted=False)
    box, away, few = explained.candidates
    assert (explained.prompt_tokens, box.limit_tokens, box.ready) == (None, None, None)
    assert (away.fault, away.fault_words) == ("device_unavailable", "it cannot be reached")
    assert (few.fault, few.fault_words) == ("capability", "takes no images")
    npu, _ = explain(facts(3000), (NPU, CPU)).candidates
    assert (npu.fault_words, npu.limit_tokens) == ("takes prompts of up to 1800 tokens", 1801)


def test_each_candidate_has_its_fault_and_its_score() -> None:
    explained = explain(facts(3000, mode="Performance", allowed=("NPU", "GPU")), (NPU, IGPU, CPU))
    npu, igpu, cpu = explained.candidates
    assert (npu.fault, npu.score) == ("prompt_exceeds_npu_limit", None)
    assert (cpu.fault, cpu.terms) == ("not_allowed", None)
    assert igpu.terms is not None
    assert not igpu.latency_measured


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The emulated NPU beside the CPU."""
    running = start_server(
        tmp_path_factory.mktemp("two"), NPU_PROXY_NPU_EMULATION="true", NPU_PROXY_MAX_PROMPT_LEN="256"
    )
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def why(server: RunningServer, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = httpx.post(
        f"{server.url}/routes/explain", json=body, headers=headers, timeout=60, trust_env=False
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def manage(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env=environment(server.data_dir, NPU_PROXY_DATA_DIR=str(server.data_dir)), check=False,
    )  # fmt: skip


def test_it_is_told_over_http_and_nothing_is_loaded_by_it(two: RunningServer) -> None:
    short = why(two, {"model": "demo", "messages": [{"role": "user", "content": "How do I pull a model?"}]})
    assert short["rule"] == "chain"
    assert {one["device"] for one in short["candidates"]} == {"NPU", "CPU"}
    assert short["winner"] == "CPU", "the NPU would have to compile first"
    assert short["load_in_background"] == "NPU"
    long = why(two, {"model": "demo", "prompt": "many words " * 300})
    (npu,) = [one for one in long["candidates"] if one["device"] == "NPU"]
    assert npu["fault"] == "prompt_exceeds_npu_limit"
    spare = why(two, {"model": "demo", "prompt": "hi"}, **{"X-Power-Efficient": "true"})
    assert spare["rule"] == "score"
    for one in spare["candidates"]:
        assert one["score"] == pytest.approx(sum(one["terms"].values()), abs=0.1)
    assert httpx.get(f"{two.url}/api/ps", timeout=30, trust_env=False).json()["models"] == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        ({"model": "demo"}, {}, 400, "prompt"),
        ({"model": "nobody", "prompt": "a"}, {}, 404, "nobody"),
        ({"model": "all-minilm", "prompt": "a"}, {}, 400, "does not support"),
        ({"model": "demo", "prompt": "a"}, {"X-Priority": "soon"}, 400, "X-Priority"),
    ],
)
def test_what_cannot_be_explained_is_an_error(
    server: RunningServer, body: dict[str, Any], headers: dict[str, str], status: int, words: str
) -> None:
    answer = httpx.post(
        f"{server.url}/routes/explain", json=body, headers=headers, timeout=60, trust_env=False
    )
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


def test_profiles_are_measured_by_command_and_the_explanation_uses_them(
    two: RunningServer, tmp_path: Path
) -> None:
    done = manage(two, "bench", "--profile", "demo", "--device", "CPU", "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    (cpu,) = json.loads(done.stdout)
    assert (cpu["device"], cpu["requests"], cpu["measured"]["prefill_count"]) == ("CPU", 9, 9)
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("How do I pull a model?", "utf-8")
    wish = ("--header", "X-Target-Backend: CPU", "--header", "X-Target-Strict: true")
    told = manage(two, "routes", "explain", "--prompt-file", str(prompt), "--model", "demo", *wish)
    assert told.returncode == 0, told.stderr[-2000:]
    assert "CPU: CPU was asked for." in told.stdout
    assert " s measured" in told.stdout
    as_json = manage(
        two, "routes", "explain", "--prompt-file", str(prompt), "--model", "demo", "--json", *wish
    )
    candidates = {one["device"]: one for one in json.loads(as_json.stdout)["candidates"]}
    assert candidates["CPU"]["latency_from"] == "measured"
    shown = httpx.get(f"{two.url}/backends", timeout=30, trust_env=False).json()
    figures = {one["id"]: one["characteristics"] for one in shown}
    assert figures["NPU"]["measured"] is None
    assert figures["CPU"]["measured"][0]["tpot_count"] >= 9
    assert figures["CPU"]["assumed"]["avg_latency_ms"] == 1200
