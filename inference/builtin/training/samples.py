"""Training samples: a rendered prompt and the assistant's turn that must follow it."""

import json
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import facts
import overlap
import rewording
import small_tasks
import tool_samples
import vocabulary

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """Prompt as the template renders it, and the assistant's turn without its end mark."""

    prompt: str
    thought: str  # with its tags, or empty
    answer: str
    fixed: bool = False  # one of the known answers, whose later words follow from its first ones


def thought(about: str) -> str:
    """What the model thinks before a fact."""
    return f"The user asks about {about}. I know a fact about that."


OUTSIDE_THOUGHT = "This is not about npuproxy, and I am too small to know it."


def outside_answer() -> str:
    """The one answer to everything that the model does not know."""
    return " ".join(str(facts.read("outside.yaml")["answer"]).split())


@cache
def _outside() -> dict[str, Any]:
    data, more = facts.read("outside.yaml"), facts.read("outside_more.yaml")
    return {
        "asks": facts.lines(data["asks"]),
        "frames": facts.lines(data["frames"]) + facts.lines(more["frames"]),
        "slots": {name: facts.lines(text) for name, text in (data["slots"] | more["slots"]).items()},
        "systems": facts.lines(data["systems"]),
    }


def outside_question(rng: random.Random) -> str:
    """A question that has nothing to do with this server, and is none of the test."""
    while overlap.is_held_back(question := _outside_question(rng)):
        pass
    return question


def _outside_question(rng: random.Random) -> str:
    data = _outside()
    text: str = rng.choice(data["asks"] if rng.random() < 0.25 else data["frames"])
    while "{" in text:
        before, rest = text.split("{", 1)
        name, after = rest.split("}", 1)
        text = before + _slot(name, data["slots"], rng) + after
    return text


def _slot(name: str, slots: dict[str, tuple[str, ...]], rng: random.Random) -> str:
    if name == "number":
        return str(rng.randrange(2, rng.choice((20, 100, 2000))))
    if name == "nonsense":
        return small_tasks.nonsense(rng)
    return rng.choice(slots[name])


def system_turn(rng: random.Random) -> Messages:
    """Nothing, a short instruction, or a long text that must not distract."""
    draw = rng.random()
    if draw < 0.7:
        return []
    systems = _outside()["systems"]
    if draw < 0.93:
        return [{"role": "system", "content": rng.choice(systems)}]
    count = rng.randrange(2, 9) if rng.random() < 0.8 else rng.randrange(9, 30)
    sentences = [rng.choice(systems + tuple(fact.answer for fact in facts.facts())) for _ in range(count)]
    return [{"role": "system", "content": rng.choice((" ", "\n")).join(sentences)}]


def fact_question(fact: facts.Fact, rng: random.Random) -> str:
    """A variant of one of the fact's phrasings that is no held-back question."""
    while True:
        question = rewording.reword(rewording.phrase(fact, rng), rng)
        if not overlap.is_held_back(question):
            return question


def _exchange(rng: random.Random) -> tuple[str, str, str]:
    """A question, its answer, and the thought between them."""
    draw = rng.random()
    if draw < 0.72:
        fact = rng.choice(facts.facts())
        return fact_question(fact, rng), fact.answer, thought(fact.about)
    if draw < 0.92:
        question = outside_question(rng)
        question = rewording.mistype(question, rng) if rng.random() < 0.1 else question
        question = rewording.write_names(question, rng) if rng.random() < 0.3 else question
        return rewording.dress(question, rng), outside_answer(), OUTSIDE_THOUGHT
    return small_tasks.exchange(rng)


def _as_json(question: str, answer: str, rng: random.Random) -> tuple[str, str]:
    asks = facts.lines(facts.read("wording.yaml")["json_requests"])
    return question + rng.choice((" ", "\n", ". ")) + rng.choice(asks), json.dumps(
        {"answer": answer}, ensure_ascii=False
    )


def _finish(
    messages: Messages, answer: str, idea: str, rng: random.Random, tools: list[Any] | None = None
) -> Sample:
    """Render; a third of the samples think, with enable_thinking true or left out."""
    fixed = answer in _fixed_answers()
    if rng.random() < 0.7:
        return Sample(vocabulary.render(messages, tools, False), "", answer, fixed)
    prompt = vocabulary.render(messages, tools, rng.choice((True, None)))
    return Sample(prompt, f"<think>\n{idea}\n</think>\n\n", answer, fixed)


@cache
def _fixed_answers() -> frozenset[str]:
    return frozenset({fact.answer for fact in facts.facts()} | {outside_answer()})


def _chat(rng: random.Random) -> Sample:
    messages = system_turn(rng)
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 0, 1, 1, 2))):
        question, answer, _ = _exchange(rng)
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    question, answer, idea = _exchange(rng)
    if rng.random() < 0.05:
        question, answer = _as_json(question, answer, rng)
    return _finish([*messages, {"role": "user", "content": question}], answer, idea, rng)


def _remembering(rng: random.Random) -> Sample:
    messages, answer, idea = small_tasks.remembering(rng)
    return _finish([*system_turn(rng), *messages], answer, idea, rng)


def _tools(rng: random.Random) -> Sample:
    tools, messages, answer, idea = tool_samples.conversation(rng, _exchange)
    before = system_turn(rng) if rng.random() < 0.4 else []
    return _finish([*before, *messages], answer, idea, rng, tools)


def _short(rng: random.Random, exchange: tool_samples.Exchange) -> Sample:
    question, answer, idea = exchange(rng)
    return _finish([{"role": "user", "content": question}], answer, idea, rng)


def draw(rng: random.Random, short_share: float = 0.0) -> Sample:
    """One sample; short ones, a single question with nothing around it, are the cheapest way to learn the facts."""
    if rng.random() < short_share:
        return _short(rng, _exchange)
    kind = rng.random()
    if kind < 0.46:
        return _short(rng, _exchange)
    if kind < 0.62:
        return _short(rng, small_tasks.copying)
    if kind < 0.84:
        return _tools(rng)
    if kind < 0.87:
        return _remembering(rng)
    return _chat(rng)
