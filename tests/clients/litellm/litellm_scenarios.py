"""LiteLLM over all three APIs: the providers ollama/, ollama_chat/, openai/ and anthropic/."""

from __future__ import annotations

from typing import Any

import litellm
from pydantic import BaseModel, Field

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
WEATHER_QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


class Counted(BaseModel):
    """How many there are."""

    count: int = Field(ge=0, le=9)


def _where(provider: str, url: str) -> dict[str, Any]:
    """What tells LiteLLM who answers, and that it shall not think first."""
    if provider == "openai":
        return {"api_base": f"{url}/v1", "api_key": "any", "reasoning_effort": "none"}
    if provider == "anthropic":
        return {"api_base": url, "api_key": "any"}
    return {"api_base": url, "think": False}


def _wish(provider: str, url: str, **fields: Any) -> dict[str, Any]:
    wish = {
        "model": f"{provider}/demo",
        "messages": QUESTION,
        "temperature": 0,
        "max_tokens": 60,
        "num_retries": 0,
    }
    return {**wish, **_where(provider, url), **fields}


def _said(answer: Any) -> dict[str, Any]:
    (choice,) = answer.choices
    return {
        "content": choice.message.content,
        "finish_reason": choice.finish_reason,
        "tool_calls": [_call(call) for call in choice.message.tool_calls or []],
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
    }


def _call(call: Any) -> list[str]:
    return [call.function.name, call.function.arguments]


def _whole(provider: str, url: str) -> dict[str, Any]:
    return _said(litellm.completion(**_wish(provider, url)))


async def _awaited(provider: str, url: str) -> dict[str, Any]:
    return _said(await litellm.acompletion(**_wish(provider, url)))


def _streamed(provider: str, url: str) -> dict[str, Any]:
    parts = list(litellm.completion(**_wish(provider, url, **STREAM)))
    return _said(litellm.stream_chunk_builder(parts)) | {"parts": len(parts)}


async def _streamed_asynchronously(provider: str, url: str) -> dict[str, Any]:
    stream = await litellm.acompletion(**_wish(provider, url, **STREAM))
    parts = [part async for part in stream]
    return _said(litellm.stream_chunk_builder(parts)) | {"parts": len(parts)}


def _tool_call(provider: str, url: str) -> dict[str, Any]:
    return _said(litellm.completion(**_wish(provider, url, messages=WEATHER_QUESTION, tools=[WEATHER])))


def _tool_result(provider: str, url: str) -> dict[str, Any]:
    called = litellm.completion(**_wish(provider, url, messages=WEATHER_QUESTION, tools=[WEATHER]))
    message = called.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny in Paris"}
    messages = [*WEATHER_QUESTION, message.model_dump(), result]
    return _said(litellm.completion(**_wish(provider, url, messages=messages, tools=[WEATHER])))


def _structured(provider: str, url: str) -> int:
    said = litellm.completion(**_wish(provider, url, response_format=Counted))
    return Counted.model_validate_json(said.choices[0].message.content).count


def _unknown_model(provider: str, url: str) -> None:
    litellm.completion(**_wish(provider, url, model=f"{provider}/nope"))


def _too_long_prompt(provider: str, url: str) -> None:
    litellm.completion(**_wish(provider, url, messages=[{"role": "user", "content": "word " * 6000}]))


def generate(url: str) -> dict[str, Any]:
    return _whole("ollama", url)


async def generate_awaited(url: str) -> dict[str, Any]:
    return await _awaited("ollama", url)


def generate_streamed(url: str) -> dict[str, Any]:
    return _streamed("ollama", url)


def generate_unknown_model(url: str) -> None:
    _unknown_model("ollama", url)


def ollama_chat(url: str) -> dict[str, Any]:
    return _whole("ollama_chat", url)


async def ollama_chat_awaited(url: str) -> dict[str, Any]:
    return await _awaited("ollama_chat", url)


def ollama_chat_streamed(url: str) -> dict[str, Any]:
    return _streamed("ollama_chat", url)


async def ollama_chat_streamed_asynchronously(url: str) -> dict[str, Any]:
    return await _streamed_asynchronously("ollama_chat", url)


def ollama_chat_tool_call(url: str) -> dict[str, Any]:
    return _tool_call("ollama_chat", url)


def ollama_chat_tool_result(url: str) -> dict[str, Any]:
    return _tool_result("ollama_chat", url)


def ollama_chat_structured(url: str) -> int:
    return _structured("ollama_chat", url)


def ollama_chat_unknown_model(url: str) -> None:
    _unknown_model("ollama_chat", url)


def openai(url: str) -> dict[str, Any]:
    return _whole("openai", url)


async def openai_awaited(url: str) -> dict[str, Any]:
    return await _awaited("openai", url)


def openai_streamed(url: str) -> dict[str, Any]:
    return _streamed("openai", url)


async def openai_streamed_asynchronously(url: str) -> dict[str, Any]:
    return await _streamed_asynchronously("openai", url)


def openai_tool_call(url: str) -> dict[str, Any]:
    return _tool_call("openai", url)


def openai_tool_result(url: str) -> dict[str, Any]:
    return _tool_result("openai", url)


def openai_structured(url: str) -> int:
    return _structured("openai", url)


def openai_unknown_model(url: str) -> None:
    _unknown_model("openai", url)


def openai_too_long_prompt(url: str) -> None:
    _too_long_prompt("openai", url)


def anthropic(url: str) -> dict[str, Any]:
    return _whole("anthropic", url)


async def anthropic_awaited(url: str) -> dict[str, Any]:
    return await _awaited("anthropic", url)


def anthropic_streamed(url: str) -> dict[str, Any]:
    return _streamed("anthropic", url)


async def anthropic_streamed_asynchronously(url: str) -> dict[str, Any]:
    return await _streamed_asynchronously("anthropic", url)


def anthropic_tool_call(url: str) -> dict[str, Any]:
    return _tool_call("anthropic", url)


def anthropic_tool_result(url: str) -> dict[str, Any]:
    return _tool_result("anthropic", url)


def anthropic_unknown_model(url: str) -> None:
    _unknown_model("anthropic", url)


def anthropic_too_long_prompt(url: str) -> None:
    _too_long_prompt("anthropic", url)


def _vectors(answer: Any) -> list[list[float]]:
    return [entry["embedding"] for entry in answer.data]


def ollama_embeds(url: str) -> list[list[float]]:
    return _vectors(litellm.embedding(model="ollama/all-minilm", input=["one", "two"], api_base=url))


async def ollama_embeds_awaited(url: str) -> list[list[float]]:
    return _vectors(await litellm.aembedding(model="ollama/all-minilm", input=["one", "two"], api_base=url))


def openai_embeds(url: str) -> list[list[float]]:
    where = {"api_base": f"{url}/v1", "api_key": "any"}
    return _vectors(litellm.embedding(model="openai/all-minilm", input=["one", "two"], **where))


def openai_text_completion(url: str) -> str:
    where = {"api_base": f"{url}/v1", "api_key": "any"}
    said = litellm.text_completion(
        model="text-completion-openai/demo",
        prompt="How do I pull a model?",
        temperature=0,
        max_tokens=60,
        **where,
    )
    return str(said.choices[0].text)
