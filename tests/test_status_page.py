"""The status page shows what the engine knows, without JavaScript, and nothing that a client wrote runs in it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from html.parser import HTMLParser

import pytest
from conftest import RunningServer, get
from django.test import RequestFactory

from compat_api.urls import dialect_of, resolve
from inference.route_facts import Route
from inference.states import DeviceState, LoadedModel, RequestRecord, Snapshot
from inference.telemetry.readings import DeviceReadings, Flag, Reading, Readings
from npuproxy import status, urls


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
        assert address.startswith("/"), address
        if address != "/admin/":
            assert get(server.url + address)
    for address in ("/static/admin/css/base.css", "/static/status.js"):
        assert get(server.url + address)


def test_the_live_part_is_the_same_picture_and_no_whole_page(server: RunningServer) -> None:
    live = get(f"{server.url}/status/live").decode()
    assert "demo:latest" in live
    assert "<html" not in live


def test_it_forbids_scripts_and_frames_of_others(server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}/status", timeout=10) as answer:
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
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
    assert status.duration(seconds) == text


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
    assert status.size(count) == text


def snapshot(*models: LoadedModel) -> Snapshot:
    device = DeviceState(id="CPU", full_name="", available=True, slots=1, running=0, waiting=0)
    return Snapshot(
        time=1000.0,
        uptime_s=1,
        devices=(device,),
        models=models,
        memory_budget_bytes=100,
        memory_used_bytes=40,
    )


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
    row = status._worker(held(), 1000.0)
    assert (row.executed, row.leaves, row.running) == ("NPU (emulated)", "leaves in 1 min 30 s", 2)
    assert status._worker(held(expires_at=None), 1000.0).leaves == "stays"
    assert status._worker(held(state="loading", executed=""), 1000.0).executed == "unknown"
    assert status.memory(snapshot()) == {"used": "40 B", "budget": "100 B", "percent": 40}


def test_a_request_row_invents_no_figure() -> None:
    failed = status.request_row(
        RequestRecord(
            id="r", time=0.0, operation="chat", model="", status=404, total_s=0.01, error="not found"
        )
    )
    assert (failed.failed, failed.route, failed.tokens, failed.ttft, failed.rate) == (
        True,
        "–",
        "–",
        "–",
        "–",
    )
    route = Route(requested="NPU", routed="CPU", executed="CPU", reason="device_unavailable")
    row = status.request_row(
        RequestRecord(
            id="r", time=0.0, operation="chat", model="m", status=200, route=route,
            prompt_tokens=5, completion_tokens=11, ttft_s=0.5, total_s=1.5,
        )
    )  # fmt: skip
    assert (row.route, row.reason, row.tokens, row.rate) == (
        "NPU → CPU",
        "device unavailable",
        "5 → 11",
        "10",
    )


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
    assert status.device_card(state, None) == status.DeviceCard(
        state=state, temperature="", power="", load="", warnings=()
    )
    found = DeviceReadings(
        id="GPU.0", kind="igpu", temperature=Reading(71.4, "°C", "hwmon", 1.0), power=Reading(12.34, "W", "hwmon", 1.0),
        throttling=Flag(True, "driver", 1.0, ("vr_tdc", "thermal")),
    )  # fmt: skip
    card = status.device_card(state, found)
    assert (card.temperature, card.power, card.load) == ("71 °C", "12.3 W", "")
    assert card.warnings == ("slowed by vr tdc and thermal",)
    assert status.power(Readings()) == ()
    on = Readings(on_battery=Flag(True, "s", 1.0), battery=Reading(19.6, "%", "s", 1.0))
    assert status.power(on) == (("runs on", "battery"), ("battery", "20 %"))
