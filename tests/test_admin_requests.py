"""The log of requests in admin: found, narrowed and exported, with as few queries at ten thousand rows as at ten."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from admin_pages import Browser, cells
from conftest import RunningServer
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from server_rows import eventually, rows

from registry.admin.request_log import MOST_COUNTED, BoundedPaginator
from registry.models import ApiKey, Device, RequestLog

MOST_QUERIES = 20


def row(number: int = 1, **changes: object) -> RequestLog:
    fields: dict[str, object] = {
        "request_id": f"req-{number}",
        "time": timezone.now(),
        "endpoint": "/api/chat",
        "dialect": "ollama",
        "model": "demo",
        "status": 200,
        "requested": "NPU",
        "routed": "CPU",
        "executed": "CPU",
        "reason": "device_unavailable",
        "total_s": 1.5,
    }
    return RequestLog(**{**fields, **changes})


@pytest.fixture
def browser(db: None) -> Browser:
    return Browser()


def listed(browser: Browser, **query: Any) -> list[str]:
    return cells(browser.get("/requestlog/", **query), "request_id")


def test_the_newest_is_first_with_its_way_and_its_reason(browser: Browser) -> None:
    RequestLog.objects.bulk_create(
        [row(1), row(2, error="boom", status=500, energy_j=3.0, completion_tokens=2)]
    )
    page = browser.get("/requestlog/")
    assert cells(page, "request_id") == ["req-2", "req-1"]
    assert cells(page, "way")[0] == "NPU → CPU → CPU"
    assert cells(page, "why")[0] == "device unavailable"
    assert cells(page, "energy")[0].startswith("1.50")
    assert 'title="boom"' in page


def test_ten_thousand_rows_ask_no_more_than_ten(browser: Browser) -> None:
    RequestLog.objects.bulk_create([row(number) for number in range(10)])
    counts = []
    for more in (0, 10_500):
        RequestLog.objects.bulk_create([row(number) for number in range(more)], batch_size=500)
        browser.get("/requestlog/")
        with CaptureQueriesContext(connection) as seen:
            browser.get("/requestlog/")
        counts.append(len(seen))
    assert counts[1] <= min(counts[0] + 1, MOST_QUERIES)
    full = [one["sql"] for one in seen if "COUNT(" in one["sql"] and "requestlog" in one["sql"]]
    assert all(f"LIMIT {MOST_COUNTED + 1}" in sql for sql in full), full
    assert BoundedPaginator(RequestLog.objects.order_by("-id"), 100).count == MOST_COUNTED + 1


def test_a_request_is_found_by_its_whole_id_through_the_index(browser: Browser) -> None:
    RequestLog.objects.bulk_create([row(number) for number in range(30)])
    assert listed(browser, q="req-7") == ["req-7"]
    assert listed(browser, q=" req-7 ") == ["req-7"]
    assert listed(browser, q="req-") == []
    plan = RequestLog.objects.filter(request_id="req-7").explain()
    assert "USING INDEX" in plan or "Index" in plan


def test_filters_narrow_the_list(browser: Browser) -> None:
    ApiKey.objects.create(name="team", sha256="0" * 64, shown="npk_a")
    Device.objects.create(name="NPU")
    RequestLog.objects.bulk_create(
        [
            row(1, status=499),
            row(2, status=404, model="nope"),
            row(3, status=503),
            row(4, routed="NPU", model="demo:latest"),
            row(5, key="team"),
            row(6, time=timezone.now() - timedelta(days=2)),
        ]
    )
    assert listed(browser, ended="gone") == ["req-1"]
    assert listed(browser, ended="refused") == ["req-2"]
    assert listed(browser, ended="failed") == ["req-3"]
    assert listed(browser, device="NPU") == ["req-4"]
    assert listed(browser, by_key="team") == ["req-5"]
    assert "req-6" not in listed(browser, within="24")
    assert len(listed(browser, ended="ok")) == 3


def test_nobody_edits_it(browser: Browser) -> None:
    made = row()
    made.save()
    page = browser.get(f"/requestlog/{made.pk}/change/")
    assert 'name="_save"' not in page
    assert browser.get("/requestlog/add/", status=403)
    assert browser.get(f"/requestlog/{made.pk}/delete/", status=403)


def test_who_may_look_may_export_and_who_may_not_may_neither(db: None) -> None:
    page = Browser("view_requestlog").get("/requestlog/")
    assert 'value="export_csv"' not in page  # nothing there yet: no actions
    row().save()
    assert 'value="export_csv"' in Browser("view_requestlog", name="b").get("/requestlog/")
    assert Browser("view_model", name="c").get("/requestlog/", status=403)


def test_the_selected_come_as_a_file_of_the_real_server(server: RunningServer) -> None:
    body = {"model": "no-such", "prompt": "hi"}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        client.post("/api/generate", json=body, headers={"X-Request-ID": "exported-1"})
        made = eventually(
            lambda: rows(server, "SELECT id FROM registry_requestlog WHERE request_id = 'exported-1'")
        )
        password = re.search(r"password\W+(\S{12,})", server.log())
        assert password
        client.get("/admin/login/")
        token = client.cookies["npuproxy_csrf"]
        signed = {"username": "admin", "password": password[1], "csrfmiddlewaretoken": token}
        assert client.post("/admin/login/", data=signed).status_code == 302
        wish = {
            "action": "export_json_lines",
            "_selected_action": str(made[0]["id"]),
            "csrfmiddlewaretoken": client.cookies["npuproxy_csrf"],
        }
        answer = client.post("/admin/registry/requestlog/", data=wish)
    assert answer.headers["content-type"] == "application/jsonl"
    assert re.search(r'filename="requests-\d+-\d+\.jsonl"', answer.headers["content-disposition"])
    assert [line for line in answer.text.splitlines() if '"request_id":"exported-1"' in line]
    assert answer.text.count("\n") == 1
