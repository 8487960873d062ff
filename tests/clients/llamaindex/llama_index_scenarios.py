"""LlamaIndex over both APIs: Ollama, OllamaEmbedding, OpenAILike, OpenAILikeEmbedding, an index and an agent."""

from __future__ import annotations

from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

QUESTION = "How do I pull a model?"
WEATHER_QUESTION = "What is the weather in Paris?"
PATIENCE_S = 150.0
"""Of a busy machine; theirs is half a minute."""


class Counted(BaseModel):
    """How many there are."""

    count: int = Field(ge=0, le=9)


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


WEATHER = FunctionTool.from_defaults(get_weather)


def _ollama(url: str, **fields: Any) -> Ollama:
    options = {"num_predict": 60}
    made = {
        "model": "demo",
        "base_url": url,
        "temperature": 0,
        "thinking": False,
        "additional_kwargs": options,
    }
    return Ollama(request_timeout=PATIENCE_S, **made | fields)


def _openai(url: str, **fields: Any) -> OpenAILike:
    made: dict[str, Any] = {"model": "demo", "api_base": f"{url}/v1", "api_key": "any", "temperature": 0}
    made |= {"is_chat_model": True, "is_function_calling_model": True, "max_tokens": 60, "max_retries": 0}
    made |= {"context_window": 4096, "additional_kwargs": {"reasoning_effort": "none"}}
    return OpenAILike(timeout=PATIENCE_S, **made | fields)


def _messages(text: str = QUESTION) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def _calls(llm: Any, answer: Any) -> list[list[Any]]:
    found = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
    return [[call.tool_name, call.tool_kwargs] for call in found]


def ollama_chat(url: str) -> str | None:
    return _ollama(url).chat(_messages()).message.content


async def ollama_achat(url: str) -> str | None:
    return (await _ollama(url).achat(_messages())).message.content


def ollama_stream_chat(url: str) -> list[str]:
    return [part.delta or "" for part in _ollama(url).stream_chat(_messages())]


async def ollama_astream_chat(url: str) -> list[str]:
    return [part.delta or "" async for part in await _ollama(url).astream_chat(_messages())]


def ollama_complete(url: str) -> str:
    return _ollama(url).complete(QUESTION).text


def ollama_stream_complete(url: str) -> list[str]:
    return [part.delta or "" for part in _ollama(url).stream_complete(QUESTION)]


def ollama_context_window(url: str) -> int:
    return _ollama(url).metadata.context_window


def ollama_tool_call(url: str) -> list[list[Any]]:
    llm = _ollama(url)
    return _calls(llm, llm.chat_with_tools([WEATHER], user_msg=WEATHER_QUESTION))


def ollama_structured(url: str) -> int:
    return _ollama(url).as_structured_llm(Counted).chat(_messages()).raw.count


def ollama_unknown_model(url: str) -> None:
    _ollama(url, model="nope", context_window=4096).chat(_messages())


def openai_chat(url: str) -> str | None:
    return _openai(url).chat(_messages()).message.content


async def openai_achat(url: str) -> str | None:
    return (await _openai(url).achat(_messages())).message.content


def openai_stream_chat(url: str) -> list[str]:
    return [part.delta or "" for part in _openai(url).stream_chat(_messages())]


async def openai_astream_chat(url: str) -> list[str]:
    return [part.delta or "" async for part in await _openai(url).astream_chat(_messages())]


def openai_complete(url: str) -> str:
    """Over /v1/completions, which has no reasoning_effort."""
    return _openai(url, is_chat_model=False, additional_kwargs={}).complete(QUESTION).text


def openai_stream_complete(url: str) -> list[str]:
    llm = _openai(url, is_chat_model=False, additional_kwargs={})
    return [part.delta or "" for part in llm.stream_complete(QUESTION)]


def openai_tool_call(url: str) -> list[list[Any]]:
    llm = _openai(url)
    return _calls(llm, llm.chat_with_tools([WEATHER], user_msg=WEATHER_QUESTION))


def openai_required_tool_call(url: str) -> list[list[Any]]:
    llm = _openai(url)
    return _calls(
        llm, llm.chat_with_tools([WEATHER], user_msg="Please get the weather for Rome.", tool_required=True)
    )


def openai_structured(url: str) -> int:
    llm = _openai(url, should_use_structured_outputs=True)
    return llm.as_structured_llm(Counted).chat(_messages()).raw.count


def openai_unknown_model(url: str) -> None:
    _openai(url, model="nope").chat(_messages())


def _ollama_embedding(url: str) -> OllamaEmbedding:
    return OllamaEmbedding("all-minilm", base_url=url)


def _openai_embedding(url: str) -> OpenAILikeEmbedding:
    return OpenAILikeEmbedding(model_name="all-minilm", api_base=f"{url}/v1", api_key="any", max_retries=0)


def ollama_embed(url: str) -> list[list[float]]:
    return _ollama_embedding(url).get_text_embedding_batch(["one", "two"])


async def ollama_aembed(url: str) -> list[list[float]]:
    return await _ollama_embedding(url).aget_text_embedding_batch(["one", "two"])


def openai_embed(url: str) -> list[list[float]]:
    return _openai_embedding(url).get_text_embedding_batch(["one", "two"])


async def openai_aembed(url: str) -> list[list[float]]:
    return await _openai_embedding(url).aget_text_embedding_batch(["one", "two"])


def nearest(url: str) -> list[str]:
    """Texts of an index by their nearness to a question."""
    texts = ["Cats sleep most of the day.", "The train to Rome leaves at noon.", "Bread is made of flour."]
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in texts], embed_model=_ollama_embedding(url)
    )
    found = index.as_retriever(similarity_top_k=3).retrieve("When does my train go?")
    return [node.text for node in found]


async def agent(url: str) -> str:
    """An agent streams its answers, calls its tool, and reads what that returned."""
    agent = FunctionAgent(tools=[get_weather], llm=_ollama(url))
    return str(await agent.run(WEATHER_QUESTION))


async def agent_over_openai(url: str) -> str:
    agent = FunctionAgent(tools=[get_weather], llm=_openai(url))
    return str(await agent.run(WEATHER_QUESTION))
