"""Pulls over a real Redis and on a real PostgreSQL (tests/services.py): the same code, several machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import hub_repositories as repositories
import psycopg
import pytest
import redis
import services
from conftest import ROOT, Serve, environment
from hub_process import Hub
from pull_streams import frames, models, opened, pull, until, until_bytes

WEIGHTS = "openvino_model.bin"


def _started(service: AbstractContextManager[str]) -> Iterator[str]:
    try:
        with service as url:
            yield url
    except services.Unavailable as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    yield from _started(services.redis())


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    yield from _started(services.postgresql())


@pytest.fixture
def database_url(cluster: str, request: pytest.FixtureRequest) -> str:
    """An empty database of the test's own."""
    name = f"t{abs(hash(request.node.name))}"
    with closing(psycopg.connect(cluster, autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{cluster.rpartition('/')[0]}/{name}"


def manage(tmp_path: Path, database_url: str, *arguments: str, **others: str) -> str:
    """What `manage.py` prints on that database."""
    variables = {"NPU_PROXY_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": database_url, **others}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def query(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        return connection.execute(sql.encode()).fetchall()


# --- Redis --------------------------------------------------------------------------------------------------


def test_a_pull_is_woken_through_redis(serve: Serve, hub: Hub, redis_url: str) -> None:
    repositories.chat(hub.root, "redis/chat")
    server = serve(HF_ENDPOINT=hub.url, CELERY_BROKER_URL=redis_url)
    assert pull(server, "redis/chat")[-1] == {"status": "success"}
    assert "redis/chat:latest" in models(server)
    with closing(redis.Redis.from_url(redis_url)) as client:
        used = client.info("commandstats")
    assert used["cmdstat_lpush"]["calls"] >= 1
    assert used["cmdstat_brpop"]["calls"] >= 1
    assert not (server.data_dir / "broker").exists()


def test_a_pull_waits_for_a_broker_that_is_away(serve: Serve, hub: Hub, redis_url: str) -> None:
    repositories.chat(hub.root, "away/chat")
    port = services.free_port()
    server = serve(HF_ENDPOINT=hub.url, CELERY_BROKER_URL=f"redis://127.0.0.1:{port}/0")
    with opened(server, "away/chat") as response:
        until(lambda: "the broker cannot be reached" in server.log(), server.log)
        with services.redis(port):
            assert list(frames(response))[-1] == {"status": "success"}
            server.stop()


def test_a_node_that_only_works_takes_what_the_queue_brings(
    tmp_path: Path, hub: Hub, database_url: str, redis_url: str
) -> None:
    repositories.chat(hub.root, "node/chat")
    variables = {
        "NPU_PROXY_DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": redis_url,
        "HF_ENDPOINT": hub.url,
    }
    manage(tmp_path, database_url, "manage.py", "migrate", "-v0")
    log = tmp_path / "node.log"
    with log.open("wb") as written:
        node = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "npuproxy", "worker", "--pool", "threads"],
            cwd=ROOT,
            env=environment(tmp_path, **variables),
            stdout=written,
            stderr=written,
        )
    try:
        ask = "from npuproxy.celery import app; from registry import pulls; pulls.request('node/chat'); "
        ask += "app.send_task('registry.pull')"
        manage(tmp_path, database_url, "manage.py", "shell", "-v0", "-c", ask, CELERY_BROKER_URL=redis_url)
        ended = "SELECT state FROM registry_download WHERE state NOT IN ('queued', 'running')"
        assert until(lambda: query(database_url, ended), lambda: log.read_text("utf-8")) == [("done",)]
    finally:
        node.terminate()
        node.wait(30)


# --- PostgreSQL ---------------------------------------------------------------------------------------------

CLAIM_AT_ONCE = """
import json, threading, uuid
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "npuproxy.settings"
import django; django.setup()
from django.core.management import call_command
from django.db import connection
from registry import pulls
from registry.models import Download

call_command("migrate", verbosity=0)

def at_once(count, work):
    gate, found = threading.Barrier(count), []
    def run(number):
        gate.wait()
        try:
            found.append(work(number))
        finally:
            connection.close()
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return found

asked = [sorted(at_once(4, lambda _: pulls.request(f"tiny/{i}").pk)) for i in range(10)]
ids = [one[0] for one in asked]
single = []
for pk in ids[:5]:
    taken = at_once(2, lambda number: pulls.claim(f"owner-{number}", pk))
    single.append(sum(one is not None for one in taken))
several = at_once(4, lambda number: [one.pk for _ in range(5) if (one := pulls.claim(f"many-{number}"))])
several = [pk for one in several for pk in one]
claimed = Download.objects.get(pk=ids[0])
Download.objects.filter(pk=ids[0]).update(lease_until="2001-01-01T00:00:00Z")
taken_over = pulls.claim("second", ids[0])
try:
    pulls.beat(claimed)
    lost = False
except pulls.Lost:
    lost = True
print(json.dumps({"asked": [len(set(one)) for one in asked], "single": single, "several": sorted(several),
    "left": ids[5:], "owner": taken_over.owner, "attempts": taken_over.attempts, "lost": lost}))
"""


def test_a_row_has_one_owner_however_many_claim_it(tmp_path: Path, database_url: str) -> None:
    script = tmp_path / "claim.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{CLAIM_AT_ONCE}", "utf-8")
    seen = json.loads(manage(tmp_path, database_url, str(script)).splitlines()[-1])
    assert seen["asked"] == [1] * 10
    assert seen["single"] == [1] * 5
    assert seen["several"] == seen["left"]
    assert (seen["owner"], seen["attempts"], seen["lost"]) == ("second", 2, True)


def test_the_migrations_are_reversible_on_postgresql(tmp_path: Path, database_url: str) -> None:
    manage(tmp_path, database_url, "manage.py", "migrate", "-v0")
    tables = query(database_url, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'registry_%'")
    assert ("registry_download",) in tables
    manage(tmp_path, database_url, "manage.py", "migrate", "-v0", "registry", "zero")
    assert not query(database_url, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'registry_%'")


def test_a_pull_outlives_the_connections_to_its_database(serve: Serve, hub: Hub, database_url: str) -> None:
    repositories.big(hub.root, "postgres/big")
    hub.fault("slow", WEIGHTS, on="cdn", rate=8 * 1024**2)
    server = serve(HF_ENDPOINT=hub.url, DATABASE_URL=database_url)
    with opened(server, "postgres/big") as response:
        until_bytes(response, 4 * 1024**2)
        ended = query(
            database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        assert len(ended) >= 2
        assert list(frames(response))[-1] == {"status": "success"}
    assert query(database_url, "SELECT state, attempts FROM registry_download") == [("done", 1)]
    assert len(hub.requests(WEIGHTS, on="cdn")) == 1
    assert "postgres/big:latest" in models(server)
    assert not (server.data_dir / "npuproxy.sqlite3").exists()
