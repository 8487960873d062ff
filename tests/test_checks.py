"""`manage.py check` sees what is missing, and the settings are fit for a server that others may reach."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple, cast

import psutil
from django.core.management import call_command

from npuproxy import checks


class Process(NamedTuple):
    """A process of the machine, as psutil tells of it."""

    info: dict[str, object]


def test_all_checks_pass_with_those_for_a_deployment() -> None:
    said = io.StringIO()
    call_command("check", "--fail-level", "WARNING", stdout=said, stderr=said)
    call_command(
        "check", "--deploy", "--tag", "security", "--fail-level", "WARNING", stdout=said, stderr=said
    )
    assert "no issues" in said.getvalue()


def test_a_checkout_without_its_models_is_told_so(tmp_path: Path) -> None:
    found = checks.builtin_models_are_there(None, root=tmp_path)
    assert [message.id for message in found] == ["npuproxy.E001", "npuproxy.E001"]
    assert "demo" in found[0].msg
    assert checks.builtin_models_are_there(None) == []


def test_two_servers_on_one_machine_are_a_warning() -> None:
    def running(*commands: list[str] | None) -> list[psutil.Process]:
        return cast(
            list[psutil.Process],
            [Process({"pid": pid, "cmdline": command}) for pid, command in enumerate(commands, start=7)],
        )

    one = ["/venv/bin/python", "manage.py", "serve", "--port", "1"]
    other = ["python3", "/opt/npuproxy/manage.py", "serve"]
    assert checks.one_server_has_the_devices(None, running(one, None, [], ["vim", "manage.py"])) == []
    found = checks.one_server_has_the_devices(None, running(one, ["sh"], other))
    assert [message.id for message in found] == ["npuproxy.W001"]
    assert "processes 7, 9" in found[0].msg
