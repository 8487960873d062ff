"""LangChain over Ollama's API, as its documentation has it: ChatOllama, OllamaEmbeddings."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from pydantic import BaseModel, Field

QUESTION = "How do I pull a model?"


class Counted(BaseModel):
    """How many there are."""

    count: int = Field(ge=0, le=9)


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def _chat(url: str, **fields: Any) -> ChatOllama:
    return ChatOllama(
        **{
            "model": "demo",
            "base_url": url,
            "temperature": 0,
            "num_predict": 60,
            "reasoning": False,
            **fields,
        }
    )


def _said(message: BaseMessage) -> dict[str, Any]:
    fields = ("content", "tool_calls", "usage_metadata", "response_metadata", "additional_kwargs")
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


def stream(url: str) -> dict[str, Any]:
    return _joined(list(_chat(url).stream(QUESTION)))


async def astream(url: str) -> dict[str, Any]:
    return _joined([part async for part in _chat(url).astream(QUESTION)])


def batch(url: str) -> list[str]:
    return [str(said.content) for said in _chat(url).batch([QUESTION, "What can you do?"])]


def left(url: str) -> str:
    """A stream that is left after its first part, and what is said next."""
    for _ in _chat(url, temperature=1000, top_k=0, num_predict=3000).stream(QUESTION):
        break
    return str(_chat(url).invoke(QUESTION).content)


def reasoning(url: str) -> dict[str, Any]:
    return _said(_chat(url, reasoning=True, num_predict=200).invoke(QUESTION))


def tool_call(url: str) -> dict[str, Any]:
    return _said(_chat(url).bind_tools([get_weather]).invoke("What is the weather in Paris?"))


def tool_call_in_a_stream(url: str) -> dict[str, Any]:
    return _joined(list(_chat(url).bind_tools([get_weather]).stream("What is the weather in Paris?")))


def tool_result(url: str) -> str:
    chat = _chat(url).bind_tools([get_weather])
    messages: list[BaseMessage] = [HumanMessage("What is the weather in Paris?")]
    called = chat.invoke(messages)
    (call,) = called.tool_calls
    messages += [called, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])]
    return str(chat.invoke(messages).content)


def structured(url: str) -> int:
    answer = _chat(url).with_structured_output(Counted).invoke(QUESTION)
    assert isinstance(answer, Counted)
    return answer.count


async def structured_by_a_schema(url: str) -> Any:
    schema = Counted.model_json_schema()
    return await _chat(url).with_structured_output(schema, method="json_schema").ainvoke(QUESTION)


def validated_on_init(url: str) -> str:
    return _chat(url, validate_model_on_init=True).model


def unknown_on_init(url: str) -> str:
    return _chat(url, model="nope", validate_model_on_init=True).model


def unknown_model(url: str) -> dict[str, Any]:
    return _said(_chat(url, model="nope").invoke(QUESTION))


def text_completion(url: str) -> str:
    return OllamaLLM(model="demo", base_url=url, temperature=0, num_predict=60, reasoning=False).invoke(
        QUESTION
    )


def embed(url: str) -> list[list[float]]:
    made = OllamaEmbeddings(model="all-minilm", base_url=url)
    return [*made.embed_documents(["one", "two"]), made.embed_query("one")]


async def aembed(url: str) -> list[list[float]]:
    return await OllamaEmbeddings(model="all-minilm", base_url=url).aembed_documents(["one", "two"])
