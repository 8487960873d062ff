"""JSON values that mean harm: of every type, of none, and by the names of fields what a careful enemy would send.

A `Draw` takes one from a `Random`: a plain one gives thousands a second, and the same again for the same seed;
hypothesis has one, `st.randoms()`, whose draws it makes smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Json = Any
Draw = Callable[[Random], Any]


def one_of(*draws: Draw) -> Draw:
    return lambda random: random.choice(draws)(random)


def given(*values: Json) -> Draw:
    return lambda random: random.choice(values)


def listed(draw: Draw, most: int = 3) -> Draw:
    return lambda random: [draw(random) for _ in range(random.randint(0, most))]


def keyed(name: Draw, draw: Draw, most: int = 3) -> Draw:
    return lambda random: {name(random): draw(random) for _ in range(random.randint(0, most))}


def fields(**draws: Draw) -> Draw:
    """An object with most of these; `type_` is written `type`."""

    def draw(random: Random) -> dict[str, Json]:
        return {
            name.rstrip("_"): each(random)
            for name, each in draws.items()
            if random.random() < _FIELD_IS_THERE
        }

    return draw


_FIELD_IS_THERE = 0.6
_DEEP: list[Any] = []
for _ in range(120):
    _DEEP = [_DEEP]

texts = given(
    *(
        "",
        " ",
        "a",
        "demo",
        "all-minilm",
        "nope",
        "\x00",
        "\ufffd",
        "\ud800",
        "a\udc00b",
        "ü" * 40,
        "<think>",
    ),
    *(
        "</think>",
        "<tool_call>",
        "<|im_end|>",
        "{{ system }}",
        "{% raw %}",
        "../../etc/passwd",
        "%00",
        "\r\nX: y",
    ),
    *(
        "x" * 5000,
        "🏳️‍🌈",
        "\u202e",
        "null",
        "0",
        "-1",
        "NaN",
        "sha256:" + "0" * 64,
        "data:image/png;base64,!",
        "true",
    ),
)
numbers = given(
    *(
        0,
        1,
        -1,
        2,
        3,
        0.5,
        -0.0,
        1e-300,
        1e300,
        -1e300,
        2**31,
        2**32,
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63) - 1,
    ),
    *(5, 7, 20, 21, 40, 2**64, 10**30, 10**400, float("nan"), float("inf"), float("-inf")),
)
scalars = one_of(texts, numbers, given(True, False, None))


def values(random: Random, depth: int = 0) -> Json:
    """Any JSON, and what is none: NaN, halves of surrogate pairs."""
    kind = random.randrange(12 if depth < 3 else 6)
    if kind < 6:
        return scalars(random)
    if kind == 6:
        return _DEEP

    def inside(inner: Random) -> Json:
        return values(inner, depth + 1)

    return listed(inside)(random) if kind < 9 else keyed(texts, inside)(random)


schemas = given(
    *(True, {}, {"type": "object"}, {"type": "strange"}, {"type": ["string", "null"]}, {"enum": []}),
    {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a", "b"]},
    *(
        {"$ref": "#"},
        {"$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/a"}}},
        {"$ref": 1},
    ),
    *({"type": "string", "pattern": "("}, {"type": "string", "pattern": "(a{1,99}){1,99}"}, {"pattern": 1}),
    *(
        {"minItems": -1},
        {"minItems": 10**400, "type": "array"},
        {"items": [_DEEP]},
        {"anyOf": []},
        {"not": {}},
    ),
    *(
        {"type": "integer", "minimum": 5, "maximum": 1},
        {"type": "number", "minimum": 1e300},
        {"const": "\ud800"},
    ),
)
_kinds = given(
    *(
        "text",
        "input_text",
        "image_url",
        "image",
        "tool_use",
        "tool_result",
        "thinking",
        "document",
        "function",
    ),
    *("message", "function_call", "function_call_output", "reasoning", "namespace", "custom"),
)
_parts = listed(
    fields(
        type_=one_of(_kinds, texts),
        **dict.fromkeys(
            ("text", "image_url", "source", "id", "name", "input", "content", "thinking"), values
        ),
        tool_use_id=texts,
    )
)
_roles = one_of(given("user", "assistant", "system", "tool", "developer", "USER"), texts)
_items = listed(
    fields(
        type_=one_of(_kinds, values),
        role=one_of(_roles, values),
        **dict.fromkeys(
            ("content", "name", "arguments", "call_id", "output", "summary"), one_of(texts, values)
        ),
    )
)
_choices = one_of(
    given("auto", "none", "required", "any"),
    fields(
        type_=given("function", "allowed_tools", "tool", "any"),
        name=one_of(given("weather"), texts),
        function=values,
        tools=listed(values),
        mode=one_of(given("auto"), texts),
    ),
)
_formats = one_of(
    given("json", "", "yaml", "{"),
    schemas,
    fields(
        type_=one_of(given("text", "json_object", "json_schema"), texts),
        json_schema=fields(schema=schemas, name=texts),
        schema=schemas,
        name=texts,
    ),
)
_stays = given(
    *(
        60,
        3600.5,
        -1,
        "5m",
        "1h0m",
        "-1s",
        "",
        "abc",
        "300",
        "5 m",
        True,
        [],
        {},
        10**30,
        "9" * 400 + "s",
        "1e3s",
    )
)
"""Of keep_alive: nothing that unloads, since what is loaded must be the same worker afterwards."""
_most = given(1, 2, 3, 4, 4, 4, 1.5, "4", True, 10**30, -(10**30), 2**31 - 1)
_option_names = given(
    *(
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "seed",
        "stop",
        "repeat_penalty",
        "num_ctx",
        "device",
        "use_mmap",
    ),
    *("presence_penalty", "frequency_penalty", "num_gpu", "mirostat", "draft_num_predict", "nonsense"),
)


def _options(random: Random) -> Json:
    return {"num_predict": _most(random), **keyed(_option_names, one_of(values, numbers), 4)(random)}


TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "of a city", "parameters": {"type": "object"}},
}

NAMED: dict[str, Draw] = {
    "model": one_of(given("demo", "all-minilm", "demo:latest", "DEMO", "nope", "a/b", "x:cloud"), texts),
    "role": _roles,
    "mode": one_of(given("Performance", "balanced", "QUIET", "Auto", "UltraEfficiency", "warp"), texts),
    "content": one_of(texts, _parts),
    "system": one_of(texts, _parts),
    "input": one_of(texts, _items, listed(texts, 4), listed(given(-1, 0, 5, 9), 4)),
    "prompt": one_of(texts, listed(texts), listed(given(-1, 0, 5, 9), 4), listed(listed(given(0, 5)))),
    "tools": listed(one_of(given(TOOL), fields(type_=texts, name=texts, function=values))),
    "parameters": schemas,
    "input_schema": schemas,
    "tool_choice": _choices,
    "format": _formats,
    "response_format": _formats,
    "text": fields(format=_formats),
    "options": _options,
    "keep_alive": _stays,
    "think": given(True, False, "low", "max", "some", 1, {}),
    "n": given(1, 2, 3, 0, -1, 33, 10**6),
    "max_tokens": _most,
    "max_completion_tokens": _most,
    "max_output_tokens": _most,
    "stop": one_of(texts, listed(texts, 70)),
    "logit_bias": keyed(texts, numbers),
    "context": listed(given(-2, 0, 5, 600, 3000)),
    "tokens": listed(given(-2, 0, 5, 600, 3000)),
}
"""By field name: what a careful enemy would send."""

_made = given("made", "made:b", "a/b", "MADE", "copied")
OWN: dict[tuple[str, str], Draw] = {
    ("create", "model"): _made,
    ("create", "name"): _made,
    ("create", "parameters"): _options,
    ("create", "from"): one_of(given("demo", "all-minilm", "made", "nope", "a/b", "x:cloud"), texts),
    ("create", "files"): keyed(texts, one_of(given("sha256:" + "0" * 64), texts)),
    ("create", "template"): one_of(
        given("{{ .Prompt }}", "{{", "{% for x in range(10**9) %}{% endfor %}"), texts
    ),
    ("create", "quantize"): one_of(given("q9", ""), texts),
    ("copy", "destination"): one_of(_made, given("", "../x", "a b")),
    ("pull", "model"): one_of(given("org/nothing", "a/b/c/d", "hf.co/x/y", "http://[::1", "q:cloud"), texts),
}
"""By operation and field, where a name must not be that of a model the other requests need."""
