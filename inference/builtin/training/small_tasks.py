"""Small skills that show a working model: greetings, repeating, counting, a name remembered, values as JSON."""

import json
import random
from functools import cache
from typing import Any

import facts

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SYLLABLES = (
    "ba be bi bo ca ce co da de di do fa fe fi ga go ha ho ja jo ka ke ki ko la le li lo lu ma me mi mo na"
)
SYLLABLES += (
    " ne ni no pa pe po qua ra re ri ro sa se si so ta te ti to va ve vi vo wa we xa ya yo za ze zo zu"
)


@cache
def _data(key: str) -> tuple[str, ...]:
    return facts.lines(facts.read("small_tasks.yaml")[key])


def nonsense(rng: random.Random) -> str:
    """A word that is in no dictionary."""
    return "".join(rng.choice(SYLLABLES.split()) for _ in range(rng.randrange(2, 5))) + rng.choice(
        ("", "", "n", "r", "x", "l")
    )


@cache
def _known_words() -> tuple[str, ...]:
    """Every word of the questions on facts."""
    found = {word for fact in facts.facts() for ask in fact.asks for word in ask.split()}
    return tuple(sorted(word for word in found if word.isalnum()))


def _mark(rng: random.Random) -> str:
    """A code such as IC72, xk-4 or printer.local."""
    letters = "".join(rng.choice(LETTERS) for _ in range(rng.randrange(1, 5)))
    letters = letters.upper() if rng.random() < 0.5 else letters
    joint = rng.choice(("", "", "-", ".", "_"))
    return letters + joint + (str(rng.randrange(100)) if rng.random() < 0.6 else nonsense(rng))


def word(rng: random.Random) -> str:
    """A word to be copied: common, any, invented, or a code."""
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(_data("copy_words"))
    if draw < 0.7:
        known = rng.choice(_known_words())
        return known.capitalize() if rng.random() < 0.15 else known
    return nonsense(rng) if draw < 0.92 else _mark(rng)


def words(rng: random.Random, most: int = 6) -> str:
    """A few words to be copied."""
    return " ".join(word(rng) for _ in range(rng.randrange(1, most)))


def _greeting(rng: random.Random) -> tuple[str, str, str]:
    return (
        rng.choice(_data("greetings")),
        str(facts.read("small_tasks.yaml")["greeting_answer"]),
        "The user greets me.",
    )


def _thanks(rng: random.Random) -> tuple[str, str, str]:
    return (
        rng.choice(_data("thanks")),
        str(facts.read("small_tasks.yaml")["thanks_answer"]),
        "The user is done.",
    )


def _repeat(rng: random.Random, most: int = 6) -> tuple[str, str, str]:
    text = words(rng, most)
    question = rng.choice(_data("repeat_frames")).replace(
        "{}", rng.choice(("{}", "{}", '"{}"', "'{}'")).format(text)
    )
    return question, text, "I repeat the words."


def _pairs(rng: random.Random) -> tuple[str, str, str]:
    """One of several values given in the question."""
    names = [nonsense(rng) for _ in range(rng.randrange(2, 6))]
    values = {name: words(rng, 4) for name in names}
    wanted = rng.choice(names)
    listing = rng.choice((", ", "; ", "\n")).join(f"{name} is {value}" for name, value in values.items())
    return f"{listing}. what is {wanted}?", values[wanted], "I look the name up in the question."


def copying(rng: random.Random) -> tuple[str, str, str]:
    """Words to repeat or to look up in the question: what calling tools with unseen names and values rests on."""
    return _repeat(rng, 10) if rng.random() < 0.6 else _pairs(rng)


def _count(rng: random.Random) -> tuple[str, str, str]:
    first = 1 if rng.random() < 0.7 else rng.randrange(1, 60)
    last = first + rng.choice((4, 9, 9, 19, rng.randrange(2, 30)))
    question = rng.choice(_data("count_frames")).replace("{a}", str(first)).replace("{b}", str(last))
    return question, " ".join(str(number) for number in range(first, last + 1)), "I count."


def _person(rng: random.Random) -> tuple[str, str, str]:
    name, age, city = person_name(rng), rng.randrange(3, 99), rng.choice(_data("cities"))
    question = rng.choice(_data("person_frames")).format(name=name, age=age, city=city)
    value: dict[str, Any] = {"name": name}
    if "{age}" in question or str(age) in question:
        value["age"] = age
    if city in question:
        value["city"] = city
    return question, json.dumps(value), "I copy the values into JSON."


def person_name(rng: random.Random) -> str:
    """A first name, sometimes an invented one."""
    return rng.choice(_data("names")) if rng.random() < 0.6 else nonsense(rng).capitalize()


def exchange(rng: random.Random) -> tuple[str, str, str]:
    """A question, its answer and the thought between them."""
    make = rng.choices((_greeting, _thanks, _repeat, _count, _person), (3, 1, 4, 1.5, 1.5))[0]
    question, answer, idea = make(rng)
    if rng.random() < 0.3:
        question = question[:1].upper() + question[1:]
    return question, answer, idea


def remembering(rng: random.Random) -> tuple[list[dict[str, Any]], str, str]:
    """The user gives a name and asks for it again a turn or two later."""
    name = person_name(rng)
    hello = rng.choice(_data("name_frames")).replace("{}", name)
    reply = f"Hello {name}! I am demo, the tiny built-in model of npuproxy."
    messages: list[dict[str, Any]] = [{"role": "user", "content": hello}]
    if rng.random() < 0.25:
        return messages, reply, "The user tells me a name."
    messages.append({"role": "assistant", "content": reply})
    if rng.random() < 0.3:
        question, answer, _ = exchange(rng)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": rng.choice(_data("name_questions"))})
    return messages, f"Your name is {name}.", "The user told me a name before."
