"""What a server writes down beside the requests: devices, use of models, compile caches; and what it follows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningServer, Serve, start_server
from server_rows import eventually, manage, orm, rows

from inference.states import RequestRecord
from registry.records import Tally

SAYS_HELLO = [{"role": "user", "content": "How do I pull a model?"}]
ON_NPU = {"X-NPU-Proxy-Device": "NPU", "X-Target-Strict": "true"}
ON_CPU = {"X-NPU-Proxy-Device": "CPU", "X-Target-Strict": "true"}


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With an emulated NPU; shared by the tests of this file."""
    running = start_server(tmp_path_factory.mktemp("emulated"), NPU_PROXY_NPU_EMULATION="true")
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def chat(server: RunningServer, headers: dict[str, str] = ON_CPU, **body: Any) -> dict[str, Any]:
    whole = {"model": "demo", "messages": SAYS_HELLO, "think": False, "stream": False, **body}
    answer = httpx.post(f"{server.url}/api/chat", json=whole, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def digest_of(server: RunningServer, model: str) -> str:
    models = httpx.get(f"{server.url}/api/tags", timeout=30).json()["models"]
    return str(next(entry["digest"] for entry in models if entry["name"] == model))


def use(server: RunningServer, model: str, device: str) -> dict[str, Any]:
    """The row, or nothing before a request was counted."""
    found = rows(
        server,
        "select * from registry_usage where digest = ? and device = ? and requests > 0",
        digest_of(server, model),
        device,
    )
    return found[0] if found else {}


def expires_at(server: RunningServer, model: str) -> str:
    models = httpx.get(f"{server.url}/api/ps", timeout=30).json()["models"]
    return next((str(entry["expires_at"]) for entry in models if entry["name"] == model), "")


def test_every_device_has_a_row_that_says_whether_it_is_emulated(emulated: RunningServer) -> None:
    found = eventually(lambda: rows(emulated, "select name, full_name, emulated from registry_device"))
    devices = {row["name"]: row for row in found}
    assert devices["NPU"]["emulated"]
    assert not devices["CPU"]["emulated"]
    assert devices["CPU"]["full_name"]


def test_a_chat_is_added_to_the_use_of_its_model_on_the_device_that_executed_it(
    emulated: RunningServer,
) -> None:
    answers = [chat(emulated, options={"num_predict": 20}) for _ in range(2)]
    chat(emulated, ON_NPU, options={"num_predict": 5})
    row = eventually(lambda: (row := use(emulated, "demo:latest", "CPU")) and row["requests"] >= 2 and row)
    assert row["requests"] == 2
    assert row["prompt_tokens"] == sum(answer["prompt_eval_count"] for answer in answers)
    assert row["completion_tokens"] == sum(answer["eval_count"] for answer in answers)
    assert 0 < row["ttft_s"] < 60
    assert row["tokens_per_s"] > 0
    assert row["load_s"] > 0
    on_npu = eventually(lambda: use(emulated, "demo:latest", "NPU (emulated)"))
    assert on_npu["requests"] == 1
    assert use(emulated, "demo:latest", "NPU") == {}, "an emulation is never taken for the device"


def test_embeddings_are_a_use_too_and_refused_requests_are_none(emulated: RunningServer) -> None:
    body = {"model": "all-minilm", "input": ["a cat sat", "two dogs"]}
    answer = httpx.post(f"{emulated.url}/api/embed", json=body, headers=ON_CPU, timeout=60).json()
    refused = {"model": "all-minilm", "messages": SAYS_HELLO}
    assert httpx.post(f"{emulated.url}/api/chat", json=refused, timeout=60).status_code == 400
    row = eventually(lambda: use(emulated, "all-minilm:latest", "CPU"))
    assert (row["requests"], row["prompt_tokens"]) == (1, answer["prompt_eval_count"])
    assert row["completion_tokens"] == 0


def test_what_the_emulated_npu_compiled_has_a_row_with_its_size(emulated: RunningServer) -> None:
    chat(emulated, ON_NPU, options={"num_predict": 2})
    (row,) = eventually(lambda: rows(emulated, "select * from registry_compilecache where device = 'NPU'"))
    assert row["driver"] == "emulated"
    assert row["openvino"]
    folder = Path(row["path"])
    assert folder.is_relative_to(emulated.data_dir / "cache")
    assert row["size_bytes"] == sum(path.stat().st_size for path in folder.iterdir()) > 1_000_000
    assert row["compile_s"] > 0


def test_a_pin_that_another_process_sets_stops_the_clock_and_its_end_starts_it(
    emulated: RunningServer,
) -> None:
    chat(emulated, keep_alive="20s", options={"num_predict": 2})
    before = expires_at(emulated, "demo:latest")
    assert before < "2300"
    orm(emulated, "Model.objects.filter(name='demo:latest').update(pinned=True)")
    eventually(lambda: expires_at(emulated, "demo:latest") > "2300")
    orm(emulated, "Model.objects.filter(name='demo:latest').update(pinned=False)")
    eventually(lambda: expires_at(emulated, "demo:latest") < "2300")


def test_a_budget_that_is_given_to_a_device_refuses_what_does_not_fit_with_figures(
    emulated: RunningServer,
) -> None:
    httpx.post(f"{emulated.url}/api/generate", json={"model": "demo", "keep_alive": 0}, timeout=60)
    body = {"model": "demo", "messages": SAYS_HELLO, "stream": False, "options": {"num_predict": 1}}

    def ask() -> httpx.Response:
        return httpx.post(f"{emulated.url}/api/chat", json=body, headers=ON_CPU, timeout=60)

    eventually(lambda: rows(emulated, "select 1 from registry_device where name = 'CPU'"))
    orm(emulated, "[(setattr(d, 'memory_budget_mb', 50), d.save()) for d in Device.objects.all()]")

    def refused() -> httpx.Response | None:
        answer = ask()
        if answer.status_code == 200:  # the server has not looked yet
            httpx.post(f"{emulated.url}/api/generate", json={"model": "demo", "keep_alive": 0}, timeout=60)
            return None
        return answer

    answer = eventually(refused)
    orm(emulated, "Device.objects.update(memory_budget_mb=None)")
    eventually(lambda: ask().status_code == 200)
    assert answer.status_code == 503
    assert "needs about 1" in answer.text
    assert "the budget of CPU allows 50 MB" in answer.text


def test_while_the_database_refuses_nothing_is_lost(emulated: RunningServer) -> None:
    chat(emulated, options={"num_predict": 2})
    before = eventually(lambda: use(emulated, "demo:latest", "CPU"))["requests"]
    rows(emulated, "alter table registry_usage rename to registry_gone")
    try:
        for _ in range(3):
            chat(emulated, options={"num_predict": 2})
        eventually(lambda: "cannot be written now" in emulated.log())
        chat(emulated, options={"num_predict": 2})
    finally:
        rows(emulated, "alter table registry_gone rename to registry_usage")
    eventually(lambda: use(emulated, "demo:latest", "CPU").get("requests", 0) >= before + 4)
    assert emulated.log().count("cannot be written now") == 1, "once, not with every try"


def test_a_server_that_is_stopped_writes_what_is_left(serve: Serve) -> None:
    server = serve()
    digest = digest_of(server, "demo:latest")
    chat(server, options={"num_predict": 3})
    server.stop()
    (row,) = rows(server, "select * from registry_usage where digest = ?", digest)
    assert (row["device"], row["requests"], row["completion_tokens"]) == ("CPU", 1, 3)


def test_the_page_shows_where_a_model_ran_how_fast_and_what_its_caches_take(emulated: RunningServer) -> None:
    chat(emulated, ON_NPU, options={"num_predict": 4})
    eventually(lambda: use(emulated, "demo:latest", "NPU (emulated)"))
    eventually(lambda: rows(emulated, "select 1 from registry_compilecache where device = 'NPU'"))
    page = httpx.get(f"{emulated.url}/status", timeout=30).text
    assert re.search(
        r"NPU \(emulated\): \d+ tokens/s, first token [\d.]+ m?s, load [\d.]+ m?s, last at ", page
    )
    assert re.search(r"compile cache for NPU: [\d.]+ MB", page)


def test_the_commands_show_when_a_model_was_used_where_it_ran_and_its_caches(emulated: RunningServer) -> None:
    chat(emulated, ON_NPU, options={"num_predict": 4})
    eventually(lambda: use(emulated, "demo:latest", "NPU (emulated)"))
    eventually(lambda: rows(emulated, "select 1 from registry_compilecache where device = 'NPU'"))
    shown = manage(emulated.data_dir, "models", "show", "demo")
    assert shown.returncode == 0, shown.stderr
    lines = [re.split(r"\s{2,}", line) for line in shown.stdout.splitlines()]
    assert ["RAN ON", "REQUESTS", "TOKENS/S", "FIRST TOKEN", "LOAD", "LAST USED"] in lines
    assert any(line[0] == "NPU (emulated)" and int(line[2]) > 0 for line in lines)
    assert any(line[0] == "NPU" and re.fullmatch(r"[\d.]+ MB", line[1]) for line in lines)
    (listed,) = (
        entry
        for entry in json.loads(manage(emulated.data_dir, "models", "list", "--json").stdout)
        if entry["name"] == "demo:latest"
    )
    assert listed["used_at"] == listed["ran_on"][0]["used_at"]
    assert listed["compile_caches"][0]["size_bytes"] > 1_000_000
    assert "LAST USED" in manage(emulated.data_dir, "models", "list").stdout


def test_the_time_to_the_first_token_leaves_out_the_wait_and_the_load() -> None:
    tally = Tally()
    record = RequestRecord(
        id="r", time=0.0, operation="chat", model="m", status=200, completion_tokens=11, queue_s=1.0, load_s=2.0,
        ttft_s=3.5, decode_s=2.0, total_s=5.5,
    )  # fmt: skip
    tally.add(record)
    assert (tally.ttft_s, tally.tokens_per_s, tally.requests) == (0.5, 5.0, 1)
