"""Other servers in admin: a form that says what is wrong, a key that goes in and never comes out, actions."""

from __future__ import annotations

from typing import Any

import pytest
from admin_pages import Browser, cells, engine_in_this_process, said
from django.contrib.admin.models import LogEntry
from pytest_django import Settings
from scripted_server import OPENAI_MODELS, scripted
from server_rows import eventually

from registry import backends
from registry.models import Backend

pytestmark = pytest.mark.django_db(transaction=True)
KEY = "sk-that-nobody-may-read"
NEW: dict[str, Any] = {
    "name": "Cellar", "protocol": "openai", "url": "https://cellar:8000/v1/", "key": KEY, "kind": "dgpu",
    "slots": "0", "first_byte_s": "120", "silence_s": "60", "enabled": "on", "verify_tls": "on",
    "supported": "qwen*\n*:7B", "aliases": "gpt-4o=Qwen/Qwen3-8B",
}  # fmt: skip


def added(**fields: Any) -> Backend:
    Browser().post("/backend/add/", **{**NEW, **fields})
    return Backend.objects.get()


def test_a_server_is_added_in_the_form_that_the_row_keeps() -> None:
    row = added()
    assert (row.name, row.url, row.supported) == ("cellar", "https://cellar:8000", "qwen*\n*:7b")
    assert row.aliases == "gpt-4o:latest=Qwen/Qwen3-8B"
    assert row.spec().key == KEY


def test_the_key_is_on_no_page_and_in_no_log_of_admin() -> None:
    browser = Browser()
    browser.post("/backend/add/", **NEW)
    row = Backend.objects.get()
    browser.post(f"/backend/{row.pk}/change/", **{**NEW, "key": f"{KEY}2"})
    refused = browser.post(f"/backend/{row.pk}/change/", **{**NEW, "key": f"{KEY}3", "url": "nothing"})
    assert "is no address of a server" in refused
    pages = [refused, *(browser.get(path) for path in ("/backend/", f"/backend/{row.pk}/change/"))]
    pages.append(browser.get(f"/backend/{row.pk}/history/"))
    pages += [entry.get_change_message() + entry.object_repr for entry in LogEntry.objects.all()]
    assert not any(KEY in page or row.sealed_key in page for page in pages)
    row.refresh_from_db()
    assert row.spec().key == f"{KEY}2"
    assert cells(pages[1], "key_state") == ["set"]


def test_an_empty_field_leaves_the_key_and_the_box_takes_it_away() -> None:
    browser = Browser()
    browser.post("/backend/add/", **NEW)
    row = Backend.objects.get()
    browser.post(f"/backend/{row.pk}/change/", **{**NEW, "key": "", "watts": "9"})
    row.refresh_from_db()
    assert (row.watts, row.spec().key) == (9, KEY)
    both = browser.post(f"/backend/{row.pk}/change/", **{**NEW, "clear_key": "on"})
    assert "give a key, or take it away" in both
    browser.post(f"/backend/{row.pk}/change/", **{**NEW, "key": "", "clear_key": "on"})
    row.refresh_from_db()
    assert row.sealed_key == ""


def test_a_key_does_not_move_to_another_host_in_admin_either() -> None:
    browser = Browser()
    browser.post("/backend/add/", **NEW)
    row = Backend.objects.get()
    page = browser.post(f"/backend/{row.pk}/change/", **{**NEW, "key": "", "url": "https://elsewhere"})
    assert "the key was given for https://cellar:8000 and goes nowhere else" in page
    browser.post(f"/backend/{row.pk}/change/", **{**NEW, "key": "another", "url": "https://elsewhere"})
    row.refresh_from_db()
    assert (row.url, row.spec().key) == ("https://elsewhere", "another")


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("name", "npu", "means a device of this machine"),
        ("url", "ftp://x", "is no address of a server"),
        ("key", "two words", "holds characters that no header carries"),
        ("aliases", "gpt-4o", "is no alias; write ours=theirs"),
        ("max_size", "big", "is no size of a model"),
        ("priority", "900", "less than or equal to 100"),
        ("ca_file", "/no/file", "is no file of certificates"),
    ],
)
def test_what_may_not_be_is_said_beside_its_field(field: str, value: str, fault: str) -> None:
    page = Browser().post("/backend/add/", **{**NEW, field: value})
    assert not Backend.objects.exists()
    assert fault in page.partition(f'id="id_{field}"')[0].rpartition('class="form-row')[2]


def test_servers_are_switched_off_and_on_from_the_list_and_from_their_page() -> None:
    row = added()
    browser = Browser("view_backend", "change_backend", name="second")
    assert said(browser.act("backend", "disable", row)) == [
        "Switched off: 1 of 1; the server follows within two seconds."
    ]
    assert cells(browser.get("/backend/"), "health") == ["off"]
    page = browser.act("backend", "enable", row, form=f"/backend/{row.pk}/change/", page=row.pk)
    assert "Switch off" in page
    row.refresh_from_db()
    assert row.enabled


def test_what_is_worth_a_word_is_said_when_a_row_is_saved() -> None:
    page = Browser().post("/backend/add/", **{**NEW, "url": "http://cellar:8000"})
    assert said(page)[0].startswith("About cellar: its key and all prompts go to cellar in the clear")


def test_a_failed_test_says_what_mends_it_and_names_no_key() -> None:
    row = added(url="http://127.0.0.1:9")
    [words] = said(
        Browser(*(f"{verb}_backend" for verb in ("view", "change")), name="b").act("backend", "test", row)
    )
    assert words.startswith("No answer from cellar: it cannot be reached")
    assert words.endswith("start it, or give the port on which it listens")
    assert KEY not in words


def test_the_list_shows_how_each_is_now_where_this_process_is_the_server(settings: Settings) -> None:
    with scripted({"/v1/models": OPENAI_MODELS}) as upstream, engine_in_this_process() as server:
        Backend(name="cellar", protocol="openai", url=upstream.url, slots=2).save()
        Backend(name="gone", protocol="ollama", url="http://127.0.0.1:9").save()
        assert server.loop is not None
        server.loop.call_soon_threadsafe(server.follow_remotes, backends.specs(0))
        browser = Browser()
        page = eventually(lambda: _both(browser.get("/backend/")))
        assert cells(page, "models") == ["2", "–"]
        assert cells(page, "work") == ["none", "none"]
        assert "m-7b" in page
        server.loop.call_soon_threadsafe(server.follow_remotes, ())
        sealed, ours = Backend.objects.get(name="cellar"), settings.SECRET_KEY
        settings.SECRET_KEY = "of another data folder"
        sealed.set_key(KEY)
        sealed.save()
        settings.SECRET_KEY = ours
        page = eventually(lambda: _left_out(browser.get("/backend/")))
        assert KEY not in page


def _both(page: str) -> str:
    first, second = cells(page, "health")
    return page if first == "well" and "cannot be reached" in second else ""


def _left_out(page: str) -> str:
    return (
        page
        if "not asked it is left out: the key of a backend was sealed by" in cells(page, "health")[0]
        else ""
    )
