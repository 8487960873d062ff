"""LangChain over OpenAI's API, and its agents: ChatOpenAI, OpenAIEmbeddings, create_agent."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

QUESTION = "How do I pull a model?"
WEATHER_QUESTION = "What is the weather in Paris?"


class Counted(BaseModel):
    """How many there are."""

    count: int = Field(ge=0, le=9)


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def _chat(url: str, **fields: Any) -> ChatOpenAI:
    made: dict[str, Any] = {"model": "demo", "base_url": f"{url}/v1", "api_key": "any", "max_retries": 0}
    made |= {"temperature": 0, "max_tokens": 60, "reasoning_effort": "none"}
    return ChatOpenAI(**made | fields)


def _said(message: BaseMessage) -> dict[str, Any]:
    fields = ("content", "tool_calls", "usage_metadata", "response_metadata")
    return {name: getattr(message, name, None) for name in fields}


def _joined(parts: list[AIMessageChunk]) -> dict[str, Any]:
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    return _said(whole) | {"parts": len(parts)}


def invoke(url: str) -> dict[str, Any]:
    return _said(_chat(url).invoke(QUESTION))


async def ainvoke(url: str) -> dict[str, Any]:
    return _said(await _chat(url).ainvoke(QUESTION))


def cut(url: str) -> dict[str, Any]:
    return _said(_chat(url, max_tokens=5).invoke(QUESTION))


def stream(url: str) -> dict[str, Any]:
    return _joined(list(_chat(url, stream_usage=True).stream(QUESTION)))


async def astream(url: str) -> dict[str, Any]:
    return _joined([part async for part in _chat(url, stream_usage=True).astream(QUESTION)])


def left(url: str) -> str:
    """A stream that is left after its first part, and what is said next."""
    for _ in _chat(url, temperature=2, max_tokens=3000).stream(QUESTION):
        break
    return str(_chat(url).invoke(QUESTION).content)


def over_responses(url: str) -> dict[str, Any]:
    return _said(_chat(url, use_responses_api=True).invoke(QUESTION))


def over_responses_in_a_stream(url: str) -> dict[str, Any]:
    return _joined(list(_chat(url, use_responses_api=True).stream(QUESTION)))


def tool_call(url: str) -> dict[str, Any]:
    return _said(_chat(url).bind_tools([get_weather]).invoke(WEATHER_QUESTION))


def tool_call_in_a_stream(url: str) -> dict[str, Any]:
    return _joined(list(_chat(url).bind_tools([get_weather]).stream(WEATHER_QUESTION)))


def tool_call_over_responses(url: str) -> dict[str, Any]:
    return _said(_chat(url, use_responses_api=True).bind_tools([get_weather]).invoke(WEATHER_QUESTION))


def required_tool_call(url: str) -> dict[str, Any]:
    return _said(_chat(url).bind_tools([get_weather], tool_choice="get_weather").invoke(QUESTION))


def tool_result(url: str) -> str:
    chat = _chat(url).bind_tools([get_weather])
    messages: list[BaseMessage] = [HumanMessage(WEATHER_QUESTION)]
    called = chat.invoke(messages)
    (call,) = called.tool_calls
    messages += [called, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])]
    return str(chat.invoke(messages).content)


def _structured(url: str, method: str) -> int:
    answer = _chat(url).with_structured_output(Counted, method=method).invoke(QUESTION)
    assert isinstance(answer, Counted)
    return answer.count


def structured_by_a_schema(url: str) -> int:
    return _structured(url, "json_schema")


def structured_by_a_tool(url: str) -> int:
    return _structured(url, "function_calling")


def unknown_model(url: str) -> dict[str, Any]:
    return _said(_chat(url, model="nope").invoke(QUESTION))


def too_long_prompt(url: str) -> dict[str, Any]:
    return _said(_chat(url).invoke("word " * 6000))


def _embeddings(url: str, **fields: Any) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(
        model="all-minilm",
        base_url=f"{url}/v1",
        api_key="any",
        max_retries=0,
        check_embedding_ctx_length=False,
        **fields,
    )


def embed(url: str) -> list[list[float]]:
    made = _embeddings(url)
    return [*made.embed_documents(["one", "two"]), made.embed_query("one")]


async def aembed(url: str) -> list[list[float]]:
    return await _embeddings(url).aembed_documents(["one", "two"])


def embed_shorter(url: str) -> list[float]:
    return _embeddings(url, dimensions=8).embed_query("one")


def _agent(chat: ChatOpenAI | ChatOllama) -> Any:
    return create_agent(chat, [get_weather])


def _steps(state: dict[str, Any]) -> list[list[Any]]:
    """Who spoke, what they said, and which tools they called."""
    return [
        [message.type, message.content, [call["name"] for call in getattr(message, "tool_calls", [])]]
        for message in state["messages"]
    ]


def agent(url: str) -> list[list[Any]]:
    return _steps(_agent(_chat(url)).invoke({"messages": [HumanMessage(WEATHER_QUESTION)]}))


async def agent_over_the_native_api(url: str) -> list[list[Any]]:
    chat = ChatOllama(model="demo", base_url=url, temperature=0, num_predict=60, reasoning=False)
    return _steps(await _agent(chat).ainvoke({"messages": [HumanMessage(WEATHER_QUESTION)]}))


def agent_in_a_stream(url: str) -> list[str]:
    stream = _agent(_chat(url)).stream({"messages": [HumanMessage(WEATHER_QUESTION)]}, stream_mode="messages")
    return [str(part.content) for part, _ in stream if isinstance(part, AIMessageChunk)]
