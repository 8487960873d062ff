"""Two servers, one of which sends requests on to the other: what clients see of it, in every dialect."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import RunningServer, start_server
from server_rows import manage
from wire_clients import claude, native, v1

QUESTION = "How do I pull a model?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
READY_S = 30.0
ROWS = """
from registry.models import Backend
for protocol in ("openai", "ollama", "anthropic"):
    aliases = f"{{protocol}}/demo=demo:latest\\n{{protocol}}/minilm=all-minilm:latest"
    Backend.objects.create(name=f"by-{{protocol}}", protocol=protocol, url={url!r}, aliases=aliases, priority=1)
"""
PROTOCOLS = ("openai", "ollama", "anthropic")


@pytest.fixture(scope="module")
def front(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """It has the same models as the server behind it, which it knows under three names and protocols."""
    running = start_server(tmp_path_factory.mktemp("front"), NPU_PROXY_DEVICE="CPU")
    try:
        running.wait_until_ready()
        written = manage(running.data_dir, "shell", "-c", ROWS.format(url=server.url))
        assert written.returncode == 0, written.stderr
        _wait_for_models(running)
        yield running
    finally:
        running.stop()


def _wait_for_models(running: RunningServer) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        named = {model["id"] for model in ask(running, "/v1/models")[1]["data"]}
        if {f"{protocol}/demo:latest" for protocol in PROTOCOLS} <= named:
            return
        time.sleep(0.1)
    pytest.fail(f"the front server does not list the models behind it:\n{running.log()[-2000:]}")


def ask(
    running: RunningServer, path: str, body: object = None, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers in lower case."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{running.url}{path}", data, named)
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        told = {name.lower(): value for name, value in response.headers.items()}
        return response.status, json.loads(response.read() or b"null"), told


def by_openai(url: str, model: str, stream: bool) -> str:
    wanted: Any = {"model": model, "messages": MESSAGES, "temperature": 0, "reasoning_effort": "none"}
    chats = v1(url).chat.completions
    if not stream:
        return str(chats.create(**wanted).choices[0].message.content)
    chunks = chats.create(**wanted, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def by_ollama(url: str, model: str, stream: bool) -> str:
    wanted: Any = {"model": model, "messages": MESSAGES, "options": {"temperature": 0}, "think": False}
    if not stream:
        return str(native(url).chat(**wanted).message.content)
    return "".join(part.message.content or "" for part in native(url).chat(**wanted, stream=True))


def by_anthropic(url: str, model: str, stream: bool) -> str:
    wanted: Any = {"model": model, "messages": MESSAGES, "extra_body": {"temperature": 0}, "max_tokens": 100}
    if not stream:
        return "".join(getattr(part, "text", "") for part in claude(url).messages.create(**wanted).content)
    with claude(url).messages.stream(**wanted) as answer:
        return "".join(answer.text_stream)


CLIENTS: dict[str, Callable[[str, str, bool], str]] = {
    "openai": by_openai,
    "ollama": by_ollama,
    "anthropic": by_anthropic,
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("client", CLIENTS)
def test_every_dialect_through_every_protocol_says_what_the_server_behind_says(
    server: RunningServer, front: RunningServer, client: str, protocol: str, stream: bool
) -> None:
    talk = CLIENTS[client]
    direct = talk(server.url, "demo", stream)
    assert len(direct) > 10
    assert talk(front.url, f"{protocol}/demo", stream) == direct


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
def test_vectors_are_those_of_the_server_behind(
    server: RunningServer, front: RunningServer, path: str, protocol: str
) -> None:
    texts = {"input": ["a short text", "another one"]}
    _, there, _ = ask(server, path, {"model": "all-minilm", **texts})
    status, here, headers = ask(front, path, {"model": f"{protocol}/minilm", **texts})
    assert (status, headers["x-backend-used"]) == (200, f"by-{protocol}")
    vectors = [
        (answer.get("embeddings") or [one["embedding"] for one in answer["data"]]) for answer in (there, here)
    ]
    for expected, found in zip(*vectors, strict=True):
        assert found == pytest.approx(expected, abs=1e-6)
    assert here["model"] == f"{protocol}/minilm"


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": MESSAGES, "temperature": 0, "max_tokens": 5, **more}


def test_an_answer_says_which_server_and_which_of_its_devices(front: RunningServer) -> None:
    status, answer, headers = ask(front, "/v1/chat/completions", chat("openai/demo"))
    assert status == 200
    assert answer["model"] == "openai/demo"
    assert headers["x-npu-proxy-device"] == "by-openai/CPU"
    assert headers["x-npu-proxy-routed-device"] == headers["x-backend-used"] == "by-openai"
    assert int(headers["x-npu-proxy-token-count"]) == answer["usage"]["prompt_tokens"]
    assert answer["usage"]["completion_tokens"] == 5


def test_the_log_knows_the_tokens_of_an_answer_that_passed(front: RunningServer) -> None:
    body = chat("openai/demo", stream=True, stream_options={"include_usage": True})
    data = json.dumps(body).encode()
    request = urllib.request.Request(
        f"{front.url}/v1/chat/completions", data, {"X-Request-ID": "req_passed_on"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert b"[DONE]" in response.read()
    (line,) = (
        line for line in front.log().splitlines() if "[req_passed_on]" in line and "openai.chat" in line
    )
    assert "routed=by-openai executed=by-openai/CPU" in line
    assert " completion_tokens=5 " in line
    assert " prompt_tokens=0 " not in line


def test_a_model_that_is_here_stays_here_until_a_header_names_another_server(front: RunningServer) -> None:
    _, _, here = ask(front, "/v1/chat/completions", chat("demo"))
    assert here["x-npu-proxy-routed-device"] == "CPU"
    assert "by-openai" in here["x-alternatives"]
    _, _, there = ask(front, "/v1/chat/completions", chat("demo"), X_Target_Backend="by-ollama")
    assert (there["x-npu-proxy-routed-device"], there["x-npu-proxy-route-reason"]) == ("by-ollama", "target")
    status, answer, _ = ask(front, "/v1/chat/completions", chat("demo"), X_Target_Backend="nowhere")
    assert status == 400
    assert "known here: CPU, by-anthropic, by-ollama, by-openai" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat("openai/demo")),
        ("/v1/embeddings", {"model": "openai/minilm", "input": "x"}),
    ],
)
def test_a_request_that_may_not_leave_is_refused(front: RunningServer, path: str, body: Any) -> None:
    status, answer, _ = ask(front, path, body, X_Remote_Allowed="false")
    assert status == 403
    assert "is kept on this machine by" in answer["error"]["message"]


def test_where_a_request_would_go_is_told_of_models_that_are_elsewhere(front: RunningServer) -> None:
    alone = {"model": "openai/demo", "messages": [{"role": "user", "content": "hello"}], "odd_field": 1}
    status, there, _ = ask(front, "/routes/explain", alone)
    assert (status, there["winner"], there["prompt_tokens"]) == (200, "by-openai", None)
    assert there["chain"] == ["by-openai"]
    status, both, _ = ask(front, "/routes/explain", alone | {"model": "demo"})
    assert (status, both["winner"]) == (200, "CPU")
    assert both["chain"].index("CPU") < min(both["chain"].index(f"by-{name}") for name in PROTOCOLS)
    assert both["prompt_tokens"] > 0
    status, kept, _ = ask(front, "/routes/explain", alone, X_Remote_Allowed="no")
    assert (status, kept["winner"]) == (200, None)
    assert kept["why"].startswith("this request is kept on this machine by X-Remote-Allowed: false")
    (box,) = kept["candidates"]
    assert box["fault_words"] == "kept on this machine by X-Remote-Allowed: false"


def test_lists_show_what_other_servers_have_after_what_is_here(front: RunningServer) -> None:
    _, models, _ = ask(front, "/v1/models")
    owners = {model["id"]: model["owned_by"] for model in models["data"]}
    assert owners["openai/demo:latest"] == "by-openai"
    assert owners["demo:latest"] == "library"
    _, tags, _ = ask(front, "/api/tags")
    (tag,) = (tag for tag in tags["models"] if tag["name"] == "ollama/demo:latest")
    assert (tag["remote_model"], tag["remote_host"]) == ("demo:latest", "by-ollama")
    assert "remote_host" not in next(tag for tag in tags["models"] if tag["name"] == "demo:latest")
    _, shown, _ = ask(front, "/api/show", {"model": "ollama/demo"})
    assert (shown["remote_model"], shown["remote_host"]) == ("demo:latest", "by-ollama")
    _, listed, _ = ask(front, "/api/tags", X_NPU_Proxy_Via="npuproxy-of-another")
    assert not [tag for tag in listed["models"] if "remote_host" in tag], (
        "what a server lists for another one is its own"
    )


def test_tokens_are_counted_where_the_model_is(server: RunningServer, front: RunningServer) -> None:
    path, body = "/v1/messages/count_tokens", {"model": "demo", "messages": MESSAGES}
    _, expected, _ = ask(server, path, body)
    status, counted, _ = ask(front, path, {**body, "model": "anthropic/demo"})
    assert (status, counted) == (200, expected)
    status, refused, _ = ask(front, path, {**body, "model": "openai/demo"})
    assert status == 400
    assert "count no tokens" in refused["error"]["message"]
    status, refused, _ = ask(front, "/v1/tokenize", {"model": "openai/demo", "prompt": "x"})
    assert status == 400
    assert "another server" in refused["error"]["message"]


def test_a_refusal_comes_in_the_words_of_the_server_behind(front: RunningServer) -> None:
    status, answer, _ = ask(
        front, "/v1/chat/completions", chat("openai/demo", messages=[{"role": "nobody", "content": "x"}])
    )
    assert status == 400
    assert "role" in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


def test_the_state_of_other_servers_is_seen(front: RunningServer) -> None:
    _, health, _ = ask(front, "/health/devices")
    found = {device["id"]: device for device in health["devices"]}
    assert (found["CPU"]["local"], found["by-openai"]["local"]) == (True, False)
    assert found["by-openai"]["available"] is True
    assert found["by-openai"]["class"] == "dgpu"


def test_fields_that_are_refused_here_pass_to_a_server_of_the_same_dialect(
    server: RunningServer, front: RunningServer
) -> None:
    odd = {"logit_bias": {"5": 1}}
    _, direct, _ = ask(server, "/v1/chat/completions", chat("demo", **odd))
    status, answer, _ = ask(front, "/v1/chat/completions", chat("openai/demo", **odd))
    assert status == 400
    assert answer["error"]["message"] == f"by-openai: {direct['error']['message']}"
    status, answer, _ = ask(front, "/v1/chat/completions", chat("ollama/demo", **odd))
    assert status == 400
    assert "by-ollama" not in answer["error"]["message"], "what cannot be translated is refused here"


def test_several_answers_pass_as_one_request(front: RunningServer) -> None:
    status, answer, headers = ask(front, "/v1/chat/completions", chat("openai/demo", n=2))
    assert (status, len(answer["choices"])) == (200, 2)
    assert headers["x-npu-proxy-device"] == "by-openai/CPU"
    assert answer["usage"]["completion_tokens"] == 10
    status, answer, _ = ask(front, "/v1/chat/completions", chat("ollama/demo", n=2))
    assert (status, len(answer["choices"])) == (200, 2)


def test_a_model_behind_is_loaded_and_let_go_by_ollamas_empty_request(front: RunningServer) -> None:
    for keep_alive, reason in ((60, "load"), (0, "unload")):
        body = {"model": "ollama/demo", "keep_alive": keep_alive, "stream": False}
        status, answer, _ = ask(front, "/api/generate", body)
        assert (status, answer["done_reason"]) == (200, reason)
