"""A required call in the form of every family, by real inference: what the grammar makes, the parser reads."""

from __future__ import annotations

from typing import Any

import pytest
from engines import DEMO, GREEDY, ask, events_of, finish_of, run, running_engine, text_of
from msgspec import structs

from inference.events import ReasoningDelta
from inference.tools.families import FAMILIES
from inference.types import Constraint, Tool, ToolCall, ToolChoice

ALARM = Tool(
    name="set_alarm",
    parameters={
        "type": "object",
        "properties": {"hour": {"type": "integer", "minimum": 0, "maximum": 23}, "on": {"type": "boolean"}},
        "required": ["hour", "on"],
    },
)
NOTE = Tool(name="take_note", parameters={"properties": {"text": {"type": "string", "maxLength": 20}}})
TEMPLATES = {
    "mistral": "{# [ARGS] #}",
    "deepseek": "{# ```json #}",
}
"""What in a template makes a family write calls in its other form."""
FORMS = [(name, "") for name in FAMILIES] + list(TEMPLATES.items())


def _right(call: ToolCall) -> bool:
    if call.name == "take_note":
        return set(call.arguments) <= {"text"}
    values: dict[str, Any] = call.arguments
    return set(values) == {"hour", "on"} and values["hour"] in range(24) and type(values["on"]) is bool


def test_every_family_makes_the_calls_that_are_required() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            for name, remark in FORMS:
                template = (DEMO.path / "chat_template.jinja").read_text("utf-8") + remark if remark else ""
                spec = structs.replace(DEMO, tool_parser=name, template=template)
                request = ask("Tell me a story.", tools=(NOTE, ALARM), tool_choice=ToolChoice(required=True))
                request = structs.replace(request, sampling=structs.replace(GREEDY, max_tokens=2000))
                events = await events_of(engine, spec, request)
                calls = [event for event in events if isinstance(event, ToolCall)]
                assert calls, (name, events)
                assert all(map(_right, calls)), (name, calls)
                assert text_of(events) == "", (name, events)
                assert finish_of(events).reason == "stop", (name, events)

    run(scenario)


@pytest.mark.parametrize("family", ["hermes", "mistral", "channels"])
def test_thoughts_may_come_before_a_required_call_and_off_means_off(family: str) -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            spec = structs.replace(DEMO, tool_parser=family)
            choice = ToolChoice(required=True, parallel=False)
            for think in (True, False):
                request = ask("What is 2 and 2?", tools=(ALARM,), tool_choice=choice, think=think)
                events = await events_of(engine, spec, request)
                thoughts = [event for event in events if isinstance(event, ReasoningDelta)]
                (call,) = [event for event in events if isinstance(event, ToolCall)]
                assert _right(call)
                assert text_of(events) == ""
                assert think or not thoughts

    run(scenario)


def test_where_thoughts_are_a_channel_json_comes_as_content() -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            spec = structs.replace(DEMO, tool_parser="channels")
            request = ask("What is 2 and 2?", constraint=Constraint('{"type": "boolean"}'), think=True)
            assert text_of(await events_of(engine, spec, request)) in ("true", "false")

    run(scenario)
