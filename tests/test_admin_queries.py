"""Every table that admin has, at ten thousand rows: its list, a search in it, its filters, its sorted columns and a
row's page ask few queries. A table that is registered without a row here fails."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from admin_pages import ADMIN, Browser
from django.contrib import admin
from django.db import connection
from django.db.models import Model as Row
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from registry import builtin
from registry import models as tables
from registry.models.efficiency import EfficiencyChoice

pytestmark = pytest.mark.django_db
MANY: Final = 10_000
MOST: Final = 20


def digest(number: int) -> str:
    return f"{number:064x}"


ROWS: Final[dict[type[Row], Callable[[int], dict[str, Any]]]] = {
    tables.Alias: lambda n: {"name": f"gpt-{n}:latest", "target": f"model{n}:latest"},
    tables.ApiKey: lambda n: {"name": f"key {n}", "sha256": digest(n), "shown": f"npk_{n}"},
    tables.Backend: lambda n: {
        "name": f"box-{n}",
        "protocol": "ollama",
        "url": f"http://10.0.0.1:{n}",
        "kind": "cpu",
    },
    tables.CompileCache: lambda n: {
        "digest": digest(n),
        "device": "NPU",
        "driver": "1",
        "openvino": "2026",
        "path": f"/c/{n}",
    },
    tables.Device: lambda n: {"name": f"GPU.{n}", "full_name": "a GPU"},
    tables.Download: lambda n: {
        "name": f"model{n}:latest",
        "repo": f"org/model{n}",
        "state": "done",
        "finished_at": timezone.now(),
    },
    tables.Model: lambda n: {
        "name": f"model{n}:latest",
        "path": f"/m/{n}",
        "digest": digest(n),
        "kind": "chat",
        "context_length": 4096,
        "architecture": "Qwen3ForCausalLM",
    },
    tables.Profile: lambda n: {
        "key": digest(n),
        "backend": "CPU",
        "model": f"model{n}",
        "tpot_s": 0.1,
        "tpot_count": 3,
    },
    tables.RequestLog: lambda n: {
        "request_id": f"req_{n}",
        "time": timezone.now() - timedelta(seconds=n),
        "endpoint": "chat",
        "dialect": "ollama",
        "model": "demo",
        "status": 200,
        "routed": "CPU",
        "total_s": 1.0,
    },
    tables.Substitution: lambda n: {"model": f"model{n}:latest", "substitute": f"other{n}:latest"},
    tables.Usage: lambda n: {"digest": digest(n), "device": "CPU", "requests": n},
}
"""By table: the fields of its nth row."""
OURS: Final = sorted(
    (
        kind
        for kind in admin.site._registry
        if kind._meta.app_label == "registry" and kind is not EfficiencyChoice
    ),
    key=lambda kind: kind.__name__,
)
"""Without the one that has one row and no list. Users and groups are Django's own."""


def test_every_table_of_admin_has_rows_here() -> None:
    assert set(OURS) == set(ROWS)


def asked(browser: Browser, path: str) -> tuple[int, str]:
    """Queries of a page, and its text; with what a process remembers from its first one."""
    with CaptureQueriesContext(connection) as seen:
        answer = browser.client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return len(seen), str(answer.content.decode())


def narrowed(page: str) -> set[str]:
    """A search, all columns sorted, and a choice of each filter, as the list's own links have them."""
    links = [html.unescape(link) for link in re.findall(r'href="(\?[^"]+)"', page)]
    columns = sorted({int(number) for link in links for number in re.findall(r"[?&]o=-?(\d+)", link)})
    assert columns, "no column is sorted by its head"
    filters = {link.partition("=")[0]: link for link in links if not re.search(r"[?&]o=", link)}
    return {"?q=1", "?o=" + ".".join(map(str, columns)), *filters.values()}


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_a_list_and_a_row_ask_few_queries_at_ten_thousand_rows(kind: type[Row]) -> None:
    builtin.sync_builtin_models()
    table = kind._meta.model_name
    kind._default_manager.bulk_create([kind(**ROWS[kind](n)) for n in range(MANY)], batch_size=500)
    if kind is not tables.Model:  # so that names of models are looked for among many
        tables.Model.objects.bulk_create(
            [tables.Model(**ROWS[tables.Model](n)) for n in range(200)], batch_size=200
        )
    browser = Browser()
    listed = f"{ADMIN}/{table}/"
    count, page = asked(browser, listed)
    assert count <= MOST, "the list"
    for query in narrowed(page):
        count, _ = asked(browser, listed + query)
        assert count <= MOST, query
    row = kind._default_manager.order_by("-pk").first()
    assert row is not None
    count, _ = asked(browser, f"{listed}{row.pk}/change/")
    assert count <= MOST, "a row's page"
