"""`manage.py backend`: every verb. A key comes from standard input or a variable and is never shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from scripted_server import OPENAI_MODELS, Answer, scripted

from registry.models import Backend

pytestmark = pytest.mark.django_db(transaction=True)
KEY = "sk-from-standard-input"
ADD = ("add", "box", "--protocol", "openai", "--url", "https://box:8000/v1")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def ran(*arguments: str) -> Any:
        capsys.readouterr()
        call_command("backend", *arguments)
        out, err = capsys.readouterr()
        assert KEY not in out + err
        return json.loads(out) if "--json" in arguments else out + err

    return ran


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def types(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return types


def test_a_server_is_added_with_everything_that_a_row_may_say(run: Any, typed: Any) -> None:
    typed(f"{KEY}\n")
    more = (
        *("--key-stdin", "--class", "igpu", "--watts", "12.5", "--latency-ms", "350", "--tokens-per-s", "20"),
        *(
            "--priority",
            "7",
            "--models",
            "q*, *:7b",
            "--preferred",
            "q3",
            "--excluded",
            "*70b*",
            "--alias",
            "a=B",
        ),
        *("--alias", "c=D", "--max-size", "30B", "--no-verify-tls", "--slots", "2", "--first-byte-s", "9"),
        *("--silence-s", "8", "--note", "under the desk", "--no-enable", "--json"),
    )
    assert run(*ADD, *more) == {
        "name": "box", "protocol": "openai", "url": "https://box:8000", "key": "set", "class": "igpu", "watts": 12.5,
        "latency_ms": 350, "tokens_per_s": 20, "priority": 7, "models": ["q*", "*:7b"], "preferred": ["q3"],
        "excluded": ["*70b*"], "aliases": {"a:latest": "B", "c:latest": "D"}, "max_size": "30b", "verify_tls": False,
        "ca_file": "", "slots": 2, "first_byte_s": 9, "silence_s": 8, "enabled": False, "note": "under the desk",
    }  # fmt: skip
    assert Backend.objects.get().spec().key == KEY


def test_the_key_may_be_in_a_variable(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWS_TEST_KEY", KEY)
    run(*ADD, "--key-env", "ROWS_TEST_KEY")
    assert Backend.objects.get().spec().key == KEY
    with pytest.raises(CommandError, match="the variable NOT_SET_HERE is not set here"):
        run("edit", "box", "--key-env", "NOT_SET_HERE")


def test_no_key_is_taken_as_an_argument(run: Any) -> None:
    with pytest.raises(CommandError, match="ambiguous option: --key"):
        run(*ADD, "--key", "nothing")
    assert not Backend.objects.exists()


def test_an_empty_standard_input_is_no_key(run: Any, typed: Any) -> None:
    typed("")
    with pytest.raises(CommandError, match="standard input has no key"):
        run(*ADD, "--key-stdin")


def test_an_edit_changes_what_is_given_and_nothing_else(run: Any, typed: Any) -> None:
    typed(KEY)
    run(*ADD, "--key-stdin", "--watts", "5", "--models", "q*")
    run("edit", "BOX", "--watts", "6", "--models", "", "--class", "cpu")
    row = Backend.objects.get()
    assert (row.watts, row.supported, row.kind, row.spec().key) == (6, "", "cpu", KEY)
    with pytest.raises(
        CommandError, match="--url: the key was given for https://box:8000 and goes nowhere else"
    ):
        run("edit", "box", "--url", "https://elsewhere")
    run("edit", "box", "--url", "https://elsewhere", "--no-key")
    row.refresh_from_db()
    assert (row.url, row.sealed_key) == ("https://elsewhere", "")


def test_faults_are_said_by_their_flags(run: Any) -> None:
    with pytest.raises(CommandError, match=r"--class|invalid choice"):
        run(*ADD, "--class", "tpu")
    with pytest.raises(CommandError) as caught:
        run(*ADD[:-1], "box", "--max-size", "big", "--alias", "x", "--priority", "101")
    for flag in ("--url: 'box'", "--max-size: 'big'", "--alias: 'x'", "--priority: "):
        assert flag in str(caught.value)
    run(*ADD)
    with pytest.raises(CommandError, match="name: Backend with this Name already exists"):
        run(*ADD)
    with pytest.raises(CommandError, match="there is no backend 'bax'; there are: box"):
        run("show", "bax")


def test_lists_say_set_where_there_is_a_key(run: Any, typed: Any) -> None:
    assert "no other servers" in run("list")
    typed(KEY)
    run(*ADD, "--key-stdin")
    head, line = run("list").splitlines()
    assert dict(zip(head.split(), line.split(), strict=False))["KEY"] == "set"
    shown = run("show", "box")
    assert "key             set" in shown
    assert "watts           –" in shown


def test_servers_are_forgotten_once_somebody_agrees(run: Any, typed: Any) -> None:
    run(*ADD)
    for answer in ("", "n\n"):
        typed(answer)
        with pytest.raises(CommandError, match="nothing was removed"):
            run("rm", "box")
    typed("y\n")
    assert "removed box" in run("rm", "box")
    run(*ADD)
    assert run("rm", "box", "--yes", "--json") == [{"name": "box", "removed": True}]


def test_what_is_worth_a_word_is_said(run: Any, typed: Any) -> None:
    typed(KEY)
    said = run("add", "lan", "--protocol", "openai", "--url", "http://lan:1", "--key-stdin")
    assert "lan: its key and all prompts go to lan in the clear; use https" in said
    said = run("add", "me", "--protocol", "openai", "--url", "http://localhost:11435")
    assert "me: http://localhost:11435 is this server itself" in said


def test_a_file_is_imported_and_what_is_not_used_is_named(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "server: {http_port: 8080}\nbackends: [{id: a, type: ollama, endpoint: 'http://a:1', colour: red}]"
    )
    assert "would be added: a" in run("import", str(file), "--dry-run")
    assert not Backend.objects.exists()
    said = run("import", str(file))
    assert "added: a\n" in said
    assert "not used: server.http_port (here: NPU_PROXY_PORT)\n" in said
    assert "not used: backends[0].colour\n" in said
    assert run("import", str(file), "--json")["updated"] == ["a"]
    with pytest.raises(CommandError, match="cannot be read"):
        run("import", str(tmp_path / "none"))


def test_a_test_prints_what_it_found_or_what_mends_it(run: Any) -> None:
    with scripted({"/v1/models": OPENAI_MODELS}) as upstream:
        run("add", "up", "--protocol", "openai", "--url", upstream.url, "--excluded", "*70b*")
        said = run("test", "up")
        assert f"up: OpenAI at {upstream.url} answers in " in said
        assert "  m-7b\nleft out by its rules: n-70b\n" in said
        assert run("test", "up", "--json")["served"] == ["m-7b"]
        evil = {"object": "list", "data": [{"id": "evil\u202e\x1b[31m", "object": "model"}]}
        upstream.answers["/v1/models"] = Answer(200, json.dumps(evil).encode())
        assert "  evil\\u202e\\x1b[31m\n" in run("test", "up")
    with pytest.raises(CommandError, match=r"Start it, or give .*: `manage.py backend edit up --url URL`"):
        run("test", "up")
