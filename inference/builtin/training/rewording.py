"""Variants of a question: frames, synonyms, dropped words, shuffles, slips of the finger, case, politeness."""

import random
import re
from functools import cache

import facts

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Words that carry no topic: losing one leaves the question answerable.
FILLERS = frozenset(
    [
        "a",
        "an",
        "the",
        "is",
        "are",
        "do",
        "does",
        "did",
        "i",
        "my",
        "me",
        "we",
        "it",
        "its",
        "this",
        "that",
        "to",
        "of",
        "for",
        "on",
        "in",
        "at",
        "with",
        "can",
        "could",
        "would",
        "should",
        "please",
        "how",
        "what",
        "which",
        "there",
        "be",
        "will",
        "you",
        "so",
        "just",
        "and",
        "or",
        "from",
        "by",
        "when",
        "if",
    ]
)


@cache
def _synonyms() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for line in facts.lines(facts.read("wording.yaml")["synonyms"]):
        group = tuple(word.strip() for word in line.split(","))
        for word in group:
            others = tuple(other for other in group if other != word)
            table[word] = table.get(word, ()) + others
    return table


@cache
def _wording(key: str) -> tuple[str, ...]:
    return facts.lines(facts.read("wording.yaml")[key])


def phrase(fact: facts.Fact, rng: random.Random) -> str:
    """A plain question for the fact, or two in a row."""
    if rng.random() < 0.2:
        return rng.choice((" ", ", ", ". ", "? ")).join((_phrase(fact, rng), _phrase(fact, rng)))
    return _phrase(fact, rng)


def _phrase(fact: facts.Fact, rng: random.Random) -> str:
    """A written question, or a goal or noun in a frame."""
    pools = [("ask", len(fact.asks)), ("goal", len(fact.goals)), ("noun", len(fact.nouns))]
    kind = rng.choices(
        [pool for pool, _ in pools], [count * (1.0 if pool == "ask" else 1.2) for pool, count in pools]
    )[0]
    if kind == "ask":
        return rng.choice(fact.asks)
    if kind == "goal":
        return rng.choice(_wording("goal_frames")).replace("{}", rng.choice(fact.goals))
    return rng.choice(_wording("noun_frames")).replace("{}", rng.choice(fact.nouns))


def swap_synonyms(text: str, rng: random.Random, share: float) -> str:
    """Replace words, or pairs of words, by others that mean the same here."""
    table = _synonyms()
    words = text.split(" ")
    out: list[str] = []
    at = 0
    while at < len(words):
        for length in (3, 2, 1):
            raw = " ".join(words[at : at + length])
            bare = raw.strip("?!.,").lower()
            if at + length <= len(words) and bare in table:
                if rng.random() < share:
                    raw = raw.lower().replace(bare, rng.choice(table[bare]), 1)
                out.append(raw)
                at += length
                break
        else:
            out.append(words[at])
            at += 1
    return " ".join(out)


def drop_words(text: str, rng: random.Random) -> str:
    """Lose some words, fillers mostly; two words at least remain."""
    words = text.split(" ")
    keep = [word for word in words if rng.random() > (0.3 if word.lower().strip("?.,!") in FILLERS else 0.05)]
    return " ".join(keep) if len(keep) >= min(2, len(words)) else text


def shuffle_words(text: str, rng: random.Random) -> str:
    """Move one part of the sentence in front of the other, or swap neighbours."""
    words = text.rstrip("?!.").split(" ")
    if len(words) < 3:
        return text
    at = rng.randrange(1, len(words))
    if rng.random() < 0.5:
        return " ".join(words[at:] + words[:at])
    words[at - 1], words[at] = words[at], words[at - 1]
    return " ".join(words)


def mistype(text: str, rng: random.Random) -> str:
    """One or two slips: a letter lost, doubled, wrong, or swapped with its neighbour."""
    for _ in range(rng.choice((1, 1, 2))):
        spots = [match.start() for match in re.finditer(r"[a-z]{4,}", text)]
        if not spots:
            return text
        start = rng.choice(spots)
        word = re.match(r"[a-z]+", text[start:])
        at = start + rng.randrange(1, len(word.group(0)) if word else 2)
        slip = rng.randrange(4)
        if slip == 0:
            text = text[:at] + text[at + 1 :]
        elif slip == 1:
            text = text[:at] + text[at] + text[at:]
        elif slip == 2:
            text = text[:at] + rng.choice(LETTERS) + text[at + 1 :]
        else:
            text = text[: at - 1] + text[at : at + 1] + text[at - 1 : at] + text[at + 1 :]
    return text


@cache
def _proper() -> dict[str, str]:
    return {word.lower(): word for word in _wording("proper")}


def write_names(text: str, rng: random.Random) -> str:
    """Names and abbreviations with their capitals; now and then every word with one."""
    if rng.random() < 0.06:
        return text.title()
    table = _proper()
    return re.sub(r"[\w-]+", lambda match: table.get(match.group(0), match.group(0)), text)


def dress(text: str, rng: random.Random) -> str:
    """Opening and closing words, case, the mark at the end."""
    if rng.random() < 0.25:
        text = rng.choice(_wording("openers")).replace("{}", text)
    if rng.random() < 0.15:
        text = text.rstrip("?!. ") + rng.choice(("", ",", ".", "?")) + " " + rng.choice(_wording("closers"))
    end = rng.random()
    if end < 0.35:
        text = text.rstrip("?!. ")
    elif end < 0.7:
        text = text.rstrip("?!. ") + "?"
    case = rng.random()
    if case < 0.5:
        text = text[:1].upper() + text[1:]
    elif case < 0.75:
        text = text.lower()
    elif case < 0.77:
        text = text.upper()
    return text.strip() or "?"


def reword(text: str, rng: random.Random) -> str:
    """A new variant of a question that still asks the same."""
    if rng.random() < 0.75:
        text = swap_synonyms(text, rng, rng.choice((0.1, 0.2, 0.4)))
    if rng.random() < 0.5:
        text = drop_words(text, rng)
    draw = rng.random()
    if draw < 0.08:
        text = shuffle_words(text, rng)
    elif draw < 0.28:
        words = text.rstrip("?!.").split(" ")
        rng.shuffle(words)
        text = " ".join(words)
    if rng.random() < 0.14:
        text = mistype(text, rng)
    text = re.sub(r"  +", " ", text).strip()
    return dress(write_names(text, rng) if rng.random() < 0.45 else text, rng)
