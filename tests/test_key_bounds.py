"""Keys against a real server: whose they are, what they open, what they bound, and when they end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import ollama
import openai
import pytest
from conftest import RunningServer, start_server
from interfaces import own_address
from keys import apikey
from server_rows import eventually

REMOTE = {"X-Forwarded-For": "192.0.2.7"}
"""What makes a request of this machine one from elsewhere: a proxy that nobody trusts stands between."""

CHAT: dict[str, Any] = {"model": "demo", "stream": False, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that these tests fill with keys."""
    running = start_server(tmp_path_factory.mktemp("keys"), NPU_PROXY_DEVICE="CPU", NPU_PROXY_HOST="0.0.0.0")
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def ask(
    server: RunningServer, key: str = "", path: str = "/api/chat", remote: bool = True, **more: Any
) -> httpx.Response:
    """POST of a small chat, or a GET where `path` takes none."""
    headers = {**(REMOTE if remote else {}), **more.pop("headers", {})}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if path in ("/api/tags", "/v1/models", "/status"):
        return httpx.get(server.url + path, headers=headers, timeout=60, trust_env=False)
    answer: httpx.Response = httpx.post(
        server.url + path, json={**CHAT, **more}, headers=headers, timeout=60, trust_env=False
    )
    return answer


def test_a_key_that_was_just_made_opens_the_server_in_every_dialect(home: RunningServer) -> None:
    key = apikey(home, "create", "dialects")["key"]
    for name, value in (
        ("Authorization", f"Bearer {key}"),
        ("authorization", f"bearer {key}"),
        ("x-api-key", key),
    ):
        for path in ("/api/chat", "/v1/chat/completions", "/v1/messages"):
            answer = ask(home, path=path, headers={name: value}, max_tokens=4)
            assert answer.status_code == 200, answer.text
    listed = ask(home, key, "/v1/models").json()["data"]
    assert {"demo:latest"} <= {entry["id"] for entry in listed}


def test_without_a_key_each_dialect_says_so_in_its_envelope(home: RunningServer) -> None:
    for key in ("", "ollama", "sk-1234", "npk_" + "x" * 43, "npk_short", "' OR 1=1--"):
        native = ask(home, key)
        gpt = ask(home, key, "/v1/chat/completions")
        claude = ask(home, key, "/v1/messages")
        assert {answer.status_code for answer in (native, gpt, claude)} == {401}
        assert isinstance(native.json()["error"], str)
        assert gpt.json()["error"]["code"] == "invalid_api_key"
        assert claude.json()["error"]["type"] == "authentication_error"
        assert claude.json()["request_id"] == claude.headers["request-id"]
        assert native.headers["www-authenticate"] == "Bearer"
        if key:
            assert key not in native.text + gpt.text + claude.text


def test_the_official_clients_send_a_key_as_they_are(
    home: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = apikey(home, "create", "official")["key"]
    text: Any = [{"role": "user", "content": "Hello"}]
    for sent in (key, "wrong"):
        monkeypatch.setenv("OLLAMA_API_KEY", sent)
        common: Any = {"api_key": sent, "default_headers": REMOTE, "max_retries": 0}
        with (
            openai.OpenAI(base_url=f"{home.url}/v1", **common) as gpt,
            anthropic.Anthropic(base_url=home.url, **common) as claude,
            ollama.Client(host=home.url, headers=REMOTE) as native,
        ):
            if sent == key:
                assert gpt.chat.completions.create(model="demo", messages=text, max_tokens=4).choices
                assert claude.messages.create(model="demo", messages=text, max_tokens=4).content
                assert native.chat("demo", text, options={"num_predict": 4}).done
                continue
            with pytest.raises(openai.AuthenticationError):
                gpt.models.list()
            with pytest.raises(anthropic.AuthenticationError):
                claude.models.list()
            with pytest.raises(ollama.ResponseError, match="not known here"):
                native.list()


def test_on_this_machine_what_is_no_key_is_ignored(home: RunningServer) -> None:
    for key in ("ollama", "sk-1234", "npk_" + "x" * 43):
        assert ask(home, key, remote=False).status_code == 200


def test_a_revoked_key_ends_everywhere_within_seconds(home: RunningServer) -> None:
    key = apikey(home, "create", "leaver")["key"]
    assert ask(home, key).status_code == 200
    assert apikey(home, "revoke", "leaver")["state"] == "revoked"
    deadline = time.monotonic() + 30
    while ask(home, key, "/api/tags").status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    for remote in (True, False):
        answer = ask(home, key, remote=remote)
        assert (answer.status_code, answer.json()) == (401, {"error": "this API key is revoked"})


def test_the_scope_of_a_key_counts_on_this_machine_too(home: RunningServer) -> None:
    key = apikey(home, "create", "reader")["key"]
    for remote in (True, False):
        answer = ask(home, key, "/api/copy", remote, source="demo", destination="other")
        assert answer.status_code == 403
        assert answer.json() == {"error": "this API key has the scope infer; this needs manage"}
    manager = apikey(home, "create", "manager", "--scope", "manage")["key"]
    assert ask(home, manager, "/api/copy", source="demo", destination="of-manager").status_code == 200


def test_a_key_for_some_models_sees_and_runs_no_others(home: RunningServer) -> None:
    key = apikey(home, "create", "one-model", "--models", "all-mini*", "--scope", "manage")["key"]
    assert ask(home, key, "/api/embed", model="all-minilm", input="hello").status_code == 200
    for path in ("/api/chat", "/api/show", "/v1/chat/completions", "/v1/responses", "/v1/messages"):
        answer = ask(home, key, path, max_tokens=4, input="hello")
        assert answer.status_code == 403, path
        assert "does not allow the model 'demo'; it allows all-mini*" in answer.text
    assert ask(home, key, "/api/copy", source="demo", destination="all-mini2").status_code == 403
    made: dict[str, Any] = {"model": "all-mini3", "from": "demo"}
    assert ask(home, key, "/api/create", **made).status_code == 403
    assert ask(home, key, "/api/pull", model="demo").status_code == 403
    assert [entry["name"] for entry in ask(home, key, "/api/tags").json()["models"]] == ["all-minilm:latest"]
    assert [entry["id"] for entry in ask(home, key, "/v1/models").json()["data"]] == ["all-minilm:latest"]


def test_a_key_for_some_devices_runs_nowhere_else(home: RunningServer) -> None:
    elsewhere = apikey(home, "create", "npu-only", "--devices", "npu")["key"]
    answer = ask(home, elsewhere, headers={"X-NPU-Proxy-Device": "CPU"})
    assert (answer.status_code, answer.json()) == (
        403,
        {"error": "this API key does not allow CPU; it allows NPU"},
    )
    assert ask(home, elsewhere).status_code in (403, 503)
    here = apikey(home, "create", "cpu-only", "--devices", "CPU")["key"]
    answer = ask(home, here)
    assert (answer.status_code, answer.headers["x-npu-proxy-routed-device"]) == (200, "CPU")
    assert "x-alternatives" not in answer.headers


def test_more_requests_than_a_minute_has_are_told_when_to_try_again(home: RunningServer) -> None:
    key = apikey(home, "create", "slow", "--requests-per-minute", "2")["key"]
    assert [ask(home, key, "/api/tags").status_code for _ in range(2)] == [200, 200]
    native = ask(home, key)
    gpt = ask(home, key, "/v1/chat/completions")
    claude = ask(home, key, "/v1/messages")
    assert {answer.status_code for answer in (native, gpt, claude)} == {429}
    assert all(1 <= int(answer.headers["retry-after"]) <= 61 for answer in (native, gpt, claude))
    assert "its 2 requests of this minute" in native.json()["error"]
    assert gpt.json()["error"]["code"] == "rate_limit_exceeded"
    assert claude.json()["error"]["type"] == "rate_limit_error"


def test_the_tokens_of_a_minute_are_those_of_prompts_and_answers(home: RunningServer) -> None:
    key = apikey(home, "create", "frugal", "--tokens-per-minute", "20")["key"]
    first = ask(home, key, options={"num_predict": 30, "temperature": 0}).json()
    assert first["prompt_eval_count"] + first["eval_count"] >= 20
    refused = ask(home, key)
    assert refused.status_code == 429
    assert "its 20 tokens of this minute" in refused.json()["error"]


def test_use_is_written_down(home: RunningServer) -> None:
    key = apikey(home, "create", "counted")["key"]
    answer = ask(home, key, options={"num_predict": 8}).json()
    deadline = time.monotonic() + 30
    found: dict[str, Any] = {}
    while not found.get("requests") and time.monotonic() < deadline:
        found = next(entry for entry in apikey(home, "list") if entry["name"] == "counted")
    assert found["requests"] == 1
    assert found["tokens"] == answer["prompt_eval_count"] + answer["eval_count"]
    assert found["last_used_at"] is not None


def test_from_another_address_a_key_opens_what_is_closed(home: RunningServer) -> None:
    """Over an interface that is not loopback, without any header of a proxy."""
    own = own_address()
    key = apikey(home, "create", "neighbour")["key"]
    for sent, wanted in (({}, 401), ({"x-api-key": key}, 200)):
        url = f"http://{own}:{home.port}/api/tags"
        assert httpx.get(url, headers=sent, timeout=30, trust_env=False).status_code == wanted


def test_a_file_is_received_for_whom_a_key_allows_it_and_for_nobody_else(home: RunningServer) -> None:
    key = apikey(home, "create", "sender", "--scope", "manage")["key"]
    content = b"x" * 300_000
    url = f"{home.url}/api/blobs/sha256:{hashlib.sha256(content).hexdigest()}"
    assert ask(home, key, "/api/tags").status_code == 200
    for sent, wanted in (({}, 401), ({"Authorization": f"Bearer {key}"}, 201)):
        answer = httpx.post(url, content=content, headers={**REMOTE, **sent}, timeout=60, trust_env=False)
        assert answer.status_code == wanted, answer.text


def test_the_log_names_the_key_of_a_request_by_its_name(home: RunningServer) -> None:
    key = apikey(home, "create", "in the log")["key"]
    assert ask(home, key).status_code == 200
    eventually(lambda: "key='in the log'" in home.log())


def test_no_secret_is_on_disk_or_in_the_log(home: RunningServer) -> None:
    key = apikey(home, "create", "quiet")["key"]
    assert ask(home, key).status_code == 200
    assert ask(home, key[:-1] + "!").status_code == 401
    assert key[:-1] not in home.log()
    for path in home.data_dir.glob("npuproxy.sqlite3*"):
        assert key.encode() not in path.read_bytes()
    assert key not in json.dumps(apikey(home, "list"))
