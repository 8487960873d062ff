"""Sampling options outside the engine's bounds: what they mean, and which have no meaning."""

from __future__ import annotations

from typing import Any

import pytest

from inference.errors import BadRequest
from inference.sampling import bounded
from inference.types import Sampling


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {}),
        ({"temperature": -1.0}, {"temperature": 0.0}),
        ({"temperature": 1e-300}, {"temperature": 0.0}),
        ({"temperature": 1e300}, {"temperature": 2.0**31 - 1}),
        ({"top_p": 0.0}, {"top_p": 1e-6}),
        ({"top_p": 7.0}, {"top_p": 1.0}),
        ({"min_p": -1.0}, {"min_p": 0.0}),
        ({"min_p": 1.0}, {"min_p": 0.999}),
        ({"top_k": -5}, {"top_k": -1}),
        ({"top_k": 10**30}, {"top_k": 2**31 - 1}),
        ({"max_tokens": -2}, {"max_tokens": -1}),
        ({"max_tokens": 10**20}, {"max_tokens": 2**31 - 1}),
        ({"repeat_penalty": 1e-30}, {"repeat_penalty": 1e-3}),
        ({"repeat_penalty": 1e30}, {"repeat_penalty": 1e3}),
        ({"seed": 2**64 + 5}, {"seed": 5}),
        ({"stop": ("a",), "ignored": ("mirostat",)}, {"stop": ("a",), "ignored": ("mirostat",)}),
    ],
)
def test_what_has_a_meaning_keeps_it(given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert bounded(Sampling(**given)) == Sampling(**kept)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"presence_penalty": 2.5}, '"presence_penalty": 2.5 is not between -2 and 2'),
        ({"frequency_penalty": -3.0}, '"frequency_penalty": -3 is not between -2 and 2'),
        ({"repeat_penalty": 0.0}, '"repeat_penalty": 0 is not above 0'),
        ({"stop": ("x",) * 65}, "65 stop strings; at most 64 are accepted"),
        ({"stop": ("x" * 1001,)}, "a stop string of 1001 characters; at most 1000 are accepted"),
    ],
)
def test_what_has_none_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        bounded(Sampling(**given))
    assert str(refusal.value) == words
