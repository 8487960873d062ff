"""Rows of requests: written beside the requests of a real server, removed when they are old, exported."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve
from django.core.management import CommandError, call_command
from django.utils import timezone
from keys import apikey
from pytest_django import Settings
from server_rows import eventually, orm, rows

from compat_api import errors
from inference.errors import BadRequest
from inference.states import RequestRecord
from registry import request_export, request_rows
from registry.models import RequestLog
from registry.request_rows import RequestRows

SECRET = "the-quick-brown-secret"
TABLE = "registry_requestlog"


def logged(server: RunningServer, request_id: str) -> dict[str, Any]:
    """Its row, once it is there."""
    query = f"SELECT * FROM {TABLE} WHERE request_id = ?"
    return eventually(lambda: next(iter(rows(server, query, request_id)), None))


def ask(server: RunningServer, request_id: str, path: str = "/api/chat", **more: Any) -> httpx.Response:
    body = {"model": "demo", "messages": [{"role": "user", "content": SECRET}], "stream": False}
    headers = {"X-Request-ID": request_id, **more.pop("headers", {})}
    return httpx.post(f"{server.url}{path}", json=body | more, headers=headers, timeout=60)


# --- by a real server -------------------------------------------------------------------------------------------


def test_a_request_leaves_a_row_that_says_where_it_ran_and_never_its_text(server: RunningServer) -> None:
    answer = ask(server, "rows-1", headers={"X-Priority": "high"}, think=False)
    row = logged(server, "rows-1")
    told = answer.json()
    assert (row["endpoint"], row["dialect"], row["model"], row["status"]) == (
        "/api/chat",
        "ollama",
        "demo",
        200,
    )
    assert (row["routed"], row["executed"], row["priority"], row["key"]) == ("CPU", "CPU", 2, "")
    assert row["reason"] == answer.headers["x-npu-proxy-route-reason"]
    assert row["prompt_tokens"] == told["prompt_eval_count"]
    assert row["completion_tokens"] == told["eval_count"]
    assert 0 < row["ttft_s"] <= row["total_s"]
    assert row["tokens_per_s"] == pytest.approx((row["completion_tokens"] - 1) / row["decode_s"])
    assert row["time"].startswith(f"{datetime.now(UTC):%Y-%m}")
    texts = json.dumps(row)
    assert SECRET not in texts
    assert told["message"]["content"] not in texts


def test_a_request_that_failed_leaves_a_row_with_its_words(server: RunningServer) -> None:
    ask(server, "rows-2", model="no-such")
    row = logged(server, "rows-2")
    assert (row["status"], row["model"], row["routed"], row["ttft_s"]) == (404, "no-such", "", None)
    assert "not found" in row["error"]


def test_a_request_that_could_not_be_read_leaves_its_model_and_none_of_its_text(
    server: RunningServer,
) -> None:
    refused = ask(server, "rows-bad-1", options={"temperature": "hot"})
    assert (refused.status_code, logged(server, "rows-bad-1")["model"]) == (400, "demo")
    bodies: tuple[dict[str, Any], ...] = ({"format": {"type": SECRET}}, {"think": SECRET})
    for number, wrong in enumerate(bodies):
        refused = ask(server, f"rows-secret-{number}", **wrong)
        assert (refused.status_code, SECRET in refused.text) == (400, True)
        row = logged(server, f"rows-secret-{number}")
        assert row["error"]
        assert SECRET not in json.dumps(row)
    assert SECRET not in server.log()


@pytest.mark.parametrize(
    ("words", "field", "logged_as"),
    [
        ('"prompt" or "messages" is required', "prompt", '"prompt" or "messages" is required'),
        ("think is 'a 'b' c', not one of them", "think", "think is '…', not one of them"),
        ("unknown value: `text`", "", "unknown value: `…`"),
    ],
)
def test_of_a_refusal_the_log_has_the_names_of_fields_alone(words: str, field: str, logged_as: str) -> None:
    assert errors.of(BadRequest(words, field)).logged == logged_as


@pytest.mark.parametrize(("tokens", "rate"), [(1, None), (2, None), (4, None), (5, 8.0), (9, 16.0)])
def test_a_rate_is_made_of_several_times_between_tokens(tokens: int, rate: float | None) -> None:
    told = RequestRecord(
        id="r", time=0.0, operation="chat", model="m", status=200, completion_tokens=tokens, decode_s=0.5
    )
    assert told.tokens_per_s == rate


def test_the_row_of_a_key_has_its_name(server: RunningServer) -> None:
    secret = apikey(server, "create", "team-rows", "--scope", "infer")["key"]
    ask(server, "rows-3", "/api/generate", prompt="hi", headers={"Authorization": f"Bearer {secret}"})
    assert logged(server, "rows-3")["key"] == "team-rows"


def test_a_database_that_fails_costs_no_request_and_one_line(serve: Serve) -> None:
    server = serve()
    orm(
        server,
        f"from django.db import connection; connection.cursor().execute('ALTER TABLE {TABLE} RENAME TO away')",
    )
    words = "requests cannot be written down now"
    for index in range(3):
        assert ask(server, f"away-{index}").status_code == 200
        eventually(lambda: words in server.log())
        time.sleep(request_rows.WRITE_S)
    assert server.log().count(words) == 1
    orm(
        server,
        f"from django.db import connection; connection.cursor().execute('ALTER TABLE away RENAME TO {TABLE}')",
    )
    for index in range(3):
        logged(server, f"away-{index}")


def test_no_rows_are_kept_where_nobody_wants_any(serve: Serve) -> None:
    """What was kept before goes too."""
    server = serve()
    ask(server, "before")
    logged(server, "before")
    server.stop()
    again = serve(NPU_PROXY_LOG_DAYS="0", NPU_PROXY_DATA_DIR=str(server.data_dir))
    assert ask(again, "after").status_code == 200
    eventually(lambda: not rows(again, f"SELECT id FROM {TABLE}"))
    again.stop()
    assert rows(again, f"SELECT id FROM {TABLE}") == []


# --- in this process --------------------------------------------------------------------------------------------


def record(number: int = 1, **changes: Any) -> RequestRecord:
    fields = {"id": f"r-{number}", "time": time.time(), "operation": "chat", "model": "demo", "status": 200}
    return RequestRecord(**{**fields, **changes})


def seed(count: int, **changes: Any) -> None:
    made = [request_rows.row_of(record(number)) for number in range(count)]
    for row in made:
        for name, value in changes.items():
            setattr(row, name, value)
    RequestLog.objects.bulk_create(made, batch_size=500)


def run(work: Any) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await work()

    return asyncio.run(bounded())


@pytest.mark.django_db(transaction=True)
def test_rows_that_are_old_go_in_batches_and_no_others(settings: Settings) -> None:
    settings.LOG_DAYS = 30
    seed(request_rows.PRUNE_BATCH + 30, time=timezone.now() - timedelta(days=31))
    seed(5, time=timezone.now() - timedelta(days=29))
    log = RequestRows()

    async def prune() -> int:
        removed = await log.prune()
        await log.close()
        return removed

    assert run(prune) == request_rows.PRUNE_BATCH + 30
    assert RequestLog.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_what_waits_is_written_in_order_and_in_batches() -> None:
    log = RequestRows()
    for number in range(2 * request_rows.BATCH + 1):
        log.add(record(number))
    run(log.close)
    assert list(RequestLog.objects.order_by("id").values_list("request_id", flat=True)) == [
        f"r-{number}" for number in range(2 * request_rows.BATCH + 1)
    ]


def test_rows_for_which_there_is_no_room_are_lost_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(request_rows, "MOST_WAITING", 10)
    log = RequestRows()
    with caplog.at_level(logging.ERROR):
        for number in range(50):
            log.add(record(number))
    assert [line.message for line in caplog.records if "rows of requests are lost" in line.message] != []
    assert len(caplog.records) == 1


@pytest.mark.django_db
def test_whatever_a_client_sends_fits_into_its_column() -> None:
    row = request_rows.row_of(record(model="m" * 5000, error="e\0" * 5000, id="i" * 5000, key="k" * 500))
    row.save()
    row.refresh_from_db()
    assert (len(row.model), len(row.error), len(row.request_id)) == (200, 300, 160)
    assert "\0" not in row.error


# --- export -----------------------------------------------------------------------------------------------------


def exported(form: str) -> bytes:
    return b"".join(request_export.pages(RequestLog.objects.all(), form))


@pytest.mark.django_db
def test_an_export_has_every_row_once_the_oldest_first() -> None:
    seed(2 * request_export.PAGE + 7)
    ids = [f"r-{number}" for number in range(2 * request_export.PAGE + 7)]
    table = list(csv.DictReader(io.StringIO(exported("csv").decode())))
    assert [row["request_id"] for row in table] == ids
    lines = [json.loads(line) for line in exported("jsonl").splitlines()]
    assert [line["request_id"] for line in lines] == ids
    assert set(lines[0]) == set(table[0]) == set(request_export.FIELDS)
    assert (lines[0]["status"], lines[0]["ttft_s"], table[0]["ttft_s"]) == (200, None, "")


@pytest.mark.django_db
def test_an_export_has_one_page_in_memory_at_a_time() -> None:
    seed(3 * request_export.PAGE)
    sizes = [page.count(b"\n") for page in request_export.pages(RequestLog.objects.all(), "jsonl")]
    assert max(sizes) == request_export.PAGE
    assert sum(sizes) == 3 * request_export.PAGE


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_begins_as_a_formula(name: str) -> None:
    seed(1, model=name)
    [row] = csv.DictReader(io.StringIO(exported("csv").decode(), newline=""))
    assert row["model"] == f"'{name}"
    assert json.loads(exported("jsonl"))["model"] == name


@pytest.mark.django_db
def test_the_command_writes_a_file_of_what_is_younger(tmp_path: Path) -> None:
    seed(3, time=timezone.now() - timedelta(days=8))
    seed(2)
    file = tmp_path / "requests.jsonl"
    call_command("requests", "export", "--since", "7d", "--format", "jsonl", "-o", str(file))
    assert len(file.read_text().splitlines()) == 2
    call_command("requests", "export", "-o", str(file))
    assert len(file.read_text().splitlines()) == 1 + 5
    with pytest.raises(CommandError, match=r"--since: 'soon' is no time: give 36h"):
        call_command("requests", "export", "--since", "soon", "-o", str(file))
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("requests", "export", "-o", str(tmp_path / "no" / "such"))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T12:30", datetime(2026, 11, 1, 12, 30, tzinfo=UTC)),
        ("2026-11-01T12:30+02:00", datetime(2026, 11, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_a_time_may_be_a_day_or_a_moment(text: str, moment: datetime) -> None:
    assert request_export.since(text) == moment


@pytest.mark.parametrize("text", ["", "7", "d", "2026-13-01", "tomorrow", "9999999999d", "999999w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: give 36h"):
        request_export.since(text)
