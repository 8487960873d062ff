"""GET /metrics: real traffic of every kind moves every metric, and what is counted is what was answered."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from socket import create_connection
from typing import Any, NamedTuple

import httpx
import hub_repositories as repositories
import psutil
import pytest
import wire_clients
from conftest import RunningServer, start_server
from hub_process import Hub
from machines import Machine, laptop
from pull_streams import pull
from scrapes import OPEN_METRICS, Scrape, families, open_families
from server_rows import eventually
from socket_client import ask, dial
from workers import worker_of

from compat_api.urls import OPERATIONS
from inference import metrics
from inference.gauges import Gauges

PACKAGE = "/sys/class/powercap/intel-rapl:0/energy_uj"
QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
HOT = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": 6, "num_predict": 3000}
"""A long answer."""
CONSTANT = {"build_info", "device_available", "device_slots", "memory_budget_bytes"}
"""What does not move while a server runs."""


class Watched(NamedTuple):
    server: RunningServer
    before: Scrape
    after: Scrape
    answers: dict[str, Any]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return laptop(tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="module")
def watched(machine: Machine, hub_of_all: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A laptop's server, scraped before and after traffic of every kind."""
    server = start_server(
        tmp_path_factory.mktemp("metrics"),
        HF_ENDPOINT=hub_of_all.url,
        NPU_PROXY_SYSFS_ROOT=str(machine.root),
        NPU_PROXY_NPU_EMULATION="1",
        NPU_PROXY_DEVICE="CPU",
    )
    try:
        server.wait_until_ready()
        eventually(lambda: httpx.get(f"{server.url}/readyz", timeout=30).is_success)
        before = Scrape(server)
        with at_work(machine, throttled=False):
            answers = {**generations(server), **embeddings(server)}
        refusals(server)
        crashes(server)
        pulls(server, hub_of_all)
        with dial(server) as socket, ExitStack() as left, at_work(machine, throttled=True):
            answers["ws"] = ask(socket)
            changes(server, machine)
            eventually(lambda: Scrape(server).value("pull_bytes_total"))
            after = eventually(partial(busy, server, left))
            yield Watched(server, before, after, answers)
    finally:
        server.stop()


TURNS = itertools.count(1)
"""Counters of a machine only grow."""


@contextmanager
def at_work(machine: Machine, throttled: bool) -> Iterator[None]:
    """A joule each twentieth of a second; busy, and throttled ever more often, which sends requests elsewhere."""
    over = threading.Event()

    def work() -> None:
        for turn in itertools.takewhile(lambda _: not over.wait(0.05), TURNS):
            machine.set(PACKAGE, 1_000_000 * turn)
            if not throttled:
                continue
            machine.set("/proc/stat", f"cpu  {100 + 900 * turn} 0 50 {850 + 100 * turn} 0 0 0 0 0 0")
            machine.set("/sys/devices/system/cpu/cpu2/thermal_throttle/core_throttle_count", 9 + turn)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def generations(server: RunningServer) -> dict[str, Any]:
    """One of each dialect, two of them streams, one on the emulated NPU."""
    native, v1, claude = (
        wire_clients.native(server.url),
        wire_clients.v1(server.url),
        wire_clients.claude(server.url),
    )
    messages: Any = QUESTION
    wish = {"X-NPU-Proxy-Device": "NPU"}
    return {
        "chat": native.chat("demo", QUESTION, think=False),
        "DEMO": list(native.chat("DEMO:latest", QUESTION, think=False, stream=True))[-1],
        "generate": native.generate("demo", "hi", think=False),
        "openai": v1.chat.completions.create(model="demo", messages=messages, reasoning_effort="none"),
        "completions": v1.completions.create(model="demo", prompt=["a", "b"], n=2, max_tokens=4),
        "responses": v1.responses.create(model="demo", input="hi"),
        "anthropic": claude.messages.create(model="demo", messages=messages, max_tokens=50),
        "npu": v1.chat.completions.create(model="demo", messages=messages, extra_headers=wish),
    }


def embeddings(server: RunningServer) -> dict[str, Any]:
    native = wire_clients.native(server.url)
    return {"embed": [native.embed("all-minilm", ["one", "two", "three", "four", "five"]) for _ in range(2)]}


def refusals(server: RunningServer) -> None:
    for index in range(30):
        body = {"model": f"no-such-{index}", "messages": QUESTION}
        assert httpx.post(f"{server.url}/api/chat", json=body, timeout=30).status_code == 404
    bad = {"model": "demo", "messages": QUESTION, "options": {"temperature": "hot"}}
    assert httpx.post(f"{server.url}/api/chat", json=bad, timeout=30).status_code == 400
    assert httpx.get(f"{server.url}/no/such/path", timeout=30).status_code == 404
    assert httpx.put(f"{server.url}/api/chat", timeout=30).status_code == 405
    wish = {"X-NPU-Proxy-Device": "GPU"}  # there is none: another one answers
    last: dict[str, Any] = {"model": "demo", "messages": QUESTION, "stream": False}
    httpx.post(f"{server.url}/api/chat", json=last, headers=wish, timeout=60)


def crashes(server: RunningServer) -> None:
    """Three of them: the breaker opens."""
    httpx.post(f"{server.url}/api/generate", json={"model": "demo", "keep_alive": 0}, timeout=60)
    for _ in range(3):
        wish = {"X-NPU-Proxy-Device": "CPU"}
        httpx.post(f"{server.url}/api/generate", json={"model": "demo"}, headers=wish, timeout=60)
        assert loaded(server, "demo:latest", "CPU")
        worker = worker_of(server)
        worker.send_signal(signal.SIGKILL)
        psutil.wait_procs([worker], timeout=30)
        eventually(lambda: not loaded(server, "demo:latest", "CPU"))


def loaded(server: RunningServer, name: str, device: str) -> bool:
    models = httpx.get(f"{server.url}/health", timeout=30).json()["pool"]["models"]
    return any((model["name"], model["device"]) == (name, device) for model in models)


def pulls(server: RunningServer, hub: Hub) -> None:
    repositories.chat(hub.root, "metrics/chat")
    assert pull(server, "metrics/chat")[-1] == {"status": "success"}


def changes(server: RunningServer, machine: Machine) -> None:
    """The laptop draws power, gets warm and loses its charger."""
    machine.set("/sys/class/power_supply/AC/online", 0)
    machine.set("/sys/class/power_supply/BAT0/energy_now", 5_700_000)
    machine.set("/sys/class/hwmon/hwmon10/temp1_input", 63_000)
    machine.set("/sys/class/hwmon/hwmon2/fan1_input", 3000)
    for _ in range(200):
        httpx.get(f"{server.url}/thermal", timeout=30)  # whoever asks is watching: samples come quicker
        now = Scrape(server)
        warm = now.value("temperature_celsius", device="CPU") == 63
        if warm and all(
            now.value(name, device="CPU") for name in ("power_watts", "throttling", "utilisation_ratio")
        ):
            return
        time.sleep(0.2)
    raise AssertionError("the machine's changes were not seen")


def busy(server: RunningServer, left: ExitStack) -> Scrape | None:
    """While one answer runs on the device of one slot and another one waits; one more is asked for if not."""
    now = Scrape(server)
    if now.value("queue_depth", device="NPU") and now.value("running_requests", device="NPU"):
        return now
    wish: dict[str, Any] = {"model": "demo", "messages": QUESTION, "options": HOT}
    body = json.dumps(wish).encode()
    head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    client = left.enter_context(create_connection(("127.0.0.1", server.port), timeout=60))
    client.sendall(f"{head}X-NPU-Proxy-Device: NPU\r\n\r\n".encode() + body)
    return None


# --- tests ------------------------------------------------------------------------------------------------------


def declared() -> list[str]:
    found = [*metrics.REGISTRY.collect(), *Gauges(lambda: None, "").describe()]
    return sorted({family.name for family in found})


@pytest.mark.parametrize("name", declared())
def test_every_metric_has_moved(watched: Watched, name: str) -> None:
    assert name in watched.after.families, "it is not there at all"
    if name.removeprefix("npu_proxy_") in CONSTANT:
        assert watched.after.families[name].samples
    else:
        assert watched.after.moved(name, watched.before)


def test_nothing_of_ours_is_there_that_is_not_declared(watched: Watched) -> None:
    ours = {name for name in watched.after.families if name.startswith("npu_proxy_")}
    assert ours == set(declared())


def test_requests_count_by_endpoint_and_status(watched: Watched) -> None:
    def grown(endpoint: str, status: str) -> float:
        labels = {"endpoint": endpoint, "status": status}
        return watched.after.value("requests_total", **labels) - watched.before.value(
            "requests_total", **labels
        )

    assert grown("/api/chat", "404") == 30
    assert grown("/api/chat", "400") == 1
    assert grown("/api/chat", "405") == 1
    assert grown("/api/chat", "200") == 3
    assert grown("/v1/chat/completions", "200") == 2
    assert grown("/v1/messages", "200") == 1
    assert grown("/api/embed", "200") == 2
    assert grown("other", "404") == 1
    assert grown("/v1/stream/ws", "200") == 1


def test_models_count_by_their_names_in_the_registry_alone(watched: Watched) -> None:
    """Thirty names that nobody has and another spelling of one make no series."""
    labels = {dict(labels)["model"] for _, labels in watched.after.values if "model" in dict(labels)}
    assert labels == {"demo:latest", "all-minilm:latest"}


def test_tokens_are_those_that_the_answers_tell_of(watched: Watched) -> None:
    made = watched.after.value("tokens_generated_total", model="demo:latest")
    told = watched.answers
    native = sum(told[name]["eval_count"] for name in ("chat", "DEMO", "generate"))
    v1 = sum(told[name].usage.completion_tokens for name in ("openai", "completions", "npu"))
    known = native + v1 + told["responses"].usage.output_tokens + told["anthropic"].usage.output_tokens
    assert made >= known + told["ws"][-1]["token_count"]
    gaps = watched.after.value("inter_token_latency_seconds_count", model="demo:latest")
    assert 0 < gaps < made


def test_a_model_of_vectors_has_no_rate_of_tokens(watched: Watched) -> None:
    series = [dict(labels) for name, labels in watched.after.values if name == "npu_proxy_tokens_per_second"]
    assert [labels["model"] for labels in series] == ["demo:latest"]


def test_cached_vectors_count_as_hits(watched: Watched) -> None:
    """Five texts twice, on whichever device that was."""

    def of_all(name: str) -> float:
        return sum(
            value for (known, _), value in watched.after.values.items() if known == f"npu_proxy_{name}"
        )

    assert (of_all("embedding_cache_hits_total"), of_all("embedding_cache_misses_total")) == (5, 5)


def test_three_crashes_are_three_restarts_and_an_open_breaker(watched: Watched) -> None:
    where = {"model": "demo:latest", "device": "CPU"}
    assert watched.after.value("worker_restarts_total", **where) == 3
    assert watched.after.value("breaker_state", **where) in (1, 2)


def test_the_emulated_npu_is_named_so(watched: Watched) -> None:
    where = {"model": "demo:latest", "device": "NPU (emulated)"}
    assert watched.after.value("executions_total", **where) >= 1
    assert watched.after.value("inference_duration_seconds_count", **where) >= 1


def test_the_exposition_is_what_prometheus_and_openmetrics_want(watched: Watched) -> None:
    plain, open_ = families(watched.server), open_families(watched.server)
    names = [family.name for family in plain]
    assert len(names) == len(set(names))
    assert {family.name for family in open_ if family.name.startswith("npu_proxy_")} == set(declared())
    for family in plain:
        if not family.name.startswith("npu_proxy_"):
            continue
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name
        seconds = "_duration" in family.name or "_latency" in family.name or "_time" in family.name
        assert family.name.endswith("_seconds") or not (seconds or family.type == "histogram"), family.name
        assert not family.name.endswith(("_ms", "_percent", "_mb", "_count")), family.name
    assert any(name.startswith("django_http_") for name in names)
    assert "process_resident_memory_bytes" in names


def test_the_exposition_may_come_packed(server: RunningServer) -> None:
    packed = httpx.get(f"{server.url}/metrics", headers={"Accept-Encoding": "gzip"}, timeout=30)
    assert packed.headers["content-encoding"] == "gzip"
    assert "npu_proxy_build_info{" in packed.text
    plain = httpx.get(f"{server.url}/metrics", headers={"Accept-Encoding": "identity"}, timeout=30)
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert (
        "openmetrics"
        in httpx.get(f"{server.url}/metrics", headers={"Accept": OPEN_METRICS}, timeout=30).headers[
            "content-type"
        ]
    )


def test_endpoints_are_those_of_the_table(watched: Watched) -> None:
    endpoints = {dict(labels)["endpoint"] for _, labels in watched.after.values if "endpoint" in dict(labels)}
    assert endpoints <= {operation.path for operation in OPERATIONS} | {metrics.OTHER}


def test_a_long_answer_counts_while_it_runs(server: RunningServer) -> None:
    body = {"model": "demo", "messages": QUESTION, "think": False, "options": HOT}
    before = Scrape(server).value("tokens_generated_total", model="demo:latest")
    with httpx.stream("POST", f"{server.url}/api/chat", json=body, timeout=60) as stream:
        lines = stream.iter_lines()
        for _ in range(20):
            next(lines)
        during = Scrape(server).value("tokens_generated_total", model="demo:latest")
        assert during >= before + 19
    eventually(lambda: "status=499" in server.log())
    assert Scrape(server).value("tokens_generated_total", model="demo:latest") >= during


def test_beyond_the_most_models_all_others_are_one() -> None:
    names = [f"bounded-{index}" for index in range(metrics.MOST_MODELS + 50)]
    for name in names:
        metrics.loaded(name, "CPU", 1.0)
        metrics.started(name, ())
    labels = {metrics.label_of(name) for name in names}
    assert len(labels) <= metrics.MOST_MODELS + 1
    assert metrics.label_of(names[-1]) == metrics.OTHER


def test_a_method_that_nobody_knows_becomes_no_label(server: RunningServer) -> None:
    httpx.request("BREW", f"{server.url}/status", timeout=30)
    httpx.request("BREW", f"{server.url}/admin/", timeout=30)
    assert "BREW" not in httpx.get(f"{server.url}/metrics", timeout=30).text
