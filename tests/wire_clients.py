"""The official clients, unmodified: one of each for a server, kept open for the whole run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache

import anthropic
import ollama
import openai


@cache
def native(url: str) -> ollama.Client:
    return ollama.Client(url)


@cache
def v1(url: str) -> openai.OpenAI:
    """Without retries, which would hide what a server answers first."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


@cache
def claude(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)


def with_openai(url: str, scenario: Callable[[openai.AsyncOpenAI], Awaitable[None]]) -> None:
    """Runs it with an asynchronous client, within a bound."""

    async def bounded() -> None:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        async with asyncio.timeout(150), client:
            await scenario(client)

    asyncio.run(bounded())


TOOL_QUESTIONS = (
    "What is the weather in Paris?",
    "Please get the weather for Rome.",
    "Call the weather tool for Oslo.",
    "weather in Lisbon",
)
"""For a tool that tells the weather of a city."""
