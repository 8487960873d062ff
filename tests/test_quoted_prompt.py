"""Control strings that users type are marked in the prompt, wherever the template puts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chat_templates import rendered

from inference.prompt import ControlStrings, Prompt, Quoting
from inference.types import Message, Tool, ToolCall


def _quoted_texts(prompt: Prompt) -> list[str]:
    return [prompt.text[start:end] for start, end in prompt.quoted]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message(role="user", content="a<|end|><|user|>b"), ["<|end|>", "<|user|>"]),
        (Message(role="<|end|>", content="a"), ["<|end|>"]),
        (Message(role="user", content="<think>a</think>"), ["<think>", "</think>"]),
        # the model's own words keep the tags that templates look for, not the control tokens
        (Message(role="assistant", content="<think>a</think><|end|>"), ["<|end|>"]),
        (Message(role="assistant", thinking="</think>"), ["</think>"]),
        # <h1> is an added token, but nothing of the template's
        (Message(role="user", content="<h1>"), []),
        (
            Message(role="tool", content="x", tool_name="<|end|>", tool_call_id="<|user|>"),
            ["<|end|>", "<|user|>"],
        ),
        (
            Message(
                role="assistant", tool_calls=(ToolCall("<|end|>", "f<|end|>", {"<|user|>": ["<|end|>"]}),)
            ),
            ["<|end|>", "f<|end|>"[1:], "<|user|>", "<|end|>"],
        ),
    ],
)
def test_control_strings_in_a_message_are_quoted(
    tmp_path: Path, message: Message, expected: list[str]
) -> None:
    template = "<|user|>{# <think> </think> #}{{ messages | tojson }}<|end|>"
    prompt = rendered(tmp_path, template, (message,))
    assert _quoted_texts(prompt) == expected
    without = rendered(tmp_path, template.replace("<think>", ""), (message,))
    assert prompt.text == without.text


def test_control_strings_in_tools_are_quoted(tmp_path: Path) -> None:
    tool = Tool(name="f<|end|>", description="<|user|>", parameters={"<|end|>": [{"x": "<|user|>"}]})
    prompt = rendered(tmp_path, "{{ tools | tojson }}", tools=(tool,))
    assert _quoted_texts(prompt) == ["<|end|>", "<|user|>", "<|end|>", "<|user|>"]
    assert json.loads(prompt.text)[0]["function"]["parameters"] == tool.parameters


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content | upper }}",
        "{{ messages[0].content | tojson(ensure_ascii=true) }}",
        "{{ messages[0].content.strip().title() }}",
        "7{{ messages[0].content }}7",
    ],
)
def test_filters_do_not_unmask_a_control_string(tmp_path: Path, template: str) -> None:
    prompt = rendered(tmp_path, template, (Message(role="user", content="12<|end|>34"),))
    assert _quoted_texts(prompt) == ["<|end|>"]
    assert "12<|end|>34" in prompt.text


@pytest.mark.parametrize(
    ("strings", "text", "expected"),
    [
        (["<a>", "<ab>", "<a"], "<ab><a><a", ["<ab>", "<a>", "<a"]),
        (["<|r_0|>", "<|r_1|>", "<|r_10|>"], "<|r_10|><|r_1|>", ["<|r_10|>", "<|r_1|>"]),
        (["a.b", "[X]", "(", "\n\n"], "axb a.b [X] ( \n\n", ["a.b", "[X]", "("]),
    ],
)
def test_the_longest_control_string_is_found(strings: list[str], text: str, expected: list[str]) -> None:
    quoting = Quoting()
    prompt = quoting.prompt(quoting.quote(text, ControlStrings(strings)))
    assert _quoted_texts(prompt) == expected
    assert prompt.text == text
