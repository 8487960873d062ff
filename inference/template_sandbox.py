"""Where chat templates of unknown origin run: Jinja2's immutable sandbox with what Hugging Face gives, and bounds.

A sandbox bounds neither time nor memory: `{{ 'a' * 10**9 }}` takes a gigabyte (openvino-facts 20). Time is bounded by
`template_threads`. Here whatever can make a value larger than what it was given is charged, in characters or elements,
to a budget of the render: beforehand where it may multiply, afterwards where it can at most double. Containers are
charged with all they hold when they are made, so that none exists whose text or comparison is exponential.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

BUDGET = 16_000_000
"""Of one render, on top of 32 times its input: templates copy messages about, they do not multiply them."""

RENDER_SECONDS = 2.0
"""Looked at with each charge: each turn of a loop, each value printed or made."""

BRIEF_BUDGET = 20_000
BRIEF_SECONDS = 0.002
"""Of a render on the event loop; a template of ordinary size takes a tenth of it."""

LARGEST_ARGUMENT = 100_000
"""For widths, counts and digits in calls."""

_WIDE_FIELD = re.compile(r"\d{4}|%[^a-zA-Z%]*\*|:[^}]*\{")
"""A field of a format string that is wider than 999, or as wide as an argument says."""

_DENIED_METHODS = frozenset({"translate", "expandtabs", "encode", "to_bytes", "maketrans"})
_MULTIPLYING_FILTERS = frozenset(
    {"indent", "wordwrap", "urlize", "center", "batch", "slice", "truncate", "xmlattr"}
)
_NESTING_FILTERS = frozenset({"batch", "slice", "groupby"})
_PADDING_METHODS = frozenset({"ljust", "rjust", "center", "zfill"})


class TemplateRefusal(TemplateError):
    """The template's own words, by raise_exception, on a conversation that it does not take."""


class TemplateTooLarge(TemplateError):
    """The render would make more than its budget."""


class TemplateTooSlow(TemplateError):
    """The render takes longer than RENDER_SECONDS."""


class TakesLong(Exception):
    """A brief render would make more than BRIEF_BUDGET, or take longer than BRIEF_SECONDS."""


class _Budget(threading.local):
    left = BUDGET
    brief = False
    until = math.inf


_budget = _Budget()


def set_budget(input_chars: int, brief: bool = False) -> None:
    """The start of a render, or of a compilation, on this thread. A brief render ends by TakesLong."""
    _budget.left = (BRIEF_BUDGET if brief else BUDGET) + 32 * input_chars
    _budget.brief = brief
    _budget.until = time.perf_counter() + (BRIEF_SECONDS if brief else RENDER_SECONDS)


def charge(size: int) -> None:
    budget = _budget
    budget.left -= size
    slow = time.perf_counter() > budget.until
    if budget.brief and (slow or budget.left < 0):
        raise TakesLong
    if slow:
        raise TemplateTooSlow(f"it did not end within {RENDER_SECONDS:g} s")
    if budget.left < 0:
        raise TemplateTooLarge("it makes more text than any prompt needs")


def _charge_deep(value: Any) -> None:
    """All that a container holds, what is in it twice counted twice."""
    waiting, size = [value], 0
    while waiting:
        item = waiting.pop()
        size += 32 + (len(item) if isinstance(item, str) else 0)
        if size > 65_536:
            charge(size)
            size = 0
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item
    charge(size)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple, dict)) else 0


def _reach(arguments: Iterable[Any]) -> int:
    """How many times larger the arguments of a filter may make its value."""
    return max((abs(int(a)) if isinstance(a, (int, float)) else _size(a) for a in arguments), default=1) + 1


def _check_arguments(arguments: Iterable[Any]) -> None:
    for argument in arguments:
        if isinstance(argument, (int, float)) and not abs(argument) <= LARGEST_ARGUMENT:
            raise TemplateTooLarge(f"an argument is above {LARGEST_ARGUMENT}")


def _charge_format(text: str, arguments: Iterable[Any]) -> None:
    if _WIDE_FIELD.search(text):
        raise TemplateTooLarge("a field of a format is too wide")
    charge((text.count("%") + text.count("{")) * (max(map(_size, arguments), default=0) + 999))


def _charge_replace(text: Any, old: Any, new: Any, *_: Any) -> None:
    text, old = str(text), str(old)
    charge((text.count(old) if old else len(text) + 1) * len(str(new)))


def _joinable(parts: Iterable[Any], separator: Any) -> list[Any]:
    kept = list(parts)
    charge(sum(_size(part) + len(separator) + 1 for part in kept))
    return kept


def _times(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        charge((left.bit_length() + right.bit_length()) // 32)
    elif isinstance(right, int):
        charge(max(right, 0) * _size(left))
    elif isinstance(left, int):
        charge(max(left, 0) * _size(right))
    return left * right


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int):
        charge(base.bit_length() * max(exponent, 0))
    return base**exponent


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        _charge_format(left, right if isinstance(right, tuple) else (right,))
    return left % right


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "*": _times,
    "**": _power,
    "%": _modulo,
    "+": lambda left, right: left + right,
}


def _filter(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with its cost charged. Those with `pass_context` and the like take one argument more."""
    passes = 1 if hasattr(plain, "jinja_pass_arg") else 0

    def charged(*args: Any, **kwargs: Any) -> Any:
        value: Any = args[passes] if len(args) > passes else None
        others = (*args[passes + 1 :], *kwargs.values())
        _check_arguments(others)
        if name in _MULTIPLYING_FILTERS:
            charge((1 + _size(value)) * _reach(others))
        elif name == "replace" and len(others) >= 2:
            _charge_replace(value, *others)
        elif name == "format":
            _charge_format(str(value), others)
        elif name == "join" and not isinstance(value, str):
            args = (*args[:passes], _joinable(value, str(others[0] if others else "")), *args[passes + 1 :])
        elif name == "sum" and any(_size(other) and not isinstance(other, str) for other in others):
            raise TemplateTooLarge("sum adds numbers")
        result = plain(*args, **kwargs)
        if name in _NESTING_FILTERS:
            result = list(result)
            _charge_deep(result)
        charge(_size(result))
        return result

    if passes:
        charged.jinja_pass_arg = plain.jinja_pass_arg  # type: ignore[attr-defined]
    return charged


class _Generator(CodeGenerator):
    """Sends what the sandbox does not intercept through the environment: literals of containers and `~`, and each turn
    of a loop."""

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        self.writeline("environment.turn()")
        super().blockvisit(nodes, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self._through("printed", super().visit_Concat, node, frame)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._through("made", super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._through("made", super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._through("made", super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def _through(
        self, method: str, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame
    ) -> None:
        self.write(f"environment.{method}(")
        visit(node, frame)
        self.write(")")


class _Names(Namespace):
    """Its text does not show what it holds, which may hold it in turn."""

    def __repr__(self) -> str:
        return "<Namespace>"


class _GenerationTag(Extension):
    """{% generation %}…{% endgeneration %} marks the model's own turns for training; here it only shows them."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Compiles templates as Hugging Face does; `set_budget` before each compilation and each render."""

    code_generator_class = _Generator
    intercepted_binops = frozenset(_OPERATORS)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[loopcontrols, _GenerationTag]
        )
        self.finalize = self.printed
        self.filters = {name: _filter(name, plain) for name, plain in FILTERS.items()}
        self.filters["tojson"] = _to_json
        self.globals |= {
            "range": _range,
            "raise_exception": _raise_exception,
            "strftime_now": lambda form: datetime.datetime.now().strftime(form),
            "namespace": _Names,
        }
        del self.globals["lipsum"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return self.printed(_OPERATORS[operator](left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        # The names keep clear of keyword arguments of the template, as in the base class.
        _check_arguments((*args, *kwargs.values()))
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str):
            _charge_method(owner, name, args)
            if name == "join" and args:
                args = (_joinable(args[0], owner),)
        elif isinstance(__obj, Macro):
            __self.made((*args, *kwargs.values()))
        elif name in ("format", "format_map"):
            _charge_format(str(getattr(__obj, "__wrapped__", __obj).__self__), (*args, *kwargs.values()))
        return __self.made(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _DENIED_METHODS and super().is_safe_attribute(obj, attr, value)

    @staticmethod
    def made(value: Any) -> Any:
        """A value that may be a new container."""
        if isinstance(value, (list, tuple, dict)):
            _charge_deep(value)
        else:
            charge(_size(value))
        return value

    @staticmethod
    def turn() -> None:
        charge(1)

    @staticmethod
    def printed(value: Any) -> Any:
        charge(_size(value))
        return value

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        return "".join(_joinable(parts, ""))


def _charge_method(text: str, name: str, args: tuple[Any, ...]) -> None:
    if name == "replace" and len(args) >= 2:
        _charge_replace(text, *args)
    elif name in _PADDING_METHODS:
        charge(_reach(args))


def _range(*bounds: int) -> range:
    numbers = safe_range(*bounds)
    charge(len(numbers))
    return numbers


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRefusal(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As Hugging Face has it: nothing escaped for HTML."""
    if indent is not None and not 0 <= indent <= 16:
        raise TemplateTooLarge("an indent is above 16")
    text = json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    charge(len(text))
    return text
