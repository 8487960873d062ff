"""/health, /healthz, /readyz and their like, of the real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import engines
import httpx
import pytest
from conftest import RunningServer, Serve
from server_rows import eventually, rows

from compat_api import readiness
from compat_api.readiness import WarmUp
from inference import device_watch
from inference.states import BreakerState, DeviceState, Snapshot

PATHS = ("/healthz", "/health/liveness", "/readyz", "/health/readiness", "/health", "/health/devices")


def answer(server: RunningServer, path: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, f"{server.url}{path}", timeout=30)


def shown(server: RunningServer, path: str = "/health") -> dict[str, Any]:
    found: dict[str, Any] = answer(server, path).json()
    return found


def ready(server: RunningServer) -> bool:
    return answer(server, "/readyz").status_code == 200


def snapshot(**changes: Any) -> Snapshot:
    fields = {
        "time": 0.0,
        "uptime_s": 1.0,
        "devices": (),
        "models": (),
        "memory_budget_bytes": 0,
        "memory_used_bytes": 0,
    }
    return Snapshot(**{**fields, **changes})


def test_a_server_is_ready_once_its_devices_are_known(server: RunningServer) -> None:
    eventually(lambda: ready(server))
    found = shown(server, "/health/readiness")
    assert found == {"status": "ok", "ready": True, "reasons": [], "warnings": []}


def test_liveness_is_a_word(server: RunningServer) -> None:
    for path in ("/healthz", "/health/liveness"):
        found = answer(server, path)
        assert (found.status_code, found.text, found.headers["content-type"]) == (200, "ok", "text/plain")


@pytest.mark.parametrize("path", [*PATHS, "/metrics"])
def test_head_has_the_headers_of_get_and_no_body(server: RunningServer, path: str) -> None:
    eventually(lambda: ready(server))
    found = answer(server, path, "HEAD")
    assert (found.status_code, found.content) == (200, b"")
    assert found.headers["cache-control"] == "no-store"
    assert found.headers["content-type"] == answer(server, path).headers["content-type"]


@pytest.mark.parametrize("path", [*PATHS, "/metrics"])
def test_another_method_is_a_405(server: RunningServer, path: str) -> None:
    found = answer(server, path, "POST")
    assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD")


def test_health_has_what_the_page_of_the_api_names(server: RunningServer) -> None:
    eventually(lambda: ready(server))
    found = shown(server)
    assert (found["status"], found["ready"], found["npu"]) == ("ok", True, "absent")
    assert found["version"] == answer(server, "/healthz").headers["x-npu-proxy-version"]
    assert found["uptime_s"] > 0
    assert found["runtime"]["state"] == "running"
    assert found["runtime"]["openvino"]
    assert [device["id"] for device in found["devices"]] == ["CPU"]
    assert found["devices"][0]["class"] == "cpu"
    memory = found["memory"]
    assert 0 < memory["server_bytes"] < memory["machine_bytes"]
    assert 0 < memory["budget_bytes"] < memory["machine_bytes"]


def test_health_shows_a_model_that_was_loaded_and_loads_none_itself(server: RunningServer) -> None:
    httpx.post(f"{server.url}/api/generate", json={"model": "all-minilm", "keep_alive": 0}, timeout=60)
    eventually(lambda: not named(server, "all-minilm:latest"))
    for path in (*PATHS, "/metrics"):
        answer(server, path)
    assert not named(server, "all-minilm:latest")
    embed = {"model": "all-minilm", "input": "hello"}
    assert httpx.post(f"{server.url}/api/embed", json=embed, timeout=60).status_code == 200
    found = named(server, "all-minilm:latest")
    assert found is not None
    assert (found["device"], found["state"]) == ("CPU", "ready")
    [device] = shown(server, "/health/devices")["devices"]
    assert "all-minilm:latest" in [model["name"] for model in device["models"]]


def named(server: RunningServer, model: str) -> dict[str, Any] | None:
    models: list[dict[str, Any]] = shown(server)["pool"]["models"]
    return next((one for one in models if one["name"] == model), None)


def test_no_answer_tells_a_path_of_this_machine(server: RunningServer) -> None:
    for path in (*PATHS, "/metrics"):
        text = answer(server, path).text
        assert str(server.data_dir) not in text, path
        assert str(server.data_dir.parent) not in text, path
        assert ".xml" not in text, path


def test_probes_are_no_news_in_the_log(server: RunningServer) -> None:
    for path in PATHS:
        answer(server, path)
    httpx.get(f"{server.url}/api/version", timeout=30)
    eventually(lambda: "/api/version -> version" in server.log())
    assert not any(f"{path} ->" in server.log() for path in PATHS)


def test_a_server_that_warms_up_is_not_ready_before(serve: Serve) -> None:
    """The second model does not exist: it keeps nobody waiting, but is told."""
    server = serve(NPU_PROXY_WARMUP="demo,nope")
    first = answer(server, "/readyz")
    codes = {reason["code"] for reason in first.json()["reasons"]}
    assert (first.status_code, "warming_up" in codes) == (503, True), first.text
    assert int(first.headers["retry-after"]) >= 1
    assert all(reason["remedy"] for reason in first.json()["reasons"])
    assert shown(server)["status"] in ("unavailable", "degraded")
    eventually(lambda: ready(server))
    found = shown(server)
    assert (found["status"], found["ready"]) == ("degraded", True)
    [warning] = found["warnings"]
    assert warning["code"] == "warm_up_failed"
    assert warning["message"].endswith(": nope")
    assert named(server, "demo:latest") is not None


def test_a_server_that_stops_or_cannot_start_its_runtime_is_not_ready() -> None:
    def codes(**changes: Any) -> list[str]:
        return [finding.code for finding in readiness.reasons(snapshot(**changes), ())]

    assert codes() == []
    assert codes(draining=True) == ["draining"]
    assert codes(runtime="starting") == ["devices_unknown"]
    assert codes(runtime="failed", draining=True) == ["draining", "runtime_failed"]


def test_a_server_without_a_runtime_is_ready_for_the_models_of_other_servers() -> None:
    def box(available: bool) -> DeviceState:
        return DeviceState(
            id="box", full_name="", available=available, slots=1, running=0, waiting=0, local=False
        )

    away, there = (snapshot(runtime="failed", devices=(box(available),)) for available in (False, True))
    assert [finding.code for finding in readiness.reasons(away, ())] == ["runtime_failed"]
    assert readiness.reasons(there, ()) == ()
    assert [finding.code for finding in readiness.warnings(there, (), False)] == ["runtime_failed"]


def test_what_does_not_work_while_requests_are_answered_is_a_warning() -> None:
    def breaker(state: Any) -> BreakerState:
        return BreakerState(name="demo", load_key="k", device="CPU", state=state, retry_after_s=1.0)

    def codes(away: bool = False, failed: tuple[str, ...] = (), **changes: Any) -> list[str]:
        return [finding.code for finding in readiness.warnings(snapshot(**changes), failed, away)]

    assert codes() == []
    assert codes(away=True, failed=("demo",)) == ["database_away", "warm_up_failed"]
    assert codes(breakers=(breaker("open"),)) == ["breaker_open"]
    assert codes(breakers=(breaker("closed"), breaker("half_open"))) == []


def test_a_warm_up_is_over_when_each_model_has_loaded_or_failed() -> None:
    warm_up = WarmUp()
    warm_up.begin(("demo", "nope"))
    warm_up.end("demo")
    assert warm_up.loading == {"nope"}
    warm_up.end("nope", failed=True)
    assert not warm_up.loading
    assert warm_up.failed == {"nope"}


def test_a_server_whose_database_is_away_says_so_and_goes_on_answering(serve: Serve) -> None:
    server = serve()
    eventually(lambda: ready(server))
    rows(server, "ALTER TABLE registry_change RENAME TO away")
    eventually(lambda: shown(server)["status"] == "degraded")
    found = answer(server, "/readyz")
    assert (found.status_code, [one["code"] for one in found.json()["warnings"]]) == (200, ["database_away"])
    embed = {"model": "all-minilm", "input": "hello"}
    assert httpx.post(f"{server.url}/api/embed", json=embed, timeout=60).status_code == 200
    rows(server, "ALTER TABLE away RENAME TO registry_change")
    eventually(lambda: shown(server)["status"] == "ok")


def test_an_engine_whose_workers_cannot_start_says_so_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to ask for anything: it tries again by itself."""
    monkeypatch.setattr(device_watch, "FIND_AGAIN_S", 0.1)
    logs = tmp_path / "logs"  # a worker's output has no place yet

    async def scenario() -> None:
        async with engines.running_engine(log_dir=logs) as running:
            assert running.snapshot().runtime in ("starting", "failed")
            await engines.until(lambda: running.snapshot().runtime == "failed", 30)
            [reason] = readiness.reasons(running.snapshot(), ())
            assert reason.code == "runtime_failed"
            assert str(tmp_path) not in reason.message + reason.remedy
            logs.mkdir()
            await engines.until(lambda: running.snapshot().runtime == "running", 60)
            assert readiness.reasons(running.snapshot(), ()) == ()
            await running.drain(0)
            assert [reason.code for reason in readiness.reasons(running.snapshot(), ())] == ["draining"]

    engines.run(scenario, 120)
