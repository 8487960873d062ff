"""Guard of the test: no held-back question may be a copy, or nearly one, of something that is trained on."""

import re
from functools import cache
from itertools import chain

import facts
from rewording import FILLERS


def content(text: str) -> frozenset[str]:
    """The words that carry the topic."""
    return frozenset(re.findall(r"[a-z0-9_./-]+", text.lower().rstrip("?!. "))) - FILLERS


@cache
def _held_back() -> frozenset[frozenset[str]]:
    outside = facts.lines(facts.read("held_back_other.yaml")["outside"])
    return frozenset(content(ask) for ask in chain(outside, *facts.held_back().values()))


def is_held_back(question: str) -> bool:
    """Whether the question has the same topic words as one of the test."""
    return content(question) in _held_back()


def copies() -> list[str]:
    """Held-back questions with the same words as a training phrasing, or with its very spelling."""
    known = {
        text.lower().strip("?!. ") for text in chain.from_iterable(_phrasings(fact) for fact in facts.facts())
    }
    sets = {content(text) for text in known}
    found = []
    for asks in facts.held_back().values():
        found += [ask for ask in asks if ask.lower().strip("?!. ") in known or content(ask) in sets]
    return found


def _phrasings(fact: facts.Fact) -> tuple[str, ...]:
    return fact.asks + fact.goals + fact.nouns
