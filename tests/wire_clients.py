"""The official clients, unmodified: one of each for a server, kept open for the whole run."""

from __future__ import annotations

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


TOOL_QUESTIONS = (
    "What is the weather in Paris?",
    "Please get the weather for Rome.",
    "Call the weather tool for Oslo.",
    "weather in Lisbon",
)
"""For a tool that tells the weather of a city."""
