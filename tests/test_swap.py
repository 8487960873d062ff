"""An NPU that holds one language model: the next one takes its place without a restart, and never before it is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningServer, start_server
from engines import BUILTIN
from server_rows import eventually, manage

ON_NPU = {"X-NPU-Proxy-Device": "NPU", "X-Target-Strict": "true"}
NUMBERS = {"type": "array", "items": {"type": "integer"}, "minItems": 900}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with two models: `demo`, and `twin` of the same weights beside another text."""
    folder = tmp_path_factory.mktemp("swap")
    twin = Path(shutil.copytree(BUILTIN / "demo", folder / "twin"))
    (twin / "SHA256SUMS").unlink()
    (twin / "NOTE.md").write_text("another model\n")
    (folder / "data").mkdir()
    assert manage(folder / "data", "migrate", "-v", "0").returncode == 0
    done = manage(folder / "data", "models", "import", str(twin), "--name", "twin")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def server(folder: Path, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """With an emulated NPU and the variables of the test's parameter."""
    variables: dict[str, str] = getattr(request, "param", {})
    running = start_server(folder, NPU_PROXY_NPU_EMULATION="true", **variables)
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def ask(server: RunningServer, model: str, **headers: str) -> httpx.Response:
    body = {"model": model, "prompt": "hello", "stream": False, "options": {"num_predict": 3}}
    return httpx.post(f"{server.url}/api/generate", json=body, headers={**ON_NPU, **headers}, timeout=120)


def on_npu(server: RunningServer) -> list[str]:
    models = httpx.get(f"{server.url}/api/ps", timeout=30).json()["models"]
    return [entry["name"] for entry in models if entry["size_vram"]]


def long_answer(server: RunningServer, tokens: int) -> Generator[dict[str, Any]]:
    body = {
        "model": "demo", "messages": [{"role": "user", "content": "numbers"}], "think": False,
        "options": {"num_predict": tokens}, "format": NUMBERS,
    }  # fmt: skip
    with httpx.stream("POST", f"{server.url}/api/chat", json=body, headers=ON_NPU, timeout=120) as answer:
        assert answer.status_code == 200
        yield from (json.loads(line) for line in answer.iter_lines())


def test_models_are_swapped_and_the_one_in_use_is_waited_for(server: RunningServer) -> None:
    first = ask(server, "demo")
    assert first.headers["X-NPU-Proxy-Device"] == "NPU (emulated)"
    assert on_npu(server) == ["demo:latest"]
    frames = long_answer(server, 300)
    assert not next(frames)["done"]
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(ask, server, "twin")
        said = list(frames)
        assert said[-1]["done"], "it was answered to its end"
        assert said[-1]["eval_count"] == 300
        assert waiting.result(120).status_code == 200
    assert on_npu(server) == ["twin:latest"]
    log = server.log()
    assert log.index("completion_tokens=300") < log.index("loaded twin:latest on NPU")
    assert ask(server, "demo").json()["response"] == first.json()["response"]
    assert on_npu(server) == ["demo:latest"]


@pytest.mark.parametrize("server", [{"NPU_PROXY_QUEUE_TIMEOUT": "1"}], indirect=True)
def test_the_wait_for_one_in_use_has_a_bound_and_leaves_it_in_use(server: RunningServer) -> None:
    ask(server, "demo")
    frames = long_answer(server, 3000)
    assert not next(frames)["done"]
    late = ask(server, "twin", **{"X-Deadline-Ms": "200"})
    assert (late.status_code, late.json()) == (
        504,
        {"error": "X-Deadline-Ms passed while the model was loaded"},
    )
    refused = ask(server, "twin")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert "no room for 'twin:latest' on NPU: 'demo:latest' was in use" in refused.text
    next(frames)
    frames.close()
    eventually(lambda: ask(server, "demo").status_code == 200)
    assert on_npu(server) == ["demo:latest"]


IMPATIENT = {"NPU_PROXY_BUSY_WAIT_MS": "1"}
PATIENT = {"NPU_PROXY_BUSY_WAIT_MS": "600000"}


def first_and_next(server: RunningServer) -> Iterator[httpx.Headers]:
    """The headers of one answer after the other, to requests that name no device."""
    body = {"model": "demo", "prompt": "hello", "stream": False, "options": {"num_predict": 3}}
    while True:
        yield httpx.post(f"{server.url}/api/generate", json=body, timeout=120).headers


@pytest.mark.parametrize("server", [IMPATIENT], indirect=True)
def test_while_the_npu_compiles_the_cpu_answers_at_once_and_the_headers_say_so(server: RunningServer) -> None:
    answers = first_and_next(server)
    first = next(answers)
    assert first["X-NPU-Proxy-Requested-Device"] == "NPU"
    assert first["X-NPU-Proxy-Device"] == "CPU"
    assert first["X-NPU-Proxy-Fallback"] == "true"
    assert first["X-NPU-Proxy-Fallback-Reason"] == "compiling"
    assert first["X-Routing-Reason"] == "compiling"
    eventually(lambda: next(answers)["X-NPU-Proxy-Device"] == "NPU (emulated)")
    assert next(answers)["X-NPU-Proxy-Fallback"] == "false"


@pytest.mark.parametrize("server", [PATIENT], indirect=True)
def test_who_would_rather_wait_for_the_npu_sets_how_long(server: RunningServer) -> None:
    first = next(first_and_next(server))
    assert first["X-NPU-Proxy-Device"] == "NPU (emulated)"
    assert first["X-NPU-Proxy-Fallback"] == "false"
