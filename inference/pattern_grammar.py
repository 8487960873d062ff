"""Regular expressions of JSON schemas (ECMA-262's, in the part that grammars can express) -> EBNF inside a JSON string.

A pattern is taken as anchored, which gives fewer texts than JSON schema allows and none that it forbids; one that
begins with `^` and does not end with `$` may go on with anything.
"""

from __future__ import annotations

from msgspec import Struct

HIGHEST = 0x10FFFF
Ranges = tuple[tuple[int, int], ...]

_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = ((0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x20))
_CLASSES = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_JSON_ESCAPES = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 0x22: '"', 0x5C: "\\"}


class PatternError(ValueError):
    """Not a regular expression; the message says where."""


class UnsupportedPattern(ValueError):
    """A regular expression that no grammar expresses: a look-around, a back-reference, a word boundary."""


class Chars(Struct, frozen=True):
    """One character of `ranges`; `broad`: given by what it is not, so control characters need no escapes."""

    ranges: Ranges
    broad: bool = False


class Sequence(Struct, frozen=True):
    items: tuple[Node, ...]


class Choice(Struct, frozen=True):
    branches: tuple[Node, ...]


class Repeat(Struct, frozen=True):
    item: Node
    least: int
    most: int | None


Node = Chars | Sequence | Choice | Repeat


def parse(pattern: str) -> Node:
    """Raises PatternError or UnsupportedPattern."""
    return _Parser(pattern).whole()


def repetitions(node: Node) -> int:
    """The largest product of counted repetitions along one path."""
    if isinstance(node, Sequence):
        return max(map(repetitions, node.items), default=1)
    if isinstance(node, Choice):
        return max(map(repetitions, node.branches))
    if isinstance(node, Repeat):
        return max(node.least if node.most is None else node.most, 1) * repetitions(node.item)
    return 1


def states(node: Node) -> float:
    """What compiling costs, in states that most of the vocabulary has to be tried against."""
    if isinstance(node, Sequence):
        return sum(map(states, node.items))
    if isinstance(node, Choice):
        return sum(map(states, node.branches))
    if isinstance(node, Repeat):
        return max(node.least if node.most is None else node.most, 1) * states(node.item)
    size = sum(high - low + 1 for low, high in node.ranges)
    return 1.0 if size > 128 else 0.15 if size > 10 else 0.05


def relaxed(node: Node) -> Node:
    """Without the counts of repeated characters: at least one, or any number."""
    if isinstance(node, Sequence):
        return Sequence(tuple(map(relaxed, node.items)))
    if isinstance(node, Choice):
        return Choice(tuple(map(relaxed, node.branches)))
    if isinstance(node, Repeat) and isinstance(node.item, Chars):
        return Repeat(node.item, min(node.least, 1), None)
    return Repeat(relaxed(node.item), node.least, node.most) if isinstance(node, Repeat) else node


def ebnf(node: Node) -> str:
    """One term: safe to put beside others."""
    if isinstance(node, Chars):
        return _chars_text(node)
    if isinstance(node, Sequence):
        return "(" + " ".join(map(ebnf, node.items)) + ")" if node.items else '""'
    if isinstance(node, Choice):
        return "(" + " | ".join(map(ebnf, node.branches)) + ")"
    item = f"({ebnf(node.item)})" if isinstance(node.item, Repeat) else ebnf(node.item)
    return item + counted(node.least, node.most)


def counted(least: int, most: int | None) -> str:
    """The quantifier behind a term."""
    if most is None and least < 2:
        return "*+"[least]
    if least == most:
        return f"{{{least}}}"
    return "?" if (least, most) == (0, 1) else f"{{{least},{'' if most is None else most}}}"


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def whole(self) -> Node:
        node = self._choice(top=True)
        if self._at < len(self._text):
            raise self._error("a ) that closes nothing")
        return node

    def _error(self, fault: str) -> PatternError:
        return PatternError(f"{fault} at character {self._at}")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        taken = self._peek()
        if not taken:
            raise self._error("it ends too early")
        self._at += 1
        return taken

    def _took(self, text: str) -> bool:
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _choice(self, top: bool = False) -> Node:
        branches = [self._sequence(top)]
        while self._took("|"):
            branches.append(self._sequence(top))
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self, top: bool) -> Node:
        starts = top and self._took("^")
        ends = False
        items: list[Node] = []
        while (next_char := self._peek()) and next_char not in "|)":
            if next_char == "$" and top:
                self._at += 1
                ends = True
                if self._peek() not in ("", "|"):
                    raise UnsupportedPattern("a $ before the end")
                break
            if next_char in "^$":
                raise UnsupportedPattern(f"a {next_char} in the middle")
            items.append(self._quantified(self._atom()))
        if starts and not ends:
            items.append(Repeat(ANY, 0, None))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _atom(self) -> Node:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == ".":
            return Chars(_complement(((10, 10), (13, 13))), broad=True)
        if char == "\\":
            return self._escape()
        if char in "*+?":
            raise self._error(f"a {char} that repeats nothing")
        return _one(char)

    def _group(self) -> Node:
        if self._took("?:"):
            pass
        elif self._took("?<") and self._peek() not in ("=", "!"):
            while self._take() != ">":
                pass
        elif self._text.startswith("?", self._at) or self._text[self._at - 2 : self._at] == "?<":
            raise UnsupportedPattern("a look-around")
        node = self._choice()
        if not self._took(")"):
            raise self._error("a group that is not closed")
        return node

    def _quantified(self, node: Node) -> Node:
        char = self._peek()
        if char in _QUANTIFIERS and char:
            self._at += 1
            least, most = _QUANTIFIERS[char]
        elif char == "{" and (bounds := self._counts()) is not None:
            least, most = bounds
        else:
            return node
        self._took("?")  # lazy or not, the texts are the same
        if self._peek() in ("*", "+", "?") and self._peek():
            raise self._error("two quantifiers in a row")
        return Repeat(node, least, most)

    def _counts(self) -> tuple[int, int | None] | None:
        """{m}, {m,} or {m,n}; None for a brace that stands for itself."""
        end = self._text.find("}", self._at)
        first, comma, second = self._text[self._at + 1 : max(end, 0)].partition(",")
        if end < 0 or not _is_count(first) or not (second == "" or _is_count(second)):
            self._at += 0
            return None
        self._at = end + 1
        least = int(first)
        most = least if not comma else int(second) if second else None
        if most is not None and most < least:
            raise self._error("a repetition with its bounds in the wrong order")
        return least, most

    def _escape(self) -> Chars:
        char = self._take()
        if char.lower() in _CLASSES:
            ranges = _CLASSES[char.lower()]
            return Chars(_complement(ranges), broad=True) if char.isupper() else Chars(ranges)
        if char in _CONTROLS and not (char == "0" and self._peek().isdigit()):
            return Chars(((_CONTROLS[char],) * 2,))
        if char == "x":
            return self._hex(2)
        if char == "u":
            return self._hex(4)
        if char == "c":
            return Chars(((ord(self._take()) % 32,) * 2,))
        if char.isalnum():
            raise UnsupportedPattern(f"\\{char}")
        return _one(char)

    def _hex(self, digits: int) -> Chars:
        text = self._text[self._at : self._at + digits]
        try:
            code = int(text, 16)
        except ValueError:
            raise self._error("not a hexadecimal number") from None
        self._at += digits
        return _one(chr(code))

    def _class(self) -> Chars:
        negated = self._took("^")
        ranges: list[tuple[int, int]] = []
        while not self._took("]"):
            low = self._class_item()
            if self._peek() == "-" and not self._text.startswith("-]", self._at) and len(low) == 1:
                self._at += 1
                high = self._class_item()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][1] < low[0][0]:
                    raise self._error("a range with its ends in the wrong order")
                low = ((low[0][0], high[0][1]),)
            ranges += low
        return Chars(_complement(tuple(ranges)), broad=True) if negated else Chars(_merged(tuple(ranges)))

    def _class_item(self) -> Ranges:
        char = self._take()
        if char != "\\":
            return ((ord(char), ord(char)),)
        if self._took("b"):
            return ((8, 8),)
        return self._escape().ranges


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _one(char: str) -> Chars:
    return Chars(((ord(char), ord(char)),))


def _merged(ranges: Ranges) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Ranges) -> Ranges:
    """Without the surrogates, which are no characters."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in (*_merged((*ranges, (0xD800, 0xDFFF))), (HIGHEST + 1, HIGHEST + 1)):
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    return tuple(gaps)


ANY = Chars(_complement(()), broad=True)


def _chars_text(chars: Chars) -> str:
    """As JSON spells them: quote, backslash and control characters have their escapes."""
    special = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C))
    plain = _complement((*_complement(chars.ranges), *special))
    parts = ["[" + "".join(_range_text(low, high) for low, high in plain) + "]"] if plain else []
    for code in (*range(0x20), 0x22, 0x5C):
        if (code not in range(0x20) or not chars.broad) and any(a <= code <= b for a, b in chars.ranges):
            escape = "\\" + _JSON_ESCAPES[code] if code in _JSON_ESCAPES else f"\\u{code:04x}"
            parts.append(quoted(escape))
    if not parts:
        raise UnsupportedPattern("a class without characters")
    return parts[0] if len(parts) == 1 else "(" + " | ".join(parts) + ")"


def _range_text(low: int, high: int) -> str:
    return _code_text(low) if low == high else f"{_code_text(low)}-{_code_text(high)}"


def _code_text(code: int) -> str:
    # As the character itself: xgrammar's \x reads on through any hexadecimal digit that follows.
    return f"\\{chr(code)}" if chr(code) in "\\]^-" else chr(code)


def quoted(text: str) -> str:
    """A literal of EBNF."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
