"""GET /backends of the real server: its devices and other servers in one list, as each is now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from scripted_server import OPENAI_MODELS, Answer, Scripted, scripted
from server_rows import eventually, orm

KEY = "sk-that-no-list-shows"


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with scripted({"/v1/models": OPENAI_MODELS}) as server:
        yield server


def backends(server: RunningServer) -> dict[str, dict[str, Any]]:
    answer = httpx.get(f"{server.url}/backends", timeout=30)
    assert answer.status_code == 200
    assert KEY not in answer.text
    return {entry["id"]: entry for entry in answer.json()}


def test_a_device_says_what_it_is_and_what_it_does(server: RunningServer) -> None:
    cpu = eventually(lambda: backends(server).get("CPU"))
    assert (cpu["type"], cpu["class"], cpu["host"], cpu["fault"]) == ("local", "cpu", None, None)
    assert cpu["healthy"] is True
    assert set(cpu["state"]) == {"running", "waiting", "slots"}
    assert cpu["breaker"] in ("closed", "open", "half_open")
    assert cpu["characteristics"]["assumed"] == {"power_watts": 28, "avg_latency_ms": 1200, "priority": 2}
    assert cpu["memory_bytes"] > 1e9
    assert cpu["readings"] is None or "age_s" in cpu["readings"]["temperature"]


def test_another_server_comes_falls_ill_and_goes(server: RunningServer, upstream: Scripted) -> None:
    """Written by another process: the running server follows."""
    fields = f"name='cellar', protocol='openai', url='{upstream.url}', kind='igpu', watts=40, slots=2"
    orm(server, f"row = Backend({fields}); row.set_key('{KEY}'); row.full_clean(); row.save()")
    try:
        found = eventually(lambda: _well(backends(server).get("cellar")))
        assert (found["type"], found["class"]) == ("openai", "igpu")
        assert found["host"] == upstream.url.removeprefix("http://")
        assert (found["models_offered"], found["fault"], found["breaker"]) == (2, None, "closed")
        assert found["state"] == {"running": 0, "waiting": 0, "slots": 2}
        assert found["characteristics"]["given"] == {"power_watts": 40}
        assert found["characteristics"]["assumed"]["priority"] == 5
        upstream.answers["/v1/models"] = Answer(500)
        orm(server, "row = Backend.objects.get(name='cellar'); row.watts = 41; row.save()")
        ill = eventually(lambda: _ill(backends(server)["cellar"]))
        assert "500" in ill["fault"]
        assert ill["models_offered"] is None
        orm(server, "Backend.objects.filter(name='cellar').update(enabled=False)")
        eventually(lambda: "cellar" not in backends(server))
    finally:
        orm(server, "Backend.objects.all().delete()")
    assert KEY not in server.log()


def _well(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    return entry if entry and entry["healthy"] else None


def _ill(entry: dict[str, Any]) -> dict[str, Any] | None:
    return entry if not entry["healthy"] and "yet" not in entry["fault"] else None
