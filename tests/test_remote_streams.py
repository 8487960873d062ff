"""Answers of another server through the doors that are not HTTP streams: gRPC and the WebSocket, whole and cut off; and
bare completions between two servers of ours."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import odd_upstream
import pytest
from conftest import RunningServer, free_port, start_server
from grpc_client import dial as call_grpc
from grpc_client import method, prompt, refusal, stream
from server_rows import eventually, manage
from socket_client import ask as ask_socket
from socket_client import dial

ROWS = """
from registry.models import Backend
for mode in ("good", "cut", "refuses", "long"):
    url = {odd!r} + "/" + mode
    Backend.objects.create(name=mode, protocol="openai", url=url, aliases=f"{{mode}}/m=m")
Backend.objects.create(name="twin", protocol="openai", url={twin!r}, aliases="twin/demo=demo:latest")
"""


@pytest.fixture(scope="module")
def front(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Before a server that misbehaves, and before another one of ours."""
    running = start_server(tmp_path_factory.mktemp("front"), NPU_PROXY_GRPC_PORT=str(free_port()))
    with odd_upstream.running() as upstream:
        try:
            running.wait_until_ready()
            written = manage(running.data_dir, "shell", "-c", ROWS.format(odd=upstream.url, twin=server.url))
            assert written.returncode == 0, written.stderr
            eventually(
                lambda: {"good/m", "cut/m", "refuses/m", "long/m", "twin/demo"} <= _models(running) or None
            )
            yield running
        finally:
            running.stop()


def _models(running: RunningServer) -> set[str]:
    with urllib.request.urlopen(f"{running.url}/v1/models", timeout=60) as response:
        return {model["id"].removesuffix(":latest") for model in json.load(response)["data"]}


def test_grpc_has_the_answer_of_another_server_whole_and_streamed(front: RunningServer) -> None:
    with call_grpc(front.grpc) as channel:
        whole: Any = method(channel, "Generate")(prompt(model="good/m"), timeout=60)
        parts = stream(channel, "GenerateStream", prompt(model="good/m"))
    assert whole.response == "".join(part.token for part in parts) == "one two three"
    assert whole.routing.backend == parts[-1].routing.backend == "good"
    assert whole.stats.tokens == parts[-1].stats.tokens == 3


def test_grpc_ends_with_a_status_when_another_server_breaks_off(front: RunningServer) -> None:
    with call_grpc(front.grpc) as channel:
        code, words = refusal(channel, "Generate", prompt(model="cut/m"))
        assert (code, words.startswith("cut: its answer is not")) == (grpc.StatusCode.UNAVAILABLE, True), (
            words
        )
        answer = method(channel, "GenerateStream")(prompt(model="cut/m"), timeout=60)
        assert next(answer).token == "one"
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            list(answer)
        code, words = refusal(channel, "Generate", prompt(model="refuses/m"))
        assert (code, "is too hot" in words) == (grpc.StatusCode.INVALID_ARGUMENT, True), words


def test_an_error_after_the_first_token_has_its_code_and_what_is_known_so_far(front: RunningServer) -> None:
    with dial(front) as socket:
        token, error = ask_socket(socket, "breaks", model="cut/m")
        (refused,) = ask_socket(socket, "refused", model="refuses/m")
    assert (token["token"], token["done"]) == ("one", False)
    assert set(error) == {
        *("request_id", "error", "code", "done", "ttft_ms", "total_time_ms", "token_count", "backend"),
    }
    assert (error["code"], error["done"], error["backend"]) == ("backend_failed", True, "cut")
    assert (error["ttft_ms"], error["token_count"]) == (token["ttft_ms"], 1)
    assert error["total_time_ms"] >= error["ttft_ms"]
    assert (refused["code"], "ttft_ms" in refused) == ("invalid_request", False)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/messages", "prompt is too long: 9000 tokens > 4096 maximum (said by long)"),
        (
            "/v1/chat/completions",
            "maximum context length is 4096 tokens. However, your messages resulted in 9000",
        ),
        ("/api/chat", "the prompt has 9000 tokens, the context holds 4096"),
    ],
)
def test_a_server_that_finds_a_prompt_too_long_is_quoted_in_the_callers_words(
    front: RunningServer, path: str, words: str
) -> None:
    body = {"model": "long/m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    request = urllib.request.Request(f"{front.url}{path}", json.dumps(body).encode())
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    with refused.value as answer:
        told = json.load(answer)["error"]
    assert answer.status == 400
    assert words in (told if isinstance(told, str) else told["message"])
    if path == "/v1/chat/completions":
        assert told["code"] == "context_length_exceeded"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "more",
    [{}, {"prompt": ["How do I", "pull a"], "n": 2}, {"prompt": [5, 6, 7, 8]}],
    ids=["text", "several", "token ids"],
)
def test_a_bare_completion_of_another_server_of_ours_passes_as_it_is(
    server: RunningServer, front: RunningServer, streamed: bool, more: dict[str, Any]
) -> None:
    name = f"bare.{streamed}.{len(more)}.{len(more.get('prompt', ''))}"
    body = {"prompt": "How do I", "max_tokens": 8, "temperature": 0, "seed": 1, "stream": streamed, **more}
    direct = _texts(_completion(server, body | {"model": "demo"}))
    assert _texts(_completion(front, body | {"model": "twin/demo"}, name)) == direct
    eventually(lambda: f"[{name}] POST /v1/completions -> openai.completions" in server.log() or None)


def _completion(running: RunningServer, body: dict[str, Any], request_id: str = "direct") -> bytes:
    headers = {"X-Request-ID": request_id}
    request = urllib.request.Request(f"{running.url}/v1/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        found: bytes = response.read()
    return found


def _texts(answer: bytes) -> dict[int, str]:
    """By the index of the choice."""
    lines = [line[6:] for line in answer.splitlines() if line.startswith(b"data: {")] or [answer]
    found: dict[int, str] = {}
    for chunk in map(json.loads, lines):
        for choice in chunk["choices"]:
            found[choice["index"]] = found.get(choice["index"], "") + choice["text"]
    return found
