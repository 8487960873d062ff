"""llama.cpp's server behind this one: `demo` as a GGUF file there, asked in every dialect here."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import client_scenarios
import gguf_models
import httpx
import pytest
from conftest import RunningServer, free_port, start_server
from server_rows import manage
from wire_clients import claude, native, v1

MODEL = "demo-gguf"
MESSAGES: Any = [{"role": "user", "content": "How do I pull a model?"}]
START_S = 90.0


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL. Skipped where its environment is not installed, except in CI."""
    python = client_scenarios.command_of("llama_cpp", "python")
    folder, port = tmp_path_factory.mktemp("llama_cpp"), free_port()
    model = gguf_models.write_demo(folder / "demo.gguf", "F16")
    command = [str(python), "-m", "llama_cpp.server", "--model", str(model), "--model_alias", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "1024", "--n_threads", "1"]
    log = folder / "server.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/v1/models", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(f"llama.cpp's server did not start:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def front(llama_cpp: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("front"))
    try:
        running.wait_until_ready()
        added = manage(
            running.data_dir, "backend", "add", "llama", "--protocol", "openai", "--url", llama_cpp
        )
        assert added.returncode == 0, added.stderr
        deadline = time.monotonic() + 30
        while MODEL not in httpx.get(f"{running.url}/v1/models", timeout=30).text:
            assert time.monotonic() < deadline, running.log()[-2000:]
            time.sleep(0.1)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def directly(llama_cpp: str) -> str:
    """What it answers to whoever asks it itself."""
    answer = v1(llama_cpp).chat.completions.create(
        model=MODEL, messages=MESSAGES, temperature=0, max_tokens=40
    )
    assert answer.choices[0].message.content
    return answer.choices[0].message.content


def test_openais_client_is_told_what_llama_cpp_says(front: RunningServer, directly: str) -> None:
    stream = v1(front.url).chat.completions.create(
        model=MODEL, messages=MESSAGES, temperature=0, max_tokens=40, stream=True
    )
    parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(parts) == directly
    assert len(parts) > 20
    whole = v1(front.url).chat.completions.with_raw_response.create(
        model=MODEL, messages=MESSAGES, temperature=0, max_tokens=40
    )
    assert whole.headers["x-backend-used"] == "llama"
    assert whole.headers["x-npu-proxy-execution-device"].startswith("llama")
    found = whole.parse()
    assert found.choices[0].message.content == directly
    assert found.usage is not None
    assert (found.usage.completion_tokens, found.choices[0].finish_reason) == (40, "length")


def test_ollamas_and_anthropics_clients_are_told_the_same(front: RunningServer, directly: str) -> None:
    options = {"temperature": 0, "num_predict": 40}
    parts = [
        part.message.content or ""
        for part in native(front.url).chat(MODEL, MESSAGES, options=options, stream=True)
    ]
    assert "".join(parts) == directly
    with claude(front.url).messages.stream(
        model=MODEL, messages=MESSAGES, max_tokens=40, extra_body={"temperature": 0}
    ) as stream:
        said = "".join(stream.text_stream)
        assert stream.get_final_message().stop_reason == "max_tokens"
    assert said == directly


def test_what_llama_cpp_refuses_is_told_and_a_stream_that_it_leaves_empty_too(front: RunningServer) -> None:
    body: Any = {"model": MODEL, "messages": [{"role": "user", "content": "token " * 4000}], "max_tokens": 5}
    refused = httpx.post(f"{front.url}/v1/chat/completions", json=body, timeout=60)
    assert (refused.status_code, "maximum context length is 1024" in refused.text) == (400, True)
    empty = httpx.post(
        f"{front.url}/api/chat", json=body, timeout=60
    )  # asked of it as a stream: 200, and no word
    assert (empty.status_code, empty.json()["error"].startswith("llama: ")) == (502, True)


def test_the_command_finds_the_server_and_has_it_answer(front: RunningServer) -> None:
    tested = manage(front.data_dir, "backend", "test", "llama", "--model", MODEL)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert MODEL in tested.stdout
