"""POST /api/chat against the real server: Ollama's own client, and the exact shape of what is sent."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from wire_clients import TOOL_QUESTIONS, native

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
GREEDY = {"temperature": 0}
STAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
METRICS = ["total_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def lines(server: RunningServer, **fields: Any) -> tuple[httpx.Response, list[dict[str, Any]]]:
    """The response and the objects of a stream, after checking the framing of each line."""
    body = {"model": "demo", "messages": QUESTION, "think": False, "options": GREEDY} | fields
    answer = httpx.post(f"{server.url}/api/chat", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("\n")
    raw = answer.text[:-1].split("\n")
    assert all(raw), "a blank line in the stream"
    return answer, [json.loads(line) for line in raw]


def test_the_client_streams_an_answer(server: RunningServer) -> None:
    parts = list(native(server.url).chat("demo", QUESTION, stream=True, think=False, options=GREEDY))
    assert "".join(part.message.content or "" for part in parts)
    assert [part.done for part in parts].count(True) == 1
    assert parts[-1].done
    assert parts[-1].done_reason == "stop"


def test_streamed_and_whole_answers_are_the_same(server: RunningServer) -> None:
    ask = native(server.url).chat
    whole = ask("demo", QUESTION, think=False, options=GREEDY)
    parts = list(ask("demo", QUESTION, think=False, options=GREEDY, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert parts[-1].eval_count == whole.eval_count
    assert parts[-1].prompt_eval_count == whole.prompt_eval_count


def test_every_line_has_model_time_and_role_and_only_the_last_has_metrics(server: RunningServer) -> None:
    answer, objects = lines(server, model="Demo:LATEST")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert "content-length" not in answer.headers
    for entry in objects:
        assert entry["model"] == "Demo:LATEST"
        assert STAMP.fullmatch(entry["created_at"])
        assert entry["message"]["role"] == "assistant"
        assert isinstance(entry["message"]["content"], str)
    *first, last = objects
    assert all(
        set(entry) == {"model", "created_at", "message", "done"} and not entry["done"] for entry in first
    )
    assert last["done"] is True
    assert last["message"] == {"role": "assistant", "content": ""}
    assert {name for name in METRICS if type(last[name]) is int} == set(METRICS)
    assert last["eval_count"] >= len(first)


def test_a_whole_answer_is_one_json_object(server: RunningServer) -> None:
    body = {"model": "demo", "messages": QUESTION, "stream": False, "think": False, "options": GREEDY}
    answer = httpx.post(f"{server.url}/api/chat", json=body, timeout=60)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert list(answer.json())[:5] == ["model", "created_at", "message", "done", "done_reason"]


def test_the_content_type_of_a_request_means_nothing(server: RunningServer) -> None:
    body = json.dumps({"model": "demo", "messages": QUESTION, "stream": False, "options": {"num_predict": 1}})
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""):
        headers = {"Content-Type": content_type, "Accept": "application/xml"}
        answer = httpx.post(f"{server.url}/api/chat", content=body, headers=headers, timeout=60)
        assert answer.status_code == 200, content_type


def test_num_predict_ends_the_answer_with_length(server: RunningServer) -> None:
    answer = native(server.url).chat("demo", QUESTION, think=False, options={**GREEDY, "num_predict": 3})
    assert answer.done_reason == "length"
    assert answer.eval_count == 3


def test_a_stop_string_is_in_no_part_of_the_answer(server: RunningServer) -> None:
    full = native(server.url).chat("demo", QUESTION, think=False, options=GREEDY).message.content or ""
    word = full.split()[2]
    parts = native(server.url).chat(
        "demo", QUESTION, think=False, options={**GREEDY, "stop": [word]}, stream=True
    )
    cut = "".join(part.message.content or "" for part in parts)
    assert cut == full[: full.index(word)]


def test_the_same_seed_gives_the_same_answer(server: RunningServer) -> None:
    options = {"temperature": 1.5, "seed": 7, "num_predict": 24}
    answers = {
        native(server.url).chat("demo", QUESTION, think=False, options=options).message.content
        for _ in range(2)
    }
    assert len(answers) == 1


def test_thinking_comes_apart_from_the_answer_and_can_be_switched_off(server: RunningServer) -> None:
    _, objects = lines(server, think=True)
    thoughts = [entry["message"] for entry in objects if "thinking" in entry["message"]]
    assert thoughts
    assert all(message["content"] == "" for message in thoughts)
    assert all("<think>" not in message["thinking"] for message in thoughts)
    assert native(server.url).chat("demo", QUESTION, options=GREEDY).message.thinking, (
        "on where nothing is said"
    )
    assert native(server.url).chat("demo", QUESTION, options=GREEDY, think=False).message.thinking is None


def test_a_tool_call_is_whole_and_its_arguments_are_an_object(server: RunningServer) -> None:
    for question in TOOL_QUESTIONS:  # a tiny model: one of them is enough
        messages = [{"role": "user", "content": question}]
        whole = native(server.url).chat("demo", messages, tools=[WEATHER], think=False, options=GREEDY)
        if calls := whole.message.tool_calls:
            break
    assert calls, "no question made the model call its tool"
    assert isinstance(calls[0].function.arguments, dict)
    _, objects = lines(server, messages=messages, tools=[WEATHER])
    chunks = [entry["message"] for entry in objects if "tool_calls" in entry["message"]]
    assert chunks
    assert chunks[0]["content"] == ""
    call = chunks[0]["tool_calls"][0]
    assert re.fullmatch(r"call_[a-z0-9]{8}", call["id"])
    assert call["function"]["index"] == 0
    assert isinstance(call["function"]["arguments"], dict)
    assert objects[-1]["done_reason"] == "stop"


def test_a_tool_result_is_taken_back(server: RunningServer) -> None:
    call = {"id": "call_00000001", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    messages: Any = [
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "12 degrees, rain", "tool_name": "get_weather"},
    ]
    answer = native(server.url).chat("demo", messages, tools=[WEATHER], think=False, options=GREEDY)
    assert answer.done_reason == "stop"
    assert (answer.prompt_eval_count or 0) > 30


@pytest.mark.parametrize(
    ("schema", "opening"),
    [
        ("json", ("{", "[", '"')),
        ({"type": "object", "properties": {"size": {"enum": [1, 2]}}, "required": ["size"]}, "{"),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 3}, "["),
    ],
)
def test_format_makes_the_answer_json(server: RunningServer, schema: Any, opening: Any) -> None:
    options = {**GREEDY, "num_predict": 128}
    answer = native(server.url).chat("demo", QUESTION, format=schema, think=False, options=options)
    text = (answer.message.content or "").lstrip()
    assert text.startswith(opening)
    if answer.done_reason == "stop":  # else the tiny model ran into its limit between two brackets
        json.loads(text)


def test_messages_may_be_empty_to_load_and_unload(server: RunningServer) -> None:
    url = f"{server.url}/api/chat"
    loaded = httpx.post(url, json={"model": "demo"}, timeout=60)
    assert loaded.headers["content-type"] == "application/json; charset=utf-8"
    assert loaded.json() == {
        "model": "demo",
        "created_at": loaded.json()["created_at"],
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "load",
    }
    assert [entry.model for entry in native(server.url).ps().models].count("demo:latest") == 1
    unloaded = httpx.post(url, json={"model": "demo", "messages": [], "keep_alive": 0}, timeout=60)
    assert unloaded.json()["done_reason"] == "unload"
    assert "demo:latest" not in [entry.model for entry in native(server.url).ps().models]


def test_where_it_ran_is_in_the_headers(server: RunningServer) -> None:
    answer, objects = lines(server)
    headers = answer.headers
    assert headers["x-npu-proxy-requested-device"] == "NPU"
    assert headers["x-npu-proxy-routed-device"] == "CPU"
    assert headers["x-npu-proxy-device"] == headers["x-npu-proxy-execution-device"] == "CPU"
    assert headers["x-npu-proxy-route-reason"] == "device_unavailable"
    assert headers["x-routing-reason"] == "device-unavailable"
    assert headers["x-backend-used"] == "CPU"
    assert headers["x-npu-proxy-fallback"] == "true"
    assert int(headers["x-npu-proxy-token-count"]) == objects[-1]["prompt_eval_count"]
    assert len(headers["x-npu-proxy-model"]) == 64
    assert float(headers["x-npu-proxy-queue-ms"]) >= 0
    assert re.fullmatch(r"req_[0-9a-f]{24}", headers["x-request-id"])
