"""PARAMETER of a Modelfile: stored JSON -> sampling options, /api/show's text, a Modelfile's lines."""

from __future__ import annotations

from typing import Any

import pytest

from inference.types import Sampling
from registry import parameters

SAMPLING: list[tuple[dict[str, Any], Sampling]] = [
    ({}, Sampling()),
    ({"temperature": 0}, Sampling(temperature=0.0)),
    ({"temperature": 0.7, "top_p": 1, "min_p": 0}, Sampling(temperature=0.7, top_p=1.0, min_p=0.0)),
    ({"top_k": 20.0, "seed": 7.0}, Sampling(top_k=20, seed=7)),
    ({"num_predict": -1}, Sampling(max_tokens=-1)),
    ({"stop": ["<|im_end|>", "\n\n"]}, Sampling(stop=("<|im_end|>", "\n\n"))),
    ({"stop": "end"}, Sampling(stop=("end",))),
    ({"repeat_penalty": 1.1, "presence_penalty": 0.5}, Sampling(repeat_penalty=1.1, presence_penalty=0.5)),
    ({"frequency_penalty": 1}, Sampling(frequency_penalty=1.0)),
    ({"num_ctx": 2048}, Sampling()),
    ({"temperature": None}, Sampling()),
    ({"mirostat": 2, "num_gpu": 1}, Sampling(ignored=("mirostat", "num_gpu"))),
]


@pytest.mark.parametrize(("stored", "expected"), SAMPLING)
def test_stored_parameters_become_sampling_options(stored: dict[str, Any], expected: Sampling) -> None:
    assert parameters.sampling(stored) == expected


TEXT: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"temperature": 0}, "temperature                    0"),
    ({"temperature": 0.7}, "temperature                    0.7"),
    ({"temperature": 1.0}, "temperature                    1"),
    ({"num_ctx": 32768}, "num_ctx                        32768"),
    ({"use_mmap": True}, "use_mmap                       true"),
    ({"stop": 'say "x"\n'}, 'stop                           "say \\"x\\"\\n"'),
    (
        {"top_k": 20, "stop": ["<|user|>", "é"]},
        'stop                           "<|user|>"\n'
        'stop                           "é"\n'
        "top_k                          20",
    ),
]


@pytest.mark.parametrize(("stored", "expected"), TEXT)
def test_show_pads_names_to_thirty_and_repeats_a_name_for_each_value(
    stored: dict[str, Any], expected: str
) -> None:
    assert parameters.as_text(stored) == expected
    assert all(len(line.split(maxsplit=1)) == 2 for line in expected.splitlines())


@pytest.mark.parametrize(("stored", "limit"), [({}, 0), ({"num_ctx": 2048}, 2048), ({"num_ctx": None}, 0)])
def test_num_ctx_is_the_context_limit(stored: dict[str, Any], limit: int) -> None:
    assert parameters.context_limit(stored) == limit
