"""Modelfiles: the grammar of Ollama's parser, faults with their line, and a print that reads back as the same."""

from __future__ import annotations

import pytest

from registry import modelfile
from registry.modelfile import Modelfile, ModelfileError, Said


def test_everything_that_can_be_said() -> None:
    text = '''# a comment
FROM qwen3:4b

SYSTEM """You are "Ahab".
# this is text
Speak."""
parameter temperature 0.5
PARAMETER stop "<|a b|>"
PARAMETER stop two words
PARAMETER num_ctx 2048.0
PARAMETER use_mmap true
PARAMETER mirostat 2
Message user   Hello there
MESSAGE assistant """Hi
you"""
TEMPLATE "{{ messages }}"
LICENSE MIT
LICENSE """And
more"""
ADAPTER ./lora
RENDERER qwen3
PARSER qwen3
REQUIRES 0.5
'''
    found = modelfile.parse(text)
    assert found == Modelfile(
        source="qwen3:4b",
        system='You are "Ahab".\n# this is text\nSpeak.',
        template="{{ messages }}",
        parameters={"temperature": 0.5, "stop": ["<|a b|>", "two words"], "num_ctx": 2048, "use_mmap": True},
        messages=(Said("user", "Hello there"), Said("assistant", "Hi\nyou")),
        licences=("MIT", "And\nmore"),
        adapters=("./lora",),
    )
    assert modelfile.parse(modelfile.render(found)) == found
    assert modelfile.parse("\ufeff" + text.replace("\n", "\r\n")) == found


@pytest.mark.parametrize(
    "system",
    [
        "plain",
        " with spaces ",
        'a "quoted" word',
        '"all of it"',
        "two\nlines",
        'ends with a quote"',
        "# no comment",
        "back\\slash \\n",
        "FROM nowhere",
        "\n\nlines before and after\n\n",
        'three """ in a line',
        "ünïcödé 模型 🦜",
    ],
)
def test_any_text_reads_back_as_it_was(system: str) -> None:
    wanted = Modelfile(source="m", system=system, messages=(Said("user", system),), licences=(system,))
    assert modelfile.parse(modelfile.render(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no FROM line"),
        ("SYSTEM hi\n", 2, "no FROM line"),
        ("FROM\n", 1, "FROM has no value"),
        ("FROM a\nFROM b\n", 2, "a second FROM"),
        ("FROM a\n\nFORM b\n", 3, "'FORM' is no instruction; the instructions are FROM, SYSTEM"),
        ('FROM a\nSYSTEM """never\nends\n', 2, 'the text that begins with """ here never ends'),
        ("FROM a\nPARAMETER temperature\n", 2, "PARAMETER temperature has no value"),
        ("FROM a\nPARAMETER heat 5\n", 2, "unknown parameter 'heat'"),
        ("FROM a\nPARAMETER top_k many\n", 2, "parameter top_k: 'many' is not of type integer"),
        ("FROM a\nMESSAGE cat meow\n", 2, "message role 'cat' is none of system, user, assistant"),
        ("FROM a\nADAPTER\n", 2, "ADAPTER has no value"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ModelfileError) as caught:
        modelfile.parse(text)
    assert caught.value.line == line
    assert words in str(caught.value)
