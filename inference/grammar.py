"""Constraints on an answer: bounds that a schema must keep before anything compiles it, and what the worker gets.

Compile time explodes with nested repetitions and grows with the square of the vocabulary (openvino-facts 17), so the
caps here come first; what passes them is compiled in a process that may be killed (`worker/grammar_check.py`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inference.errors import InvalidGrammar
from inference.types import Constraint

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32

Thinking = Literal["", "optional", "open"]

JSON_OBJECT = r"""
root ::= object
object ::= "{" (pair ("," " "? pair)*)? "}"
pair ::= string ":" " "? value
array ::= "[" (value ("," " "? value)*)? "]"
value ::= object | array | string | number | "true" | "false" | "null"
string ::= "\"" ([^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\""
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [+-]? [0-9]{1,3})?
"""
"""Any JSON object in one line: xgrammar's own allows white space without end, in which small models lose themselves."""


def check_bounds(constraint: Constraint) -> None:
    """Raises InvalidGrammar that names the place in the schema."""
    if len(constraint.schema.encode()) > MAX_BYTES:
        raise InvalidGrammar(f"the schema is longer than {MAX_BYTES} bytes", "format")
    if constraint.schema:
        try:
            schema = msgspec.json.decode(constraint.schema)
        except msgspec.DecodeError as error:
            raise InvalidGrammar(f"the schema is not JSON: {error}", "format") from error
        if not isinstance(schema, dict):
            raise InvalidGrammar("the schema is not a JSON object", "format")


def structured_config(
    constraint: Constraint, *, after_thinking: bool, thinking_open: bool = False
) -> dict[str, Any]:
    """Plain values for `worker/grammar_config.py`. `thinking_open`: the prompt ends inside of the thoughts."""
    thinking: Thinking = "open" if thinking_open else "optional" if after_thinking else ""
    if not constraint.schema:
        return {"grammar": JSON_OBJECT, "thinking": thinking}
    return {"json_schema": constraint.schema, "thinking": thinking}
