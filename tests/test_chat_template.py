"""Messages become the prompt that the model's own template makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_templates import CHAT, TOOL, USER, rendered, template_spec

from inference.chat_template import ChatTemplate
from inference.errors import ModelDamaged
from inference.prompt import Prompt
from inference.types import Message, ToolCall


def test_a_chat_becomes_the_text_of_the_template(tmp_path: Path) -> None:
    messages = (Message(role="system", content="be brief"), *USER)
    assert rendered(tmp_path, CHAT, messages) == Prompt(
        "<|system|>be brief<|end|>\n<|user|>hi<|end|>\n<|assistant|>"
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        # trim_blocks and lstrip_blocks
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
        # loop controls, and the tag that marks answers for training
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% generation %}x{% endgeneration %}", "x"),
        # tojson escapes nothing, keeps the order and takes indent
        ("{{ {'b': '<é>', 'a': '\\''} | tojson }}", '{"b": "<é>", "a": "\'"}'),
        ("{{ {'a': [1]} | tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'),
        ("{{ {'a': 1} | tojson(separators=(',', ':')) }}", '{"a":1}'),
        ("{{ strftime_now('%Y') | int > 2000 }}", "True"),
        ("{{ enable_thinking is false and documents is none and tools is none }}", "True"),
        ("{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}", "<s></s>False"),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "1",
        ),
        ("{{ messages[0].content | trim ~ '!' }}{{ messages[-1]['role'].upper() }}", "hi!USER"),
        ("{{ '%s-%02d' % ('a', 3) }}{{ '{}'.format(4) }}{{ ['a', 'b'] | join(', ') }}", "a-034a, b"),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m('a') }}{{ 'ab' * 3 }}{{ 2 ** 10 }}", "[a]ababab1024"),
        ("{{ messages | map(attribute='content') | list }}{{ 'a,b'.split(',')[1] }}", "['hi']b"),
        (
            "{{ 'aXb' | replace('X', '--') }}{{ 'x' | indent(2, true) }}{{ [3, 1] | sort | first }}",
            "a--b  x1",
        ),
        ("{{ 'abc'.replace('b', 'x') }}{{ '-'.join(['a', 'b']) }}{{ 'a'.ljust(3) }}|", "axca-ba  |"),
        ("{{ messages[0].get('tool_calls', 'none') }}", "none"),
        ("{% for b in [1, 2, 3] | batch(2) %}{{ b | length }}{% endfor %}{{ [1, 2] | sum }}", "213"),
    ],
)
def test_templates_get_what_hugging_face_gives_them(tmp_path: Path, template: str, expected: str) -> None:
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    assert rendered(tmp_path, template, tokenizer_config=config).text == expected


def test_the_history_has_the_shape_that_templates_expect(tmp_path: Path) -> None:
    call = ToolCall("call_1", "weather", {"city": "Zürich"})
    messages = (
        *USER,
        Message(role="assistant", thinking="hm", tool_calls=(call,)),
        Message(role="tool", content="sunny", tool_name="weather", tool_call_id="call_1"),
    )
    shown = json.loads(
        rendered(tmp_path, "{{ {'m': messages, 't': tools} | tojson }}", messages, (TOOL,)).text
    )
    function = {"name": "weather", "arguments": {"city": "Zürich"}}
    assert shown["m"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "sunny", "name": "weather", "tool_call_id": "call_1"},
    ]
    assert shown["t"][0]["type"] == "function"
    assert shown["t"][0]["function"]["description"] == TOOL.description


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tokenizer_config": {"chat_template": "from the config"}}, "from the config"),
        (
            {
                "tokenizer_config": {
                    "chat_template": [
                        {"name": "tool_use", "template": "with tools"},
                        {"name": "default", "template": "without"},
                    ]
                }
            },
            "without",
        ),
        ({}, "a\nhi"),
    ],
)
def test_the_template_is_found_where_models_keep_it(tmp_path: Path, files: Any, expected: str) -> None:
    messages = (Message(role="system", content="a"), *USER)
    assert rendered(tmp_path, "", messages, **files).text == expected
    (tmp_path / "chat_template.jinja").write_text("from the file")
    assert rendered(tmp_path, "", messages, **files).text == "from the file"
    assert rendered(tmp_path, "the model's own", messages, **files).text == "the model's own"


def test_a_template_for_tools_is_used_when_there_are_tools(tmp_path: Path) -> None:
    named = [
        {"name": "tool_use", "template": "{{ tools[0].function.name }}"},
        {"name": "default", "template": "-"},
    ]
    config = {"chat_template": named}
    assert rendered(tmp_path, "", tools=(TOOL,), tokenizer_config=config).text == "weather"
    assert rendered(tmp_path, "", tokenizer_config=config).text == "-"


QWEN_LIKE = "{{ messages[0].content }}{% if enable_thinking is false %}<think></think>{% endif %}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHAT, set()),
        (QWEN_LIKE, {"thinking"}),
        ("{{ tools | tojson }}", {"tools"}),
        (
            QWEN_LIKE + "{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}",
            {"thinking", "tools"},
        ),
        ("{{ messages[0].content }}<think>\n", {"thinking"}),
        # names alone are no capability
        ("{# tools <think> #}{{ messages[0].content }}", set()),
        ("{% if tools %}{{ raise_exception('no tools') }}{% endif %}", set()),
        ("{{ messages[0].content.split('</think>')[-1] }}{{ enable_thinking }}", set()),
    ],
)
def test_capabilities_are_what_the_template_does_when_it_is_tried(
    tmp_path: Path, template: str, expected: set[str]
) -> None:
    assert ChatTemplate.open(template_spec(tmp_path, template)).capabilities == expected


@pytest.mark.parametrize(("end", "expected"), [("<think>\n", True), ("<think></think>", False), ("", False)])
def test_it_is_known_whether_the_prompt_opens_the_thoughts(tmp_path: Path, end: str, expected: bool) -> None:
    assert rendered(tmp_path, "{{ messages[0].content }}" + end).opens("<think>") is expected


def test_a_user_cannot_open_the_thoughts(tmp_path: Path) -> None:
    template = "{% if false %}<think>{% endif %}{{ messages[0].content }}"
    assert not rendered(tmp_path, template, (Message(role="user", content="<think>"),)).opens("<think>")


def test_a_template_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelDamaged, match=r"chat_template\.jinja"):
        ChatTemplate.open(template_spec(tmp_path))
