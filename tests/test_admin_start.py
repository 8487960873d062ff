"""Admin's start page, and the groups that say who may do what there."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from admin_pages import Browser, engine_in_this_process
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from registry import builtin
from registry.models import ApiKey, Download, RequestLog

pytestmark = pytest.mark.django_db
MANY = 10_000


def member(group: str) -> Client:
    client = Client()
    user = get_user_model().objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return client


def text(client: Client, path: str = "/admin/", status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return str(answer.content.decode())


def cards(page: str) -> list[str]:
    return [re.sub(r"<[^>]*>", "", title) for title in re.findall(r'<h2 id="card-\d+">(.*?)</h2>', page)]


def requests(count: int) -> None:
    now = timezone.now()
    RequestLog.objects.bulk_create(
        RequestLog(
            request_id=f"req_{index}", time=now - timedelta(seconds=index % 3000), endpoint="chat", dialect="ollama",
            model="demo", status=503 if index % 10 == 0 else 200, total_s=1.0, ttft_s=0.5, completion_tokens=20,
            tokens_per_s=40.0,
        )
        for index in range(count)
    )  # fmt: skip


def test_the_start_page_tells_what_runs_and_what_failed_in_few_queries() -> None:
    builtin.sync_builtin_models()
    requests(MANY)
    Download.objects.create(
        name="qwen3:4b",
        repo="org/qwen3",
        state=Download.States.QUEUED,
        total_bytes=1000,
        completed_bytes=420,
    )
    browser = Browser()
    with (
        engine_in_this_process(),
        CaptureQueriesContext(
            connection,
        ) as queries,
    ):
        page = text(browser.client)
    assert len(queries) <= 20
    assert cards(page) == [
        "Devices", "Other servers", "Models: 2 installed", "Downloads", "Requests of the last hour", "Efficiency",
    ]  # fmt: skip
    for words in ("9,000", "1,000", "200,000", "42% of", "none is loaded", "/admin/doctor/"):
        assert words in page, words


def test_without_a_server_in_this_process_nothing_is_made_up() -> None:
    page = text(Browser().client)
    assert "no device is known yet" in page
    assert "unknown: this process is not the server" in page
    assert ">none<" in page


def test_viewers_see_everything_but_keys_and_change_nothing() -> None:
    ApiKey.objects.create(name="laptop", sha256="0" * 64, shown="npk_1")
    client = member("viewer")
    assert len(cards(text(client))) == 6
    assert "/admin/doctor/" not in text(client)
    text(client, "/admin/registry/model/")
    text(client, "/admin/registry/apikey/", 403)
    text(client, "/admin/registry/model/pull/", 403)
    text(client, "/admin/auth/user/", 403)


def test_operators_work_with_models_and_see_keys() -> None:
    builtin.sync_builtin_models()
    ApiKey.objects.create(name="laptop", sha256="0" * 64, shown="npk_1")
    client = member("operator")
    assert "load" in text(client, "/admin/registry/model/").lower()
    text(client, "/admin/registry/backend/add/")
    assert "laptop" in text(client, "/admin/registry/apikey/")
    text(client, "/admin/registry/apikey/add/", 403)
    text(client, "/admin/auth/user/", 403)


def test_admins_do_all_of_it() -> None:
    client = member("admin")
    text(client, "/admin/registry/apikey/add/")
    text(client, "/admin/auth/user/add/")
