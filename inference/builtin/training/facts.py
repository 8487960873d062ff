"""What the demo model knows: facts with many phrasings, read from data/."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Fact:
    """One answer and what people ask to get it."""

    name: str
    about: str  # a few words for the thought, "the default port"
    answer: str
    asks: tuple[str, ...]  # whole questions
    goals: tuple[str, ...]  # "start the server", put into frames such as "how do I …"
    nouns: tuple[str, ...]  # "the default port", put into frames such as "what is …"


def lines(text: str | None) -> tuple[str, ...]:
    """The entries of a block: one a line, or several with " | " between them."""
    return tuple(
        part.strip() for line in (text or "").splitlines() for part in line.split(" | ") if part.strip()
    )


@cache
def read(name: str) -> Any:
    """One data file."""
    return yaml.safe_load((DATA / name).read_text(encoding="utf-8"))


@cache
def facts() -> tuple[Fact, ...]:
    """All facts, in the order of their files."""
    return tuple(_facts())


def _more_asks() -> dict[str, tuple[str, ...]]:
    """Further questions by fact, from more_*.yaml."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(DATA.glob("more_*.yaml")):
        for name, text in read(path.name).items():
            found[name] = found.get(name, ()) + lines(text)
    return found


def _facts() -> Iterator[Fact]:
    more = _more_asks()
    for path in sorted(DATA.glob("facts_*.yaml")):
        for name, entry in read(path.name).items():
            yield Fact(
                name=name,
                about=entry["about"],
                answer=" ".join(entry["answer"].split()),
                asks=lines(entry.get("asks")) + more.get(name, ()),
                goals=lines(entry.get("goals")),
                nouns=lines(entry.get("nouns")),
            )


@cache
def held_back() -> dict[str, tuple[str, ...]]:
    """Questions of the test, by fact; nothing here may be trained on."""
    return {name: lines(text) for name, text in read("held_back.yaml").items()}
