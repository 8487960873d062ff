"""What keeps requests on this machine: a key's policy, a model's setting; and keys that name other servers."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from admin_pages import Browser, cells, said
from django.core.management import CommandError, call_command

from compat_api import key_bounds
from inference.types import Placement
from registry import key_ring, removal, tables
from registry.key import Key
from registry.models import ApiKey, Backend, Model

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> Any:
    """What the command prints."""
    with redirect_stdout(StringIO()) as out:
        call_command(*arguments, "--json", stderr=StringIO())
    return json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("key", "wish", "remote"),
    [
        (None, True, True),
        (None, False, False),
        (Key(id=1, name="k"), True, True),
        (Key(id=1, name="k"), False, False),
        (Key(id=1, name="k", remote=False), True, False),
        (Key(id=1, name="k", remote=False), False, False),
    ],
)
def test_a_key_keeps_a_request_here_and_never_lets_one_out(key: Key | None, wish: bool, remote: bool) -> None:
    kept_by = () if wish else ("X-Remote-Allowed: false",)
    bound = key_bounds.within(key, Placement(remote=wish, kept_by=kept_by))
    assert bound.remote is remote
    by_key = ("this API key",) if key is not None and not key.remote else ()
    assert bound.kept_by == kept_by + by_key


def test_a_key_is_made_for_this_machine_alone_by_command() -> None:
    assert run("apikey", "create", "home", "--local-only")["local_only"] is True
    assert run("apikey", "create", "anywhere")["local_only"] is False
    keys = {row.name: key_ring.of(row).remote for row in ApiKey.objects.all()}
    assert keys == {"home": False, "anywhere": True}


def test_a_key_may_name_other_servers_that_there_are() -> None:
    Backend(name="box", protocol="ollama", url="http://box:1").save()
    assert run("apikey", "create", "a", "--devices", "cpu, Box")["devices"] == "CPU, box"
    with pytest.raises(CommandError, match=r"--devices: 'bax' is not a device; .* or another server: box"):
        call_command("apikey", "create", "b", "--devices", "bax")


def test_a_model_is_kept_here_by_command_and_so_are_its_copies() -> None:
    tables.prepare()
    assert run("models", "set", "demo", "--local-only") == {
        "name": "demo:latest",
        "local_only": True,
        "pinned": False,
    }
    assert Model.objects.get(name="demo:latest").spec().local_only
    assert run("models", "show", "demo")["local_only"] is True
    removal.copy("demo", "further")
    assert Model.objects.get(name="further:latest").local_only
    assert run("models", "set", "demo", "--no-local-only", "--pinned")["local_only"] is False
    row = Model.objects.get(name="demo:latest")
    assert (row.local_only, row.pinned) == (False, True)


def test_what_takes_the_name_of_a_model_that_is_kept_here_is_kept_here_too() -> None:
    tables.prepare()
    removal.copy("demo", "mine")
    run("models", "set", "mine", "--local-only")
    removal.copy("demo", "mine")
    assert Model.objects.get(name="mine:latest").local_only


def test_a_setting_that_says_nothing_is_refused() -> None:
    tables.prepare()
    with pytest.raises(CommandError, match="say what: --local-only"):
        call_command("models", "set", "demo")


def test_admin_keeps_a_model_here_and_lets_it_out_again() -> None:
    tables.prepare()
    browser = Browser()
    row = Model.objects.get(name="demo:latest")
    assert said(browser.act("model", "keep_here", row)) == ["Kept on this machine 1 of 1 selected"]
    row.refresh_from_db()
    assert row.local_only
    assert any("this machine only" in name for name in cells(browser.get("/model/"), "shown_name"))
    browser.act("model", "let_out", row)
    row.refresh_from_db()
    assert not row.local_only


def test_admin_shows_which_keys_stay_here() -> None:
    ApiKey(name="k", sha256="0" * 64, shown="npk_x", remote_allowed=False).save()
    assert cells(Browser().get("/apikey/"), "bounds") == ["this machine only"]
