"""Instructor over OpenAI's client and Anthropic's: objects of a class, whole, in parts and in lists."""

from __future__ import annotations

from typing import Any, Literal

import anthropic
import instructor
import openai
from pydantic import BaseModel, Field

QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]


class Weather(BaseModel):
    """The weather of a city."""

    city: Literal["Paris", "Rome"]
    degrees: int = Field(ge=-50, le=50)


class Anything(BaseModel, extra="allow"):
    """An object."""


def _v1(url: str, mode: instructor.Mode) -> instructor.Instructor:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    return instructor.from_openai(client, mode=mode)


def _wish(**fields: Any) -> dict[str, Any]:
    wish = {"model": "demo", "messages": QUESTION, "response_model": Weather, "max_retries": 0}
    return {**wish, "temperature": 0, "max_tokens": 200, "reasoning_effort": "none", **fields}


def _made(url: str, mode: instructor.Mode) -> dict[str, Any]:
    weather = _v1(url, mode).chat.completions.create(**_wish())
    assert isinstance(weather, Weather)
    return weather.model_dump()


def json_schema(url: str) -> dict[str, Any]:
    return _made(url, instructor.Mode.JSON_SCHEMA)


def json(url: str) -> dict[str, Any]:
    """The mode writes the class into the prompt and asks for any object; a tiny model takes that from elsewhere."""
    made = _v1(url, instructor.Mode.JSON).chat.completions.create(**_wish(response_model=Anything))
    assert isinstance(made, Anything)
    return made.model_dump()


def tools(url: str) -> dict[str, Any]:
    return _made(url, instructor.Mode.TOOLS)


async def awaited(url: str) -> dict[str, Any]:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
    weather = await instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA).chat.completions.create(
        **_wish()
    )
    assert isinstance(weather, Weather)
    return weather.model_dump()


def partial(url: str) -> list[dict[str, Any]]:
    """The object as it grows while the answer streams."""
    parts = _v1(url, instructor.Mode.JSON_SCHEMA).chat.completions.create_partial(**_wish())
    return [part.model_dump() for part in parts]


def with_completion(url: str) -> list[Any]:
    weather, completion = _v1(url, instructor.Mode.JSON_SCHEMA).chat.completions.create_with_completion(
        **_wish()
    )
    return [weather.model_dump(), completion.usage.completion_tokens]


def unknown_model(url: str) -> None:
    _v1(url, instructor.Mode.JSON_SCHEMA).chat.completions.create(**_wish(model="nope"))


def _claude(url: str, mode: instructor.Mode) -> dict[str, Any]:
    client = instructor.from_anthropic(
        anthropic.Anthropic(base_url=url, api_key="any", max_retries=0), mode=mode
    )
    weather = client.chat.completions.create(
        model="demo", max_tokens=200, messages=QUESTION, response_model=Weather, max_retries=0,
        extra_body={"temperature": 0},
    )  # fmt: skip
    assert isinstance(weather, Weather)
    return weather.model_dump()


def anthropic_tools(url: str) -> dict[str, Any]:
    return _claude(url, instructor.Mode.ANTHROPIC_TOOLS)
