"""API keys in admin: shown once, never again; bounds that can be changed; revoked from the list."""

from __future__ import annotations

import re
from typing import Any

import pytest
from admin_pages import Browser, cells, said

from registry.key import hashed
from registry.models import ApiKey, ApiKeyUse

pytestmark = pytest.mark.django_db(transaction=True)

NEW: dict[str, Any] = {
    "name": "team",
    "scope": "infer",
    "priority": "1",
    "default_priority": "0",
    "models_allowed": " demo ,qwen3:* ",
    "devices_allowed": "cpu",
    "remote_allowed": "on",
}


def test_the_secret_is_shown_on_the_page_that_made_it_and_nowhere_else() -> None:
    browser = Browser()
    page = browser.post("/apikey/add/", **NEW)
    found = re.search(r"npk_[\w-]{43}", page)
    assert found
    row = ApiKey.objects.get()
    assert row.sha256 == hashed(found[0].encode())
    assert (row.models_allowed, row.devices_allowed) == ("demo, qwen3:*", "CPU")
    assert (row.priority, row.default_priority) == (1, 0)
    for path in ("/apikey/", f"/apikey/{row.pk}/change/", f"/apikey/{row.pk}/history/"):
        shown = browser.get(path)
        assert found[0] not in shown
        assert row.sha256 not in shown
    assert not any(found[0] in str(cookie) for cookie in browser.client.cookies.values())
    assert cells(browser.get("/apikey/"), "bounds") == ["demo, qwen3:* CPU"]


def test_bounds_change_and_the_secret_stays() -> None:
    browser = Browser()
    browser.post("/apikey/add/", **NEW)
    before = ApiKey.objects.get()
    changed = {
        **NEW,
        "requests_per_minute": "60",
        "sha256": "0" * 64,
        "shown": "x",
        "revoked_at": "2020-01-01",
    }
    browser.post(f"/apikey/{before.pk}/change/", **changed)
    after = ApiKey.objects.get()
    assert after.requests_per_minute == 60
    assert (after.sha256, after.shown, after.revoked_at) == (before.sha256, before.shown, None)


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("models_allowed", " , ", "names no model"),
        ("devices_allowed", "TPU", "'TPU' is not a device"),
        ("requests_per_minute", "0", "greater than or equal to 1"),
        ("name", "", "This field is required"),
        ("scope", "root", "not one of the available choices"),
    ],
)
def test_a_bound_that_means_nothing_is_refused(field: str, value: str, fault: str) -> None:
    assert fault in Browser().post("/apikey/add/", **{**NEW, field: value})
    assert not ApiKey.objects.exists()


def test_keys_are_revoked_from_the_list_once_and_for_all() -> None:
    browser = Browser()
    browser.post("/apikey/add/", **NEW)
    row = ApiKey.objects.get()
    ApiKeyUse.objects.create(key=row, requests=1234)
    assert cells(browser.get("/apikey/"), "state") == ["active"]
    asked = browser.act("apikey", "revoke", row)
    assert "never opens anything again" in asked
    assert cells(browser.get("/apikey/"), "state") == ["active"], "it was only asked"
    assert said(browser.act("apikey", "revoke", row, post="yes"))[0].startswith("1 revoked")
    assert cells(browser.get("/apikey/"), "state") == ["revoked"]
    assert cells(browser.get("/apikey/"), "requests") == ["1,234"]
    assert "revoked already" in browser.act("apikey", "revoke", row)
    assert said(browser.act("apikey", "revoke", row, post="yes"))[0].startswith("0 revoked")


def test_who_may_only_look_makes_and_revokes_none() -> None:
    Browser().post("/apikey/add/", **NEW)
    reader = Browser("view_apikey", name="reader")
    assert "team" in reader.get("/apikey/")
    reader.get("/apikey/add/", 403)
    assert 'value="revoke"' not in reader.get("/apikey/")
