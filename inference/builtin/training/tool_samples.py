"""Conversations with tools: known kinds of tools and invented ones, so that names and values must be copied."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import facts
import rewording
import small_tasks

Exchange = Callable[[random.Random], tuple[str, str, str]]
Json = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """A tool's definition with ways to ask for it."""

    definition: Json
    name: str
    arguments: tuple[tuple[str, str], ...]  # (role in the question, name in the schema)
    pools: tuple[tuple[str, str], ...]  # (role, where its values come from)
    asks: tuple[str, ...]


@cache
def _pool(name: str) -> tuple[str, ...]:
    return facts.lines(facts.read("tools.yaml")["pools"][name])


def value(pool: str, rng: random.Random) -> Any:
    """A value for an argument: number, one of a list, or words."""
    if pool == "integer":
        return rng.randrange(0, rng.choice((10, 100, 1000, 100000)))
    if pool == "decimal":
        return round(rng.uniform(0, 500), rng.choice((1, 2)))
    if pool == "words":
        return small_tasks.words(rng, 5)
    if pool == "nonsense":
        return small_tasks.nonsense(rng) if rng.random() < 0.5 else small_tasks.word(rng)
    if pool == "name":
        return small_tasks.person_name(rng)
    if pool == "sum":
        return f"{rng.randrange(1, 999)} {rng.choice('+-*/')} {rng.randrange(1, 999)}"
    if pool == "date":
        return f"20{rng.randrange(20, 40)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    if pool == "time":
        return f"{rng.randrange(0, 24):02d}:{rng.choice((0, 15, 30, 45)):02d}"
    if pool == "email":
        domain = rng.choice(("example.com", "mail.org", small_tasks.nonsense(rng) + ".net"))
        return f"{small_tasks.person_name(rng).lower()}@{domain}"
    if pool == "path":
        folders = [small_tasks.nonsense(rng) for _ in range(rng.randrange(1, 3))]
        return (
            rng.choice(("/", "", "./")) + "/".join(folders) + rng.choice((".txt", ".py", ".md", ".json", ""))
        )
    if pool == "city" and rng.random() < 0.3:
        return small_tasks.nonsense(rng).capitalize()
    return rng.choice(_pool(pool))


def _style(words: list[str], rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.7:
        return "_".join(words)
    if draw < 0.85:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    return rng.choice((".", "-", "__")).join(words)


def known_tool(kind: str, rng: random.Random) -> Tool:
    """A tool of a kind in tools.yaml, under one of its names."""
    entry = facts.read("tools.yaml")["kinds"][kind]
    names = [name.strip() for name in entry["names"].split(",")]
    name = (
        rng.choice(names)
        if rng.random() < 0.8
        else _style([*rng.choice(names).split("_"), small_tasks.nonsense(rng)], rng)
    )
    return _tool(
        name, rng.choice(facts.lines(entry["about"])), entry["args"], facts.lines(entry["asks"]), rng
    )


def invented_tool(rng: random.Random) -> Tool:
    """A tool that exists nowhere: verb and object, sometimes nonsense."""
    verb = rng.choice(_pool("verbs"))
    thing = rng.choice(_pool("objects")) if rng.random() < 0.6 else small_tasks.nonsense(rng)
    name = _style([verb, *thing.split()], rng) if rng.random() < 0.85 else small_tasks.nonsense(rng)
    args: Json = {}
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3))):
        role = rng.choice(_pool("argument_names")) if rng.random() < 0.7 else small_tasks.nonsense(rng)
        args[role] = {
            "names": role,
            "from": rng.choice(("words", "words", "nonsense", "integer", "name", "city", "path", "date")),
        }
    listing = " and ".join(f"{role.replace('_', ' ')} {{{role}}}" for role in args)
    plain = listing.replace(" and ", " ")
    asks = [
        f"call {name} with {listing}" if args else f"call {name}",
        f"use {name}: {plain}" if args else f"use the {name} tool",
        f"{verb} the {thing} with {listing}" if args else f"{verb} the {thing}",
        f"please {verb} {thing}, {plain}" if args else f"please {verb} {thing}",
        f"{verb} {thing} for {plain}" if args else f"i want to {verb} the {thing}",
    ]
    if len(args) == 1:
        role = next(iter(args))
        asks += [
            f"{verb} the {thing} {{{role}}}",
            f"{verb} {thing} for {{{role}}}",
            f"run {name} on {{{role}}}",
        ]
    about = rng.choice(
        (f"{verb.capitalize()} the {thing}", f"{verb}s a {thing}", f"Tool to {verb} {thing}.", "")
    )
    return _tool(name, about, args, tuple(asks), rng)


def _tool(name: str, about: str, args: Json, asks: tuple[str, ...], rng: random.Random) -> Tool:
    properties: Json = {}
    arguments: list[tuple[str, str]] = []
    for role, entry in args.items():
        argument = rng.choice([item.strip() for item in entry["names"].split(",")])
        kind = {"integer": "integer", "decimal": "number"}.get(entry["from"], "string")
        properties[argument] = {"type": kind}
        if rng.random() < 0.5:
            properties[argument]["description"] = (
                f"{rng.choice(('The', 'the', 'A'))} {role.replace('_', ' ')}"
            )
        arguments.append((role, argument))
    function: Json = {
        "name": name,
        "description": about,
        "parameters": {"type": "object", "properties": properties},
    }
    if rng.random() < 0.85:
        function["parameters"]["required"] = list(properties)
    if rng.random() < 0.15:
        function["parameters"]["additionalProperties"] = False
    if not about:
        del function["description"]
    definition = {"type": "function", "function": function}
    return Tool(
        definition, name, tuple(arguments), tuple((role, entry["from"]) for role, entry in args.items()), asks
    )


def ask(tool: Tool, rng: random.Random) -> tuple[str, Json]:
    """A request for the tool, and the call that answers it."""
    question = rng.choice(tool.asks)
    given = {role: value(pool, rng) for role, pool in tool.pools}
    call: Json = {"name": tool.name, "arguments": {}}
    for role, argument in tool.arguments:
        if "{" + role + "}" in question:
            call["arguments"][argument] = given[role]
            question = question.replace("{" + role + "}", str(given[role]))
    return question, call


def call_text(calls: list[Json]) -> str:
    """The calls in Hermes style."""
    return "\n".join(f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>" for call in calls)


def result(rng: random.Random) -> str:
    """What a tool might give back."""
    draw = rng.random()
    if draw < 0.35:
        return (
            rng.choice(_pool("results"))
            .replace("{number}", str(rng.randrange(1, 100)))
            .replace("{word}", small_tasks.nonsense(rng))
        )
    if draw < 0.6:
        return str(value(rng.choice(("integer", "decimal", "name", "date", "words", "time")), rng))
    keys = rng.sample(_pool("argument_names"), rng.choice((1, 2, 2, 3)))
    return json.dumps({key: value(rng.choice(("integer", "nonsense", "name", "words")), rng) for key in keys})


def result_answer(name: str, text: str) -> str:
    """How the model reports a tool's result."""
    return f"The result of {name} is: {text}"


def tool_set(rng: random.Random) -> list[Tool]:
    """One to four tools of different names."""
    kinds = list(facts.read("tools.yaml")["kinds"])
    tools: dict[str, Tool] = {}
    for _ in range(rng.choice((1, 1, 1, 1, 2, 2, 3))):
        tool = known_tool(rng.choice(kinds), rng) if rng.random() < 0.45 else invented_tool(rng)
        tools[tool.name] = tool
    return list(tools.values())


def conversation(rng: random.Random, exchange: Exchange) -> tuple[list[Json], list[Json], str, str]:
    """Tools, messages, the answer and the thought: a call, a report of results, or an answer without tools."""
    tools = tool_set(rng)
    definitions = [tool.definition for tool in tools]
    messages: list[Json] = []
    if rng.random() < 0.08:
        question, answer, _ = exchange(rng)
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if rng.random() < 0.15:
        question, answer, idea = exchange(rng)
        return definitions, [*messages, {"role": "user", "content": question}], answer, idea
    tool = rng.choice(tools)
    question, call = ask(tool, rng)
    calls = [call]
    if rng.random() < 0.1 and call["arguments"]:
        more, second = ask(tool, rng)
        question, calls = f"{question} and {more}", [call, second]
    messages.append(
        {"role": "user", "content": rewording.dress(question, rng) if rng.random() < 0.4 else question}
    )
    idea = f"I should call {tool.name}."
    if rng.random() < 0.72:
        return definitions, messages, call_text(calls), idea
    results = [result(rng) for _ in calls]
    messages.append({"role": "assistant", "content": "", "tool_calls": [{"function": one} for one in calls]})
    messages += [{"role": "tool", "content": text} for text in results]
    answer = "\n".join(result_answer(tool.name, text) for text in results)
    return definitions, messages, answer, "The tool has answered."
