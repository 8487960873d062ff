"""From the plain values of `inference.grammar.structured_config` to GenAI's StructuredOutputConfig."""

from __future__ import annotations

from typing import Any

import openvino_genai as genai

_Config = genai.StructuredOutputConfig


def structured_output_config(config: dict[str, Any]) -> genai.StructuredOutputConfig:
    """`config` holds `grammar` (EBNF), and `thinking`: '', 'optional' or 'open', with its tags.

    With thinking the answer is free until the closing tag: xgrammar's sequences may hold text without an end only
    inside of a tag. 'optional': thoughts may come first; 'open': the prompt has already opened them.
    """
    made = _Config()
    thinking = config["thinking"]
    if not thinking:
        if "grammar" in config:
            made.grammar = config["grammar"]
        else:
            made.json_schema = config["json_schema"]
        return made
    answer = (
        _Config.EBNF(config["grammar"]) if "grammar" in config else _Config.JSONSchema(config["json_schema"])
    )
    space = _Config.EBNF('root ::= "\\n"{0,2}')
    begin = "" if thinking == "open" else config["open"]
    thought = _Config.Concat(_Config.Tag(begin, _Config.AnyText(), config["close"]), space, answer)
    made.compound_grammar = thought if thinking == "open" else _Config.Union(thought, answer)
    return made
