"""`manage.py backend test`: what it finds at a real server, and for each failure the line that mends it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import certificates
import pytest
from conftest import RunningServer
from scripted_server import OLLAMA_MODELS, OPENAI_MODELS, Answer, scripted

from inference.remote import RemoteSpec
from registry.backend_probe import Answered, Failed, probe

KEY = "sk-that-must-not-show"


def spec(url: str, protocol: Any = "openai", **more: Any) -> RemoteSpec:
    return RemoteSpec(id="box", protocol=protocol, url=url, **more)


def found(wanted: RemoteSpec, model: str = "") -> Answered:
    answer = probe(wanted, model)
    assert isinstance(answer, Answered), answer
    return answer


def failed(wanted: RemoteSpec, model: str = "") -> Failed:
    answer = probe(wanted, model)
    assert isinstance(answer, Failed), answer
    return answer


@pytest.mark.parametrize("protocol", ["ollama", "openai", "anthropic"])
def test_a_real_server_tells_its_models_and_answers_in_each_protocol(
    server: RunningServer, protocol: str
) -> None:
    answer = found(spec(server.url, protocol), "demo")
    assert "demo:latest" in answer.served
    assert answer.reply is not None
    assert answer.reply.text
    assert 0 < answer.reply.first_s <= answer.reply.total_s
    assert answer.reply.completion_tokens


def test_the_rules_of_the_row_say_which_models_requests_get(server: RunningServer) -> None:
    wanted = spec(server.url, excluded=("all-*",), models={"gpt-4o:latest": "demo:latest"})
    answer = found(wanted, "gpt-4o")
    assert {"gpt-4o:latest", "demo:latest"} <= set(answer.served)
    assert "all-minilm:latest" not in answer.served
    assert answer.left_out == ("all-minilm:latest",)
    assert answer.reply is not None
    assert answer.reply.model == "demo:latest"
    assert failed(wanted, "all-minilm:latest").mend.option == "--models PATTERNS"
    assert "it has no model 'gpt-5'; it has" in failed(wanted, "gpt-5").fault


def test_nobody_listens_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = failed(spec(f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert "cannot be reached" in answer.fault
    assert answer.mend == ("start it, or give the port on which it listens", "--url URL")


def test_a_name_that_is_not_known() -> None:
    answer = failed(spec("http://no-such-host.invalid:1"))
    assert "host name is not known" in answer.fault
    assert answer.mend.option == "--url URL"


@pytest.mark.parametrize(("key", "words"), [("", "it wants a key"), (KEY, "it refuses the key")])
def test_a_key_that_is_missing_and_one_that_is_wrong(key: str, words: str) -> None:
    """The server repeats the key that it got, as some do."""
    said = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    with scripted({"/v1/models": Answer(401, json.dumps(said).encode())}) as upstream:
        answer = failed(spec(upstream.url, key=key))
    assert answer.fault.startswith(words)
    assert answer.mend.option == "--key-stdin"
    assert not key or KEY not in repr(answer)


@pytest.mark.parametrize(
    ("says", "is_"), [("openai", "ollama"), ("anthropic", "ollama"), ("ollama", "openai")]
)
def test_it_speaks_another_api_than_the_row_says(says: str, is_: str) -> None:
    path, models = ("/api/tags", OLLAMA_MODELS) if is_ == "ollama" else ("/v1/models", OPENAI_MODELS)
    with scripted({path: models}) as upstream:
        answer = failed(spec(upstream.url, says))
    assert f"it does not speak the API of {says}, but that of {is_}" in answer.fault
    assert answer.mend == ("say so", f"--protocol {is_}")


@pytest.mark.parametrize(
    ("answer", "fault", "option"),
    [
        (Answer(404), "/v1/models answers 404", "--url URL"),
        (Answer(200, b"<html>hello</html>"), "/v1/models gives no list of models", "--url URL"),
        (Answer(301, b"", {"Location": "https://other/v1?x=1"}), "it redirects to https://other/v1", "--url URL"),
        (Answer(503, b'{"error": {"message": "loading"}}'), "/v1/models answers 503: loading", ""),
    ],
)  # fmt: skip
def test_what_is_no_list_of_models(answer: Answer, fault: str, option: str) -> None:
    with scripted({"/v1/models": answer}) as upstream:
        found = failed(spec(upstream.url))
    assert found.fault.startswith(fault)
    assert found.mend.option == option


def test_a_model_that_fails_over_there() -> None:
    broken = Answer(500, b'{"error": {"message": "out of memory"}}')
    with scripted({"/v1/models": OPENAI_MODELS, "/v1/chat/completions": broken}) as upstream:
        answer = failed(spec(upstream.url), "m-7b")
    assert answer.fault == "/v1/chat/completions answers 500: out of memory"


def test_certificates_are_checked_and_an_authority_may_be_named(tmp_path: Path) -> None:
    authority = certificates.Authority(tmp_path)
    with scripted({"/v1/models": OPENAI_MODELS}, authority.issue("box")) as upstream:
        untrusted = failed(spec(upstream.url, key=KEY))
        assert "certificate is not trusted" in untrusted.fault
        assert untrusted.mend.option == "--ca-file FILE"
        assert upstream.seen == []  # and the key was not sent
        assert found(spec(upstream.url, ca_file=str(authority.path))).served == ("m-7b", "n-70b")
        assert found(spec(upstream.url, verify_tls=False)).served == ("m-7b", "n-70b")
        plain = failed(spec(upstream.url.replace("https", "http")))
        assert plain.mend.option == "--url https://…"
    assert failed(spec("https://127.0.0.1:1", ca_file=str(tmp_path / "none"))).mend.option == "--ca-file FILE"


def test_tls_where_none_is_spoken() -> None:
    with scripted({"/v1/models": OPENAI_MODELS}) as upstream:
        answer = failed(spec(upstream.url.replace("http", "https")))
    assert answer.mend == ("write its address with http", "--url http://…")


def test_a_version_in_the_address_stands_in_the_place_of_the_api_s_own() -> None:
    with scripted({"/v3/models": OPENAI_MODELS, "/api/v1/models": OPENAI_MODELS}) as upstream:
        assert found(spec(f"{upstream.url}/v3")).served
        assert found(spec(f"{upstream.url}/api")).served
        failed(spec(upstream.url))


def test_the_key_goes_out_as_the_api_wants_it() -> None:
    with scripted({"/v1/models": OPENAI_MODELS, "/api/tags": OLLAMA_MODELS}) as upstream:
        probe(spec(upstream.url, key=KEY))
        probe(spec(upstream.url, "ollama", key=KEY))
    assert {headers.get("Authorization") for _, headers in upstream.seen} == {f"Bearer {KEY}"}
