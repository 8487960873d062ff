"""The status page shows what the engine knows, without JavaScript, and nothing that a client wrote runs in it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, RunningServer, get
from django.test import RequestFactory

from compat_api.urls import dialect_of, resolve
from inference.route_facts import Route
from inference.states import BreakerState, DeviceState, LoadedModel, RequestRecord
from inference.telemetry.readings import DeviceReadings, Flag, Reading, Readings
from inference.types import ModelSpec
from npuproxy import urls
from npuproxy.page import rows, words
from npuproxy.page.history import drawn
from registry.model_info import elsewhere
from registry.use import Life


class Text(HTMLParser):
    """The words of a page, and the addresses it loads from."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def ask(server: RunningServer, body: dict[str, object], request_id: str) -> None:
    request = urllib.request.Request(
        f"{server.url}/api/chat", json.dumps({"stream": False, **body}).encode(), {"X-Request-ID": request_id}
    )
    try:
        urllib.request.urlopen(request, timeout=60).read()
    except urllib.error.HTTPError as error:
        error.read()
        error.close()


def test_it_shows_devices_models_and_the_requests_as_they_come(server: RunningServer) -> None:
    hello = [{"role": "user", "content": "A prompt that must not be shown"}]
    ask(server, {"model": "demo", "messages": hello}, "page-1")
    ask(server, {"model": "<script>alert(1)</script>", "messages": hello}, "page-2")
    page = Text(get(f"{server.url}/status").decode())
    for word in (
        "CPU",
        "demo:latest",
        "all-minilm:latest",
        "Memory",
        "page-1",
        "NPU → CPU",
        "device unavailable",
    ):
        assert word in page.text, word
    assert "<script>alert(1)</script>" in page.text
    assert page.tags.count("script") == 1
    assert "must not be shown" not in page.text


def test_it_loads_nothing_from_elsewhere_and_all_it_loads_is_there(server: RunningServer) -> None:
    for address in Text(get(f"{server.url}/status").decode()).loaded:
        assert address.startswith(("/", "#")), address
        if not address.startswith(("/admin/", "#")):
            assert get(server.url + address)
    assert get(f"{server.url}/static/admin/css/base.css")
    scripts = {path.name for path in (ROOT / "static/page").iterdir()}
    for name in scripts:
        imported = re.findall(r'from "\./([a-z-]+\.js)"', get(f"{server.url}/static/page/{name}").decode())
        assert set(imported) <= scripts


def answered(server: RunningServer, **headers: str) -> tuple[str, str]:
    """Content type and text of what is at `/` for who sends these headers."""
    request = urllib.request.Request(f"{server.url}/", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_a_browser_gets_the_page_and_others_get_what_they_came_for(server: RunningServer) -> None:
    kind, text = answered(server, Accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert kind.startswith("text/html")
    assert "demo:latest" in Text(text).text
    kind, text = answered(server, Accept="application/json")
    contents = json.loads(text)
    assert kind == "application/json"
    assert (contents["name"], set(contents)) == ("npuproxy", {"name", "version", "endpoints"})
    assert "/api/chat" in {endpoint["path"] for endpoint in contents["endpoints"]}
    for others in ({}, {"Accept": "*/*"}, {"Accept": "application/json, text/plain, */*"}):
        assert answered(server, **others) == ("text/plain; charset=utf-8", "Ollama is running")
    for accept, wanted in (
        ("application/json,application/json,", "application/json"),
        ("text/html;q=0.1, application/json", "application/json"),
        ("application/json;q=0", "text/plain; charset=utf-8"),
        ("*/*, text/html;q=0", "text/plain; charset=utf-8"),
        ("text/html;q=0.5, */*;q=0.1", "text/html; charset=utf-8"),
    ):
        assert (accept, answered(server, Accept=accept)[0]) == (accept, wanted)


def test_it_forbids_scripts_and_frames_of_others(server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}/status", timeout=10) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "*" not in policy
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} < set(policy.split("; "))
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/static/../manage.py", "/static/%2e%2e/manage.py", "/static/nothing.css", "/static/"]
)
def test_no_other_file_is_served(server: RunningServer, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(server.url + path)
    assert refused.value.code == 404
    refused.value.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12 ms"), (1.25, "1.2 s"), (75, "1 min 15 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "unknown"),
        (12, "12 B"),
        (2048, "2.0 KB"),
        (150 * 1024**2, "150 MB"),
        (3.5 * 1024**3, "3.5 GB"),
        (2**41, "2.0 TB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert words.size(count) == text


def held(**changes: object) -> LoadedModel:
    values: dict[str, object] = {
        "name": "m:latest",
        "digest": "d",
        "device": "NPU",
        "executed": "NPU (emulated)",
        "state": "ready",
        "size_bytes": 10,
        "context_length": 1,
        "expires_at": 1090.0,
        "pid": 1,
        "running": 2,
        "load_s": 1.0,
        **changes,
    }
    return LoadedModel(**values)  # type: ignore[arg-type]


def test_a_worker_says_where_it_really_runs_and_how_long_it_stays() -> None:
    row = rows.worker(held(running=0))
    assert (row["place"], row["expires"], row["stays"]) == ("NPU (emulated)", 1090.0, "")
    row = rows.worker(held())
    assert (row["expires"], row["stays"]) == (None, "2 running"), "its time begins when they have ended"
    assert rows.worker(held(expires_at=None, running=0))["stays"] == "stays"
    assert rows.worker(held(pinned=True, expires_at=None, running=0))["stays"] == "pinned"
    row = rows.worker(held(state="loading", executed=""))
    assert (row["place"], row["state"], row["until"]) == ("loading on NPU", "warn", "")
    assert rows.worker(held(executed=""))["place"] == "unknown"


def test_a_request_row_invents_no_figure() -> None:
    failed = rows.request(
        RequestRecord(
            id="r", time=0.0, operation="chat", model="", status=404, total_s=0.01, error="not found"
        )
    )
    shown = ("colour", "model", "route", "tokens", "ttft", "rate")
    assert [failed[name] for name in shown] == ["bad", "–", "–", "–", "–", "–"]
    route = Route(requested="NPU", routed="CPU", executed="CPU", reason="device_unavailable")
    row = rows.request(
        RequestRecord(
            id="r", time=0.0, operation="chat", model="m", status=200, route=route, priority=3, key="laptop",
            prompt_tokens=5, completion_tokens=11, ttft_s=0.5, decode_s=1.0, total_s=1.5,
        )
    )  # fmt: skip
    shown = ("route", "reason", "tokens", "rate", "priority", "caller")
    assert [row[name] for name in shown] == [
        *("NPU → CPU", "device unavailable", "5 → 11", "10", "critical", "laptop"),
    ]


@pytest.mark.parametrize(
    ("joules", "source", "shown"),
    [
        (None, "unknown", "–"),
        (5.0, "measured", "0.50"),
        (25.0, "estimated", "~2.5"),
        (0.0, "measured", "0.00"),
    ],
)
def test_energy_says_when_it_was_not_measured(joules: float | None, source: str, shown: str) -> None:
    record = RequestRecord(
        id="r", time=0.0, operation="chat", model="m", status=200, completion_tokens=10,
        energy_j=joules, energy_source=source,
    )  # fmt: skip
    assert rows.request(record)["energy"] == shown


@pytest.mark.parametrize(
    ("state", "restarted_at", "loading", "shown", "says"),
    [
        ("closed", None, False, "died", "the next request restarts it"),
        ("closed", None, True, "restarting", "died at"),
        ("closed", 90.0, False, "restarted", "another was ready at"),
        ("open", None, False, "breaker open", "next try at"),
        ("half_open", 90.0, False, "breaker half open", "the next request is the try"),
    ],
)
def test_a_model_shows_what_became_of_a_worker_that_died(
    state: Any, restarted_at: float | None, loading: bool, shown: str, says: str
) -> None:
    found = BreakerState(
        name="m", load_key="k", device="NPU", state=state, retry_after_s=1.0, crashes=1, crashed_at=80.0,
        restarted_at=restarted_at,
    )  # fmt: skip
    row = rows.crash(found, loading)
    assert (row["state"], says in row["words"]) == (f"{shown} on NPU", True)


def test_a_device_shows_how_many_workers_died_there() -> None:
    spec = ModelSpec(name="m:latest", digest="d", path=Path(), kind="chat")
    breakers = [
        BreakerState(name="m", load_key="k", device=device, state="closed", retry_after_s=0, crashes=2, crashed_at=80)
        for device in ("NPU", "CPU")
    ]  # fmt: skip
    state = DeviceState(id="CPU", full_name="", available=True, slots=1, running=0, waiting=0)
    assert rows.device(state, None, (), breakers)["deaths"] == f"2, at {words.clock(80)}"
    assert rows.device(state, None, (), breakers[:1])["deaths"] == ""
    info = elsewhere(spec, "box", "m", datetime.now(UTC))
    row = rows.model(info, [], Life(), breakers)
    assert [crash["key"] for crash in row["crashes"]] == ["NPU", "CPU"]
    assert (row["idle"], row["load"], row["unload"]) == ("on box", "", ""), "another server loads what it has"


def test_another_server_shows_its_health_and_its_breaker() -> None:
    away = DeviceState(
        id="box", full_name="Box", available=True, slots=4, running=0, waiting=0, local=False, protocol="ollama",
        healthy=False, fault="connection refused", breaker="half_open", models=("a", "b"),
    )  # fmt: skip
    row = rows.device(away, None, ())
    assert (row["protocol"], row["tags"], row["fault"], row["offers"]) == (
        "ollama",
        ["breaker half open"],
        "connection refused",
        "2 models",
    )
    local = DeviceState(id="CPU", full_name="", available=True, slots=1, running=0, waiting=0)
    assert [rows.device(local, None, ())[name] for name in ("fault", "offers")] == ["", ""]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        (("NPU", "NPU", "NPU"), "NPU"),
        (("NPU", "CPU", "CPU"), "NPU → CPU"),
        (("NPU", "NPU", "NPU (emulated)"), "NPU → NPU (emulated)"),
        (("AUTO", "GPU", "GPU.0"), "AUTO → GPU → GPU.0"),
        (("CPU", "CPU", ""), "CPU"),
    ],
)
def test_a_route_says_each_step_once(steps: tuple[str, str, str], shown: str) -> None:
    requested, routed, executed = steps
    route = Route(requested=requested, routed=routed, executed=executed, reason="preferred")
    assert rows.route_words(route) == shown


@pytest.mark.parametrize(
    ("path", "kind"), [("/api/tags", "application/json; charset=utf-8"), ("/v1/models", "application/json")]
)
def test_a_fault_behind_an_operation_is_told_in_its_dialect(path: str, kind: str) -> None:
    request = RequestFactory().get(path)
    request.scope = {  # type: ignore[attr-defined]
        "npuproxy.resolved": resolve("GET", path),
        "npuproxy.dialect": dialect_of(path, []),
        "npuproxy.request_id": "req_1",
    }
    answer = urls.server_error(request)
    assert (answer.status_code, answer["content-type"]) == (500, kind)
    assert b"internal server error" in answer.content


def test_a_fault_of_a_page_is_a_page() -> None:
    answer = urls.server_error(RequestFactory().get("/status"))
    assert answer.status_code == 500
    assert b"X-Request-ID" in answer.content


def test_a_device_shows_what_is_measured_and_nothing_else() -> None:
    state = DeviceState(id="GPU.0", full_name="", available=True, slots=1, running=0, waiting=0)
    row = rows.device(state, None, ())
    assert [row[name] for name in ("temperature", "power", "load", "tags")] == ["", "", "", []]
    found = DeviceReadings(
        id="GPU.0", kind="igpu", temperature=Reading(71.4, "°C", "hwmon", 1.0), power=Reading(12.34, "W", "hwmon", 1.0),
        throttling=Flag(True, "driver", 1.0, ("vr_tdc", "thermal")),
    )  # fmt: skip
    row = rows.device(state, found, ())
    assert (row["temperature"], row["power"], row["load"]) == ("71 °C", "12.3 W", "")
    assert row["tags"] == ["slowed by vr tdc and thermal"]
    assert rows.machine(Readings()) == ""
    on = Readings(on_battery=Flag(True, "s", 1.0), battery=Reading(19.6, "%", "s", 1.0))
    assert rows.machine(on) == "on battery · battery 20 %"


def test_power_is_counted_once_for_all_that_share_it() -> None:
    def drawing(name: str, watts: float | None, *, shares: bool) -> DeviceReadings:
        kind = "cpu" if name == "CPU" else "igpu"
        return DeviceReadings(id=name, kind=kind, power=Reading(watts, "W", "s", 1.0), on_package=shares)  # type: ignore[arg-type]

    package = (drawing("CPU", 20.0, shares=True), drawing("NPU", 20.0, shares=True))
    assert drawn(Readings(devices=package)) == 20.0
    assert drawn(Readings(devices=(*package, drawing("NVIDIA", 30.5, shares=False)))) == 50.5
    assert drawn(Readings(devices=(drawing("CPU", None, shares=True),))) is None
