"""Sampling options within the bounds that the engine takes, whatever the dialect they came in.

Where llama.cpp gives a value outside them a meaning, it is kept (a seed below 0 is a random one, a top_p of 0
leaves the likeliest token); what has none is a 400 that names the field.
"""

from __future__ import annotations

import secrets

from msgspec import structs

from inference.errors import BadRequest
from inference.types import Sampling

_LARGEST_INT = 2**31 - 1
_LARGEST_SEED = 2**63 - 1
_SMALLEST_TOP_P = 1e-6
_LARGEST_MIN_P = 0.999
_COLDEST = 1e-4
"""Below it every token but the likeliest is out of reach, and a float32 may become 0."""
_REPEAT_PENALTIES = (1e-3, 1e3)
_LARGEST_PENALTY = 2.0
"""Of presence and frequency: OpenAI's bound, and OpenVINO GenAI's."""


MOST_STOPS = 64
LONGEST_STOP = 1_000
"""Characters. Each new piece of an answer is looked at for all stop strings."""


def bounded(sampling: Sampling) -> Sampling:
    """Raises BadRequest."""
    _check_stops(sampling.stop or ())
    for field in ("presence_penalty", "frequency_penalty"):
        penalty = getattr(sampling, field)
        if penalty is not None and abs(penalty) > _LARGEST_PENALTY:
            raise BadRequest(f'"{field}": {penalty:g} is not between -2 and 2', field)
    if sampling.repeat_penalty is not None and sampling.repeat_penalty <= 0:
        raise BadRequest(f'"repeat_penalty": {sampling.repeat_penalty:g} is not above 0', "repeat_penalty")
    return structs.replace(
        sampling,
        temperature=_temperature(sampling.temperature),
        repeat_penalty=_within(sampling.repeat_penalty, *_REPEAT_PENALTIES),
        top_p=_within(sampling.top_p, _SMALLEST_TOP_P, 1.0),
        min_p=_within(sampling.min_p, 0.0, _LARGEST_MIN_P),
        top_k=_whole(sampling.top_k),
        max_tokens=_whole(sampling.max_tokens),
        seed=_seed(sampling.seed),
    )


def _check_stops(stops: tuple[str, ...]) -> None:
    if len(stops) > MOST_STOPS:
        raise BadRequest(f"{len(stops)} stop strings; at most {MOST_STOPS} are accepted", "stop")
    longest = max(map(len, stops), default=0)
    if longest > LONGEST_STOP:
        raise BadRequest(
            f"a stop string of {longest} characters; at most {LONGEST_STOP} are accepted", "stop"
        )


def _temperature(value: float | None) -> float | None:
    """0 is greedy, as every negative one is for llama.cpp."""
    return 0.0 if value is not None and value < _COLDEST else _within(value, 0.0, float(_LARGEST_INT))


def _within(value: float | None, least: float, most: float) -> float | None:
    return None if value is None else min(max(value, least), most)


def _whole(value: int | None) -> int | None:
    """-1 stands for every negative: no limit."""
    return None if value is None else min(max(value, -1), _LARGEST_INT)


def _seed(value: int | None) -> int | None:
    if value is None:
        return None
    return secrets.randbits(31) if value < 0 else value & _LARGEST_SEED
