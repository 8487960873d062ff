"""Log probabilities of the chosen tokens against the real server: the official clients, streams and whole answers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from conftest import RunningServer, Serve
from wire_clients import native, v1

QUESTION: Any = [{"role": "user", "content": "How do I pull a model?"}]
GREETING = "Zürich grüßt 😀"
SCHEMA: Any = {"type": "object", "properties": {"a": {"enum": [GREETING]}}, "required": ["a"]}
"""Makes the model spell characters of several tokens."""
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "greeting", "schema": SCHEMA}}
OPTIONS: Any = {"temperature": 0}


def spelled(entries: list[Any]) -> str:
    """The text of all tokens together, and a check of each."""
    for entry in entries:
        assert entry["token"] == bytes(entry["bytes"]).decode("utf-8", "replace")
        assert entry["logprob"] <= 0
    return b"".join(bytes(entry["bytes"]) for entry in entries).decode()


def assert_same(some: list[Any], others: list[Any]) -> None:
    """Beside others the last bits of a log probability differ."""
    assert [{**entry, "logprob": 0} for entry in some] == [{**entry, "logprob": 0} for entry in others]
    near = pytest.approx([entry["logprob"] for entry in others], abs=1e-3)
    assert [entry["logprob"] for entry in some] == near


def chat(server: RunningServer, **fields: Any) -> Any:
    fields = {"model": "demo", "messages": QUESTION, "temperature": 0, "reasoning_effort": "none"} | fields
    return v1(server.url).chat.completions.create(logprobs=True, **fields)


def content_of(choice: Any) -> list[Any]:
    return [entry.model_dump() for entry in choice.logprobs.content]


@pytest.mark.parametrize(
    "fields", [{}, {"response_format": FORMAT}, {"stop": "model"}, {"reasoning_effort": "low"}]
)
def test_openai_s_client_gets_the_tokens_of_the_content(server: RunningServer, fields: Any) -> None:
    choice = chat(server, **fields).choices[0]
    entries = content_of(choice)
    assert all(entry["top_logprobs"] == [] for entry in entries)
    text, shown = spelled(entries), choice.message.content
    assert text.startswith(shown) if "stop" in fields else text == shown
    assert choice.logprobs.refusal is None
    streamed = []
    for chunk in chat(server, stream=True, **fields):
        if (told := chunk.choices[0].logprobs) is not None:
            streamed += [entry.model_dump() for entry in told.content]
            assert chunk.choices[0].delta.content
    assert_same(streamed, entries)


def test_openai_s_stream_helper_gathers_them(server: RunningServer) -> None:
    fields: Any = {"model": "demo", "messages": QUESTION, "temperature": 0, "reasoning_effort": "none"}
    with v1(server.url).chat.completions.stream(logprobs=True, **fields) as stream:
        found = stream.get_final_completion().choices[0]
    assert_same(content_of(found), content_of(chat(server).choices[0]))


def test_characters_of_several_tokens_are_told_byte_by_byte(server: RunningServer) -> None:
    entries = content_of(chat(server, response_format=FORMAT).choices[0])
    parts = [entry for entry in entries if entry["token"] == "\ufffd"]
    assert len(parts) >= 4  # of the emoji
    assert GREETING in spelled(entries)


def test_each_of_several_choices_has_its_own(server: RunningServer) -> None:
    fields: Any = {"temperature": 1.5, "seed": 3, "n": 3, "max_tokens": 8}
    whole = chat(server, **fields).choices
    assert len({tuple(entry["logprob"] for entry in content_of(choice)) for choice in whole}) == 3
    streamed: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    for chunk in chat(server, stream=True, **fields):
        for choice in chunk.choices:
            if choice.logprobs is not None:
                streamed[choice.index] += content_of(choice)
    for choice in whole:
        assert_same(streamed[choice.index], content_of(choice))


def test_a_neighbour_that_did_not_ask_gets_none_and_disturbs_nobody(server: RunningServer) -> None:
    alone = content_of(chat(server).choices[0])

    def plain(number: int) -> Any:
        fields: Any = {"model": "demo", "messages": QUESTION, "temperature": 1.0, "seed": number}
        return v1(server.url).chat.completions.create(**fields).choices[0]

    with ThreadPoolExecutor(6) as pool:
        neighbours = [pool.submit(plain, number) for number in range(3)]
        beside = [pool.submit(chat, server) for _ in range(3)]
        for answer in beside:
            assert_same(content_of(answer.result().choices[0]), alone)
        assert all(neighbour.result().logprobs is None for neighbour in neighbours)


@pytest.mark.parametrize("prompt", ["How do I pull a model?", ["How do I pull a model?", "Hello"]])
def test_completions_have_lists_of_tokens(server: RunningServer, prompt: Any) -> None:
    def ask(**fields: Any) -> Any:
        return v1(server.url).completions.create(
            model="demo", prompt=prompt, temperature=0, logprobs=0, **fields
        )

    whole = {choice.index: choice for choice in ask().choices}
    streamed: dict[int, dict[str, list[Any]]] = {index: {} for index in whole}
    for chunk in ask(stream=True):
        for choice in chunk.choices:
            for name, values in choice.logprobs.model_dump().items() if choice.logprobs else ():
                streamed[choice.index].setdefault(name, []).extend(values or ())
    for index, choice in whole.items():
        told = choice.logprobs
        assert "".join(told.tokens) == choice.text
        assert [
            choice.text[at:].startswith(token)
            for at, token in zip(told.text_offset, told.tokens, strict=True)
        ]
        assert told.text_offset == sorted(told.text_offset)
        assert told.text_offset[-1] == len(choice.text) - len(told.tokens[-1])
        assert all(logprob <= 0 for logprob in told.token_logprobs)
        assert told.top_logprobs is None
        assert streamed[index].pop("token_logprobs") == pytest.approx(told.token_logprobs, abs=1e-3)
        assert streamed[index] == told.model_dump(exclude={"token_logprobs"}) | {"top_logprobs": []}


def test_responses_have_them_where_include_names_them(server: RunningServer) -> None:
    def ask(**fields: Any) -> Any:
        return v1(server.url).responses.create(
            model="demo",
            input="How do I pull a model?",
            temperature=0,
            reasoning={"effort": "none"},
            **fields,
        )

    include: Any = ["message.output_text.logprobs"]
    part = ask(include=include).output[0].content[0]
    entries = [entry.model_dump() for entry in part.logprobs]
    assert spelled(entries) == part.text
    streamed, ends = [], []
    for event in ask(include=include, stream=True):
        if event.type == "response.output_text.delta":
            assert spelled([entry.model_dump() for entry in event.logprobs]) == event.delta
            streamed += [entry.model_dump() for entry in event.logprobs]
        elif event.type == "response.output_text.done":
            ends.append([entry.model_dump() for entry in event.logprobs])
        elif event.type == "response.completed":
            ends.append([entry.model_dump() for entry in event.response.output[0].content[0].logprobs])
    assert_same(streamed, entries)
    assert ends == [streamed, streamed]
    assert ask().output[0].content[0].logprobs == []


def test_ollama_s_client_gets_the_tokens_of_each_chunk(server: RunningServer) -> None:
    fields: Any = {"think": False, "options": OPTIONS, "logprobs": True}
    chunks = list(native(server.url).chat("demo", QUESTION, stream=True, **fields))
    streamed = []
    for chunk in chunks:
        told = [entry.model_dump() for entry in chunk.logprobs or ()]
        assert "".join(entry["token"] for entry in told) == chunk.message.content
        streamed += told
    whole = native(server.url).chat("demo", QUESTION, stream=False, **fields)
    assert_same(streamed, [entry.model_dump() for entry in whole.logprobs or ()])
    assert all(entry["top_logprobs"] is None for entry in streamed)
    assert not native(server.url).chat("demo", QUESTION, options=OPTIONS).logprobs


@pytest.mark.parametrize(
    "fields", [{}, {"format": SCHEMA}, {"think": True}, {"options": {"stop": ["model"]}}]
)
@pytest.mark.parametrize("path", ["chat", "generate"])
def test_ollama_s_streams_give_what_whole_answers_do(server: RunningServer, path: str, fields: Any) -> None:
    body = {"model": "demo", "options": OPTIONS | fields.get("options", {}), "logprobs": True}
    body |= {"prompt": QUESTION[0]["content"]} if path == "generate" else {"messages": QUESTION}
    body |= {"think": "think" in fields, "format": fields.get("format")}

    def ask(stream: bool) -> list[dict[str, Any]]:
        answer = httpx.post(f"{server.url}/api/{path}", json=body | {"stream": stream}, timeout=60)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    (whole,) = ask(False)
    lines = ask(True)
    assert_same([entry for line in lines for entry in line.get("logprobs", ())], whole["logprobs"])
    parts = whole.get("message", whole)
    shown = parts.get("thinking", "") + parts.get("content", "") + parts.get("response", "")
    text = spelled(whole["logprobs"])
    assert text.startswith(shown) if "options" in fields else text == shown
    assert all(set(entry) == {"token", "logprob", "bytes"} for entry in whole["logprobs"])
    assert "logprobs" not in lines[-1]  # no text, no tokens


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        ("/v1/chat/completions", {"logprobs": True, "top_logprobs": 2}, "gives no alternatives"),
        (
            "/v1/chat/completions",
            {"logit_bias": {"50256": -100}},
            "cannot change the scores of single tokens",
        ),
        ("/v1/completions", {"prompt": "x", "logit_bias": {"50256": -100}}, "cannot change the scores"),
        ("/v1/completions", {"prompt": "x", "logprobs": 3}, "send 0"),
        ("/v1/responses", {"input": "x", "top_logprobs": 3}, "gives no alternatives"),
        ("/v1/responses", {"input": "x", "top_logprobs": 30}, "between 0 and 20"),
        ("/api/chat", {"logprobs": True, "top_logprobs": 2}, "gives no alternatives"),
        ("/api/generate", {"prompt": "x", "logprobs": True, "top_logprobs": 2}, "gives no alternatives"),
    ],
)
def test_what_the_engine_does_not_give_is_a_400_that_names_the_field(
    server: RunningServer, path: str, fields: dict[str, Any], words: str
) -> None:
    answer = httpx.post(
        f"{server.url}{path}", json={"model": "demo", "messages": QUESTION} | fields, timeout=60
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert words in (error if path.startswith("/api") else error["message"])


def test_an_empty_bias_passes(server: RunningServer) -> None:
    assert chat(server, logit_bias={}, max_tokens=3).choices[0].logprobs.content


def test_the_npu_leaves_them_to_another_device_or_says_why(serve: Serve) -> None:
    server = serve(NPU_PROXY_DEVICE="NPU", NPU_PROXY_NPU_EMULATION="true")
    headers = {"X-NPU-Proxy-Device": "NPU"}
    answer = v1(server.url).chat.completions.with_raw_response.create(
        model="demo",
        messages=QUESTION,
        temperature=0,
        logprobs=True,
        extra_headers=headers,
        reasoning_effort="none",
    )
    assert answer.headers["x-npu-proxy-routed-device"] == "CPU"
    assert answer.headers["x-npu-proxy-fallback-reason"] == "capability"
    choice = answer.parse().choices[0]
    assert spelled(content_of(choice)) == choice.message.content
    with pytest.raises(
        openai.BadRequestError, match='"logprobs": the pipeline of NPU gives no log probabilities'
    ):
        v1(server.url).chat.completions.create(
            model="demo",
            messages=QUESTION,
            logprobs=True,
            extra_headers=headers | {"X-Target-Strict": "true"},
        )
