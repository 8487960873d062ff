"""Bounds of numbers in a JSON schema -> EBNF. All texts are in bounds; not every number in bounds has a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

MAX_DIGITS = 16
"""Of an integer without a bound on that side, and of a fraction."""

_FRACTION = f'"." [0-9]{{1,{MAX_DIGITS}}}'
_FRACTION_ABOVE_0 = f'"." [0-9]{{0,{MAX_DIGITS - 1}}} [1-9]'


def bounded(kind: str, schema: dict[str, Any]) -> str | None:
    """A term for 'integer' or 'number' in the bounds of the schema; None where nothing of simple form is in them."""
    least, open_least = _bound(schema.get("minimum"), schema.get("exclusiveMinimum"), max)
    most, open_most = _bound(schema.get("maximum"), schema.get("exclusiveMaximum"), min)
    if least is None and most is None:
        return kind
    if any(bound is not None and abs(bound) >= 10**MAX_DIGITS for bound in (least, most)):
        return None
    low = None if least is None else math.ceil(least)
    high = None if most is None else math.floor(most)
    first = low + 1 if low is not None and open_least and low == least else low
    last = high - 1 if high is not None and open_most and high == most else high
    choices = list(_integers(first, last))
    if kind == "number":
        choices += _all_decimals(low, high, open_least and low == least, open_most and high == most)
        choices += _edges(least, open_least, most, open_most)
    return "(" + " | ".join(choices) + ")" if choices else None


def _edges(least: float | None, least_out: bool, most: float | None, most_out: bool) -> Iterator[str]:
    """Decimals between a bound that is no whole number and the whole number next to it, or the other bound."""
    if least is not None and least != math.floor(least):
        above = math.ceil(least)
        if most is None or above <= most:
            yield from _fraction(least, least_out, above, True)
        else:
            yield from _fraction(least, least_out, most, most_out)
            return
    if most is not None and most != math.floor(most):
        yield from _fraction(math.floor(most), True, most, most_out)


def _fraction(least: float, least_out: bool, most: float, most_out: bool) -> Iterator[str]:
    """Decimals between two bounds that lie between the same whole numbers, with one digit more than they need."""
    sign = ""
    if most <= 0:
        sign, least, least_out, most, most_out = '"-" ', -most, most_out, -least, least_out
    low, high = Decimal(repr(least)), Decimal(repr(most))
    whole = int(low)
    for digits in range(1, MAX_DIGITS + 1):
        scale = Decimal(10) ** digits
        first, last = math.ceil((low - whole) * scale), math.floor((high - whole) * scale)
        first += least_out and first == (low - whole) * scale
        last -= most_out and last == (high - whole) * scale
        last = min(last, int(scale) - 1)
        if first + 8 <= last or (digits == MAX_DIGITS and first <= last):
            texts = str(first).zfill(digits), str(last).zfill(digits)
            yield f'{sign}"{whole}." ({_same_length(*texts)})'
            return


def _bound(closed: Any, opened: Any, tighter: Callable[..., float]) -> tuple[float | None, bool]:
    """The bound that holds, and whether it is itself out."""
    found = [
        float(value) if isinstance(value, float) else value for value in (closed, opened) if _is_number(value)
    ]
    if not found:
        return None, False
    bound = tighter(found)
    return bound, _is_number(opened) and bound == opened


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _all_decimals(low: int | None, high: int | None, low_out: bool, high_out: bool) -> Iterator[str]:
    """Only between whole numbers of the range: i.f lies between i and i + 1, and no digit needs a look ahead."""
    at_least, at_most = (0 if low is None else max(low, 0)), (None if high is None else high - 1)
    yield from _decimals("", at_least, at_most, first_out=low_out and low == at_least)
    at_least, at_most = (0 if high is None else max(-high, 0)), (None if low is None else -low - 1)
    yield from _decimals('"-" ', at_least, at_most, first_out=high_out and high == -at_least)


def _decimals(sign: str, first: int, last: int | None, first_out: bool) -> Iterator[str]:
    """Decimals whose whole part is in the range; `first_out`: the first whole number itself is out."""
    if last is not None and last < first:
        return
    if first_out:
        yield f'{sign}"{first}" {_FRACTION_ABOVE_0}'
        first += 1
        if last is not None and last < first:
            return
    yield f"{sign}({' | '.join(_naturals(first, last))}) {_FRACTION}"


def _integers(low: int | None, high: int | None) -> Iterator[str]:
    if low is not None and high is not None and low > high:
        return
    if low is None or low < 0:
        nearest = 1 if high is None else max(1, -high)
        for text in _naturals(nearest, None if low is None else -low):
            yield f'"-" {text}'
    if high is None or high >= 0:
        yield from _naturals(0 if low is None else max(low, 0), high)


def _naturals(low: int, high: int | None) -> Iterator[str]:
    """Alternatives for low..high without leading zeros, by number of digits."""
    if high is None:
        digits = len(str(low))
        yield from _naturals(low, 10**digits - 1)
        if digits < MAX_DIGITS:
            yield f"[1-9] [0-9]{{{digits},{MAX_DIGITS - 1}}}"
        return
    while low <= high:
        end = min(high, 10 ** len(str(low)) - 1)
        yield _same_length(str(low), str(end))
        low = end + 1


def _same_length(low: str, high: str) -> str:
    """Numbers of as many digits; leading zeros may stand, since a digit was written before."""
    if not low:
        return '""'
    if low == "0" * len(low) and high == "9" * len(high):
        return f"[0-9]{{{len(low)}}}"
    if low[0] == high[0]:
        return f'"{low[0]}"' if len(low) == 1 else f'"{low[0]}" {_same_length(low[1:], high[1:])}'
    if len(low) == 1:
        return f"[{low}-{high}]"
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    choices = []
    if low[1:] != "0" * rest:
        choices.append(f'"{first}" {_same_length(low[1:], "9" * rest)}')
        first += 1
    if high[1:] != "9" * rest:
        choices.append(f'"{last}" {_same_length("0" * rest, high[1:])}')
        last -= 1
    if first <= last:
        choices.append(f"[{first}-{last}] [0-9]{{{rest}}}")
    return "(" + " | ".join(choices) + ")"
