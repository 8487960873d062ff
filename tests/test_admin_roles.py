"""Admin in Chromium as each of the three groups: what they work with, and what is neither offered to them nor done."""

from __future__ import annotations

import csv
import io
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pages
import pytest
from conftest import RunningServer, get, start_server
from playwright.sync_api import Browser, Page, expect
from server_rows import eventually, manage, rows

pytestmark = pages.needs_chromium
PASSWORD = "a long enough password"
USERS = f"""
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
for name in ("viewer", "operator", "admin"):
    user, _ = get_user_model().objects.get_or_create(username=name)
    user.is_staff, user.is_superuser = True, False
    user.set_password("{PASSWORD}")
    user.save()
    user.groups.set([Group.objects.get(name=name)])
"""
SEEN = (
    "Devices",
    "Other servers",
    "Models: 2 installed",
    "Downloads",
    "Requests of the last hour",
    "Efficiency",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With a user in each group."""
    server = start_server(tmp_path_factory.mktemp("roles"), NPU_PROXY_DEVICE="CPU").wait_until_ready()
    try:
        done = manage(server.data_dir, "shell", "-v", "0", "-c", USERS)
        assert done.returncode == 0, done.stderr
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pages.chromium() as found:
        yield found


@contextmanager
def signed_in(browser: Browser, site: RunningServer, name: str) -> Iterator[Page]:
    with pages.opened(browser, f"{site.url}/admin/") as page:
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="What this server knows")).to_be_visible()
        yield page


def post(page: Page, path: str, **fields: Any) -> int:
    """The status of a form that a browser of this user could have sent, though no page offers it."""
    token = next(c["value"] for c in page.context.cookies() if c["name"] == "npuproxy_csrf")
    origin = re.match(r"https?://[^/]+", page.url)
    assert origin
    answer = page.context.request.post(
        f"{origin[0]}/admin/registry{path}",
        form={"csrfmiddlewaretoken": token, **fields},
        headers={"Referer": page.url},
        max_redirects=0,
    )
    return answer.status


def model_id(site: RunningServer, name: str) -> int:
    return int(rows(site, "SELECT id FROM registry_model WHERE name = ?", name)[0]["id"])


def loaded(site: RunningServer) -> list[str]:
    return [entry["name"] for entry in json.loads(get(f"{site.url}/api/ps"))["models"]]


def ask(site: RunningServer, path: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(site.url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status == 200


def test_an_operator_loads_and_unloads_a_model_and_may_think_again_before_one_goes(
    site: RunningServer, browser: Browser
) -> None:
    ask(site, "/api/copy", {"source": "demo", "destination": "spare"})
    with signed_in(browser, site, "operator") as page:
        page.get_by_role("link", name="Models: 3 installed").click()
        page.get_by_role("link", name="demo:latest").click()
        page.get_by_role("button", name="Load", exact=True).click()
        expect(page.locator("[data-cell=runs_on]")).to_contain_text("CPU", timeout=pages.WAIT_MS)
        assert "demo:latest" in loaded(site)
        page.get_by_role("button", name="Unload", exact=True).click()
        expect(page.locator("[data-cell=runs_on]")).to_contain_text("not loaded", timeout=pages.WAIT_MS)
        assert loaded(site) == []

        page.goto(f"{site.url}/admin/registry/model/?q=spare")
        for answer, left in (("Keep", 1), ("Delete 1", 0)):
            page.locator("#result_list tbody input[type=checkbox]").check()
            page.locator("select[name=action]").select_option("remove")
            page.get_by_role("button", name="Go").click()
            expect(page.get_by_text("This cannot be undone")).to_be_visible()
            page.get_by_role("link" if left else "button", name=answer).click()
            expect(page.get_by_role("heading", name="Models")).to_be_visible()
            assert len(rows(site, "SELECT id FROM registry_model WHERE name = 'spare:latest'")) == left
            page.goto(f"{site.url}/admin/registry/model/?q=spare")


def test_an_operator_chooses_the_mode_and_it_counts_at_once(site: RunningServer, browser: Browser) -> None:
    with signed_in(browser, site, "operator") as page:
        page.get_by_role("link", name="Efficiency", exact=True).click()
        page.get_by_label("Mode").select_option("Quiet")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".messagelist")).to_contain_text("success")
        assert json.loads(get(f"{site.url}/efficiency"))["mode"] == "Quiet"
        page.goto(f"{site.url}/admin/")
        expect(page.locator(".card").filter(has_text="Efficiency")).to_contain_text("Quiet")


def test_an_admin_makes_a_key_that_is_shown_once_and_revokes_it_after_a_question(
    site: RunningServer, browser: Browser
) -> None:
    with signed_in(browser, site, "admin") as page:
        page.goto(f"{site.url}/admin/registry/apikey/add/")
        page.get_by_label("Name").fill("laptop")
        page.get_by_role("button", name="Save", exact=True).click()
        found = re.search(r"npk_[\w-]{43}", page.content())
        assert found
        for path in ("", f"{rows(site, 'SELECT id FROM registry_apikey')[0]['id']}/change/"):
            page.goto(f"{site.url}/admin/registry/apikey/{path}")
            assert found[0] not in page.content()
        page.goto(f"{site.url}/admin/registry/apikey/")
        for answer, state in (("Keep", "active"), ("Revoke 1", "revoked")):
            page.locator("#result_list tbody input[type=checkbox]").check()
            page.locator("select[name=action]").select_option("revoke")
            page.get_by_role("button", name="Go").click()
            expect(page.get_by_text("never opens anything again")).to_be_visible()
            page.get_by_role("button" if state == "revoked" else "link", name=answer).click()
            expect(page.locator("#result_list .field-state")).to_have_text(state)


def test_a_viewer_narrows_and_exports_the_log_of_requests(site: RunningServer, browser: Browser) -> None:
    ask(site, "/api/embed", {"model": "all-minilm", "input": "a"})
    ask(
        site,
        "/api/generate",
        {"model": "demo", "prompt": "hello", "stream": False, "options": {"num_predict": 2}},
    )
    eventually(lambda: len(rows(site, "SELECT id FROM registry_requestlog WHERE routed != ''")) >= 2)
    with signed_in(browser, site, "viewer") as page:
        page.get_by_role("link", name="Requests of the last hour").click()
        page.locator(".menu button").filter(has_text="Model").click()
        page.get_by_role("link", name="all-minilm:latest").click()
        expect(page.locator("#result_list .field-shown_model").first).to_have_text("all-minilm")
        assert page.locator("#result_list .field-shown_model").all_inner_texts() == ["all-minilm"]
        page.locator("#action-toggle").check()
        page.locator("select[name=action]").select_option("export_csv")
        with page.expect_download() as started:
            page.get_by_role("button", name="Go").click()
        text = started.value.path().read_text("utf-8")
        assert [row["model"] for row in csv.DictReader(io.StringIO(text))] == ["all-minilm"]


def test_a_viewer_is_offered_no_change_and_none_is_made_for_one(
    site: RunningServer, browser: Browser
) -> None:
    ask(site, "/api/generate", {"model": "demo", "keep_alive": 0})
    demo = model_id(site, "demo:latest")
    with signed_in(browser, site, "viewer") as page:
        headings = page.locator(".card h2").all_inner_texts()
        assert [re.sub(r"\d+ installed", "2 installed", title) for title in headings] == list(SEEN)
        expect(page.get_by_role("link", name="Doctor")).to_have_count(0)
        expect(page.get_by_role("link", name="API keys")).to_have_count(0)
        expect(page.get_by_role("link", name="Add", exact=True)).to_have_count(0)
        page.goto(f"{site.url}/admin/registry/model/")
        expect(page.get_by_role("link", name="Pull a model")).to_have_count(0)
        expect(page.locator("select[name=action] option[value=load]")).to_have_count(0)
        page.get_by_role("link", name="demo:latest").click()
        expect(page.get_by_role("heading", name="demo:latest")).to_be_visible()
        for name in ("Load", "Unload", "Pin"):
            expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)

        for action in ("load", "pin", "remove"):
            post(page, "/model/", action=action, _selected_action=demo, post="yes")
        row = rows(site, "SELECT pinned FROM registry_model WHERE id = ?", demo)
        assert [bool(one["pinned"]) for one in row] == [False]
        assert "demo:latest" not in loaded(site)
        for path, fields in (
            (f"/model/{demo}/delete/", {"post": "yes"}),
            ("/model/pull/", {"name": "tiny/chat", "pull": "1"}),
            ("/alias/add/", {"name": "a", "target": "demo"}),
            ("/apikey/add/", {"name": "mine", "scope": "admin"}),
            ("/efficiencychoice/add/", {"mode": "Performance"}),
            ("/efficiencychoice/1/change/", {"mode": "Performance"}),
            ("/backend/add/", {"name": "x", "protocol": "ollama", "url": "http://x"}),
        ):
            assert post(page, path, **fields) == 403, path
    assert not rows(site, "SELECT id FROM registry_alias")


def test_an_operator_makes_no_keys_and_no_users(site: RunningServer, browser: Browser) -> None:
    with signed_in(browser, site, "operator") as page:
        page.goto(f"{site.url}/admin/registry/apikey/")
        expect(page.get_by_role("heading", name="API keys")).to_be_visible()
        expect(page.get_by_role("link", name="Add API key")).to_have_count(0)
        before = len(rows(site, "SELECT id FROM registry_apikey"))
        assert post(page, "/apikey/add/", name="mine", scope="admin") == 403
        assert post(page, "/../auth/user/add/", username="x") == 403
        assert len(rows(site, "SELECT id FROM registry_apikey")) == before


@pytest.mark.parametrize("width", [1280, 390])
def test_the_start_page_and_the_log_keep_nobody_out(
    site: RunningServer, browser: Browser, width: int
) -> None:
    with signed_in(browser, site, "admin") as page:
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("", "registry/requestlog/", "registry/profile/"):
            page.goto(f"{site.url}/admin/{path}")
            assert not pages.is_too_wide(page), path
