"""Ollama's bodies become requests: every field, every default, every refusal in Ollama's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compat_api.dialect import Preload
from compat_api.ollama.requests import parse_chat, parse_embed, parse_generate, parse_legacy_embed
from inference.errors import BadRequest, ModelNotFound
from inference.types import FOREVER, Constraint, Message, Sampling, Tool, ToolCall

HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> Any:
    return parse_chat(json.dumps({"model": "m", "messages": HELLO} | fields).encode())


def generate(**fields: Any) -> Any:
    return parse_generate(json.dumps({"model": "m", "prompt": "hello"} | fields).encode())


def test_a_bare_chat_streams_and_leaves_every_choice_to_the_model() -> None:
    request = chat()
    assert request.model == "m"
    assert request.messages == (Message(role="user", content="hello"),)
    assert request.stream is True
    assert request.sampling == Sampling()
    assert (request.think, request.constraint, request.keep_alive_s, request.truncate) == (None,) * 4


def test_null_is_the_same_as_absent() -> None:
    names = "stream format options keep_alive think truncate shift logprobs top_logprobs tools"
    assert chat(**dict.fromkeys(names.split())) == chat()
    names = "suffix system template context raw images width height steps options format"
    assert generate(**dict.fromkeys(names.split())) == generate()


def test_empty_values_of_what_is_not_offered_pass() -> None:
    empty = {
        "suffix": "",
        "system": "",
        "template": "",
        "context": [],
        "raw": False,
        "images": [],
        "width": 0,
    }
    assert generate(**empty) == generate()


def test_unknown_fields_are_ignored_at_every_level() -> None:
    message = {"role": "user", "content": "hello", "unknown": 1}
    assert chat(messages=[message], another={"deep": [1]}) == chat()


@pytest.mark.parametrize(
    ("options", "sampling"),
    [
        ({"temperature": 0}, Sampling(temperature=0.0)),
        ({"num_predict": 5.9}, Sampling(max_tokens=5)),
        ({"num_predict": -2}, Sampling(max_tokens=-1)),
        ({"top_k": 40.0, "top_p": 1, "min_p": 0.05}, Sampling(top_k=40, top_p=1.0, min_p=0.05)),
        ({"seed": 7, "stop": ["a", "b"]}, Sampling(seed=7, stop=("a", "b"))),
        ({"repeat_penalty": 1.1, "presence_penalty": 1, "frequency_penalty": -1}, None),
        ({"temperature": None, "num_ctx": None}, Sampling()),
        ({"mirostat": 2, "num_gpu": 1}, Sampling(ignored=("mirostat", "num_gpu"))),
    ],
)
def test_options_become_sampling(options: Any, sampling: Any) -> None:
    expected = sampling or Sampling(repeat_penalty=1.1, presence_penalty=1.0, frequency_penalty=-1.0)
    assert chat(options=options).sampling == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_predict": "5"}, 'option "num_predict" must be of type integer'),
        ({"num_ctx": True}, 'option "num_ctx" must be of type integer'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"stop": "a"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"num_gpu": "all"}, 'option "num_gpu" must be of type integer'),
        (
            {"device": "TPU"},
            "options.device: 'TPU' is not a device; give NPU, GPU, GPU.1, CPU, AUTO or the name of a backend",
        ),
        ({"presence_penalty": 3}, '"presence_penalty": 3 is not between -2 and 2'),
        ({"repeat_penalty": 0}, '"repeat_penalty": 0 is not above 0'),
    ],
)
def test_a_wrong_option_is_named(options: Any, words: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat(options=options)
    assert str(refusal.value) == words


def test_num_ctx_and_device_are_options_of_their_own() -> None:
    request = chat(options={"num_ctx": 2048.0, "device": "gpu.1"})
    assert request.num_ctx == 2048
    assert request.placement.device == "GPU.1"
    assert request.sampling == Sampling()


def test_a_negative_seed_is_a_random_one() -> None:
    seeds = {chat(options={"seed": -1}).sampling.seed for _ in range(5)}
    assert len(seeds) > 1
    assert min(seeds) >= 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (300, 300.0), (1.5, 1.5), ("5m0s", 300.0), ("1h30m", 5400.0), ("0", 0.0), ("0s", 0.0), ("500ms", 0.5),
        (".5s", 0.5), ("+2us", 2e-6), (-1, FOREVER), ("-1s", FOREVER), ("-1m", FOREVER), (1e300, FOREVER),
    ],
)  # fmt: skip
def test_keep_alive_is_seconds_or_a_duration_of_go(value: Any, seconds: Any) -> None:
    assert chat(keep_alive=value).keep_alive_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
        ("300", 'time: missing unit in duration "300"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        (True, "Unsupported type: 'bool'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
    ],
)
def test_a_wrong_keep_alive_is_refused_in_the_words_of_go(value: Any, words: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat(keep_alive=value)
    assert str(refusal.value) == words


@pytest.mark.parametrize(("value", "think"), [(True, True), (False, False), ("low", True), ("max", True)])
def test_think_is_a_bool_or_a_level(value: Any, think: Any) -> None:
    assert chat(think=value).think is think


@pytest.mark.parametrize(("value", "shown"), [("x", '"x"'), ("", '""'), (1, "1"), (["low"], '["low"]')])
def test_any_other_think_is_refused(value: Any, shown: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat(think=value)
    words = f'invalid think value: {shown} (must be "high", "medium", "low", "max", true, or false)'
    assert str(refusal.value) == words


def test_format_is_json_or_a_schema_kept_as_it_was_written() -> None:
    assert chat(format="").constraint is None
    assert chat(format="json").constraint == Constraint()
    body = b'{"model":"m","messages":[{"role":"user"}],"format":{"type": "object",  "properties":{}}}'
    request: Any = parse_chat(body)
    assert request.constraint == Constraint('{"type": "object",  "properties":{}}')


@pytest.mark.parametrize(
    ("value", "shown"), [("yaml", r'"\"yaml\""'), (5, '"5"'), ([], '"[]"'), (True, '"true"')]
)
def test_any_other_format_is_refused(value: Any, shown: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        chat(format=value)
    assert str(refusal.value) == f'invalid format: {shown}; expected "json" or a valid JSON Schema object'


def test_a_whole_history_with_tools_is_read() -> None:
    call = {"id": "call_1", "function": {"name": "add", "arguments": {"a": 1}}}
    messages = [
        {"role": "System", "content": "be brief"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "call_1"},
        {"role": "tool", "content": "3", "tool_name": "sub"},
    ]
    schema = {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}}
    tools = [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": schema}}]
    request = chat(messages=messages, tools=tools)
    assert request.messages == (
        Message(role="system", content="be brief"),
        Message(role="assistant", thinking="hm", tool_calls=(ToolCall("call_1", "add", {"a": 1}),)),
        Message(role="tool", content="2", tool_name="add", tool_call_id="call_1"),
        Message(role="tool", content="3", tool_name="sub"),
    )
    assert request.tools == (Tool(name="add", description="adds", parameters=schema),)


def test_generate_takes_prompt_and_system() -> None:
    assert generate(system="be brief").messages == (
        Message(role="system", content="be brief"),
        Message(role="user", content="hello"),
    )


@pytest.mark.parametrize(
    ("body", "done_reason", "answer"),
    [
        (b'{"model":"m","messages":[]}', "load", b'"message":{"role":"assistant","content":""},"done":true'),
        (b'{"model":"m","messages":null,"keep_alive":0}', "unload", b'"done_reason":"unload"}'),
    ],
)
def test_a_chat_without_messages_only_loads(body: Any, done_reason: Any, answer: Any) -> None:
    preload = parse_chat(body)
    assert isinstance(preload, Preload)
    assert (preload.request.keep_alive_s == 0) == (done_reason == "unload")
    assert answer in preload.answer(done_reason)


def test_a_generate_without_a_prompt_only_loads() -> None:
    preload = generate(prompt="", keep_alive="0s")
    assert isinstance(preload, Preload)
    assert preload.request.keep_alive_s == 0
    assert preload.answer("unload").endswith(b'"response":"","done":true,"done_reason":"unload"}')


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"template": "{{ .Prompt }}"}, "template"), ({"suffix": "}", "raw": True}, "suffix"),
        ({"suffix": "}", "images": ["aGk="]}, "images"), ({"width": 512}, "width"),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs"),
    ],
)  # fmt: skip
def test_what_is_not_offered_is_refused_by_name(fields: Any, field: Any) -> None:
    with pytest.raises(BadRequest, match=f'^"{field}": ') as refusal:
        generate(**fields)
    assert refusal.value.field == field


@pytest.mark.parametrize("count", [-1, 21])
def test_top_logprobs_has_bounds(count: Any) -> None:
    with pytest.raises(BadRequest, match=r"^top_logprobs must be between 0 and 20$"):
        chat(top_logprobs=count)


def test_a_missing_model_is_400_for_chat_and_embeddings_and_404_for_generate_and_embed() -> None:
    for parse in (parse_chat, parse_legacy_embed):
        with pytest.raises(BadRequest, match=r"^model is required$"):
            parse(b"{}")
    for parse in (parse_generate, parse_embed):
        with pytest.raises(ModelNotFound, match=r"^model '' not found$"):
            parse(b'{"model":null}')


@pytest.mark.parametrize(
    ("given", "texts"), [("a", ("a",)), (["a", ""], ("a", "")), ("", ()), ([], ()), (None, ()), ([""], ("",))]
)
def test_embed_takes_one_text_or_many(given: Any, texts: Any) -> None:
    assert parse_embed(json.dumps({"model": "m", "input": given}).encode()).texts == texts


@pytest.mark.parametrize("given", [5, [1, 2], ["a", None], {"text": "a"}, True])
def test_embed_refuses_what_is_no_text(given: Any) -> None:
    with pytest.raises(BadRequest, match=r"^invalid input type$"):
        parse_embed(json.dumps({"model": "m", "input": given}).encode())


def test_embed_reads_its_options() -> None:
    body = {"model": "m", "input": "a", "truncate": False, "dimensions": 8, "keep_alive": "1m"}
    request = parse_embed(json.dumps(body | {"options": {"device": "CPU"}}).encode())
    assert (request.truncate, request.dimensions, request.keep_alive_s) == (False, 8, 60.0)
    assert request.placement.device == "CPU"
