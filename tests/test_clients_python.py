"""The official Python clients of Ollama and OpenAI, unmodified: what they ask about models, and their async halves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import hub_repositories
import ollama
import openai
import pytest
from conftest import RunningServer
from engines import BUILTIN
from hub_process import Hub
from wire_clients import native, v1, with_openai

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
GREEDY = {"temperature": 0, "num_predict": 24}
LONG = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": 6, "num_predict": 3000}
"""As likely to end at a token as to say any other of two thousand: it is left before."""


def names(server: RunningServer) -> set[str]:
    return {model.model or "" for model in native(server.url).list().models}


def with_ollama(server: RunningServer, scenario: Callable[[ollama.AsyncClient], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(150), ollama.AsyncClient(server.url) as client:
            await scenario(client)

    asyncio.run(bounded())


def test_ollama_pulls_with_progress_then_removes(hub_server: RunningServer, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/py-pulled")
    client = native(hub_server.url)
    parts = list(client.pull("tiny/py-pulled", stream=True))
    assert parts[0].status == "pulling manifest"
    assert parts[-1].status == "success"
    ends = {part.digest: part for part in parts if part.digest}
    assert ends
    assert all(digest.startswith("sha256:") for digest in ends)
    assert all(part.completed == part.total for part in ends.values())
    assert client.generate("tiny/py-pulled", "Hi", options=GREEDY).eval_count
    assert "tiny/py-pulled:latest" in {model.model for model in client.ps().models}
    assert client.show("tiny/py-pulled").details
    assert client.delete("tiny/py-pulled").status == "success"
    assert "tiny/py-pulled:latest" not in names(hub_server)
    assert "tiny/py-pulled:latest" not in {model.model for model in client.ps().models}


def test_ollama_pulls_without_a_stream_as_often_as_it_likes(hub_server: RunningServer, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/py-whole")
    for _ in range(2):
        assert native(hub_server.url).pull("hf.co/tiny/py-whole").status == "success"
    native(hub_server.url).delete("hf.co/tiny/py-whole")


def test_a_pull_goes_on_when_the_client_that_asked_for_it_leaves(hub_server: RunningServer, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/py-left")
    for part in native(hub_server.url).pull("tiny/py-left", stream=True):
        assert part.status == "pulling manifest"
        break
    deadline = time.monotonic() + 30
    while "tiny/py-left:latest" not in names(hub_server):
        assert time.monotonic() < deadline, "the pull has ended with its client"
        time.sleep(0.1)
    native(hub_server.url).delete("tiny/py-left")


def test_ollama_raises_what_the_hub_does_not_have(hub_server: RunningServer, hub: Hub) -> None:
    with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist"):
        list(native(hub_server.url).pull("tiny/nowhere", stream=True))
    with pytest.raises(ollama.ResponseError, match="pull model manifest: file does not exist") as caught:
        native(hub_server.url).pull("tiny/nowhere")
    assert caught.value.status_code == 500


def test_ollama_creates_copies_and_deletes(hub_server: RunningServer) -> None:
    client = native(hub_server.url)
    said = client.create(
        model="py-pirate",
        from_="demo",
        system="You are a pirate.",
        parameters={"temperature": 0.25, "stop": ["Arr", "Ahoy"]},
        messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}],
        license="MIT",
        stream=True,
    )
    words = [part.status for part in said]
    assert words[-2:] == ["writing manifest", "success"]
    shown = client.show("py-pirate")
    assert shown.parameters
    assert sorted(line.split() for line in shown.parameters.splitlines()) == [
        ["stop", '"Ahoy"'],
        ["stop", '"Arr"'],
        ["temperature", "0.25"],
    ]
    assert shown.license == "MIT"
    assert client.copy("py-pirate", "py-parrot").status == "success"
    assert client.delete("py-pirate").status == "success"
    assert {"py-parrot:latest"} == {name for name in names(hub_server) if name.startswith("py-")}
    assert client.chat("py-parrot", QUESTION, think=False, options=GREEDY).model == "py-parrot"
    client.delete("py-parrot")


def test_a_removed_name_is_not_listed_though_its_weights_stay_loaded(hub_server: RunningServer) -> None:
    client = native(hub_server.url)
    client.generate("demo", keep_alive="5m")
    client.copy("demo", "py-twin")
    client.generate("py-twin", "Hi", options=GREEDY)
    assert {"demo:latest", "py-twin:latest"} <= {model.model for model in client.ps().models}
    client.delete("py-twin")
    loaded = {model.model for model in client.ps().models}
    assert "py-twin:latest" not in loaded
    assert "demo:latest" in loaded


def test_ollama_creates_from_files_that_it_sent(hub_server: RunningServer) -> None:
    client = native(hub_server.url)
    paths = [path for path in (BUILTIN / "demo").iterdir() if path.name != "SHA256SUMS"]
    digests = {path.name: client.create_blob(path) for path in paths}
    assert client.create(model="py-sent", files=digests, stream=False).status == "success"
    assert client.chat("py-sent", QUESTION, think=False, options=GREEDY).message.content
    client.delete("py-sent")


def test_ollama_creates_without_a_stream(hub_server: RunningServer) -> None:
    assert native(hub_server.url).create(model="py-quick", from_="demo", system="Short.").status == "success"
    native(hub_server.url).delete("py-quick")


def test_ollama_raises_for_an_unknown_model(hub_server: RunningServer) -> None:
    client = native(hub_server.url)
    calls: dict[str, Callable[[], object]] = {
        "model 'nope:latest' not found": lambda: client.show("nope"),
        "model 'nope' not found": lambda: client.delete("nope"),
        'model "nope" not found': lambda: client.copy("nope", "py-x"),
        'model "nope" not found, try pulling it first': lambda: client.embed("nope", "x"),
    }
    for words, call in calls.items():
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert (caught.value.status_code, caught.value.error) == (404, words)


def test_the_async_ollama_client_manages_models(hub_server: RunningServer, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/py-async")

    async def scenario(client: ollama.AsyncClient) -> None:
        parts = [part async for part in await client.pull("tiny/py-async", stream=True)]
        assert (parts[0].status, parts[-1].status) == ("pulling manifest", "success")
        made = await client.create(
            model="py-async-child", from_="tiny/py-async", system="Hello.", stream=True
        )
        assert [part.status async for part in made][-1] == "success"
        await client.copy("py-async-child", "py-async-copy")
        for name in ("tiny/py-async", "py-async-child"):
            await client.delete(name)
        assert (await client.show("py-async-copy")).modelfile
        answer = await client.chat("py-async-copy", QUESTION, think=False, options=GREEDY)
        assert answer.message.content
        loaded = {model.model for model in (await client.ps()).models}
        assert "py-async-copy:latest" in loaded
        await client.delete("py-async-copy")
        listed = {model.model or "" for model in (await client.list()).models}
        assert not [name for name in listed if "py-async" in name]

    with_ollama(hub_server, scenario)


def test_the_async_ollama_client_leaves_a_stream_and_asks_again(hub_server: RunningServer) -> None:
    async def scenario(client: ollama.AsyncClient) -> None:
        left = await client.chat("demo", QUESTION, think=False, options=LONG, stream=True)
        async for part in left:
            assert not part.done
            break
        await left.aclose()  # type: ignore[attr-defined]
        parts = [part async for part in await client.generate("demo", "Hi", options=GREEDY, stream=True)]
        assert parts[-1].done
        assert len((await client.embed("all-minilm", ["one", "two"])).embeddings) == 2

    with_ollama(hub_server, scenario)


def test_openai_lists_and_retrieves_what_was_pulled(hub_server: RunningServer, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/py-slash")
    native(hub_server.url).pull("tiny/py-slash")
    client = v1(hub_server.url)
    assert {"demo:latest", "tiny/py-slash:latest"} <= {model.id for model in client.models.list()}
    found = client.models.retrieve("tiny/py-slash")
    assert (found.id, found.object, found.owned_by) == ("tiny/py-slash", "model", "tiny")
    native(hub_server.url).delete("tiny/py-slash")
    with pytest.raises(openai.NotFoundError, match="model 'tiny/py-slash' not found"):
        client.models.retrieve("tiny/py-slash")


def test_the_async_openai_client_lists_chats_and_embeds(hub_server: RunningServer) -> None:
    async def scenario(client: openai.AsyncOpenAI) -> None:
        assert "demo:latest" in {model.id async for model in client.models.list()}
        stream = await client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": "How do I pull a model?"}],
            reasoning_effort="none",
            max_completion_tokens=24,
            stream=True,
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices[0].finish_reason in ("stop", "length")
        made = await client.embeddings.create(model="all-minilm", input=["one", "two"])
        assert [len(entry.embedding) for entry in made.data] == [384, 384]
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nope")

    with_openai(hub_server.url, scenario)


def get_weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: where
    """
    return f"sunny in {city}"


def test_ollama_makes_a_tool_of_a_function_and_reads_what_it_returned(hub_server: RunningServer) -> None:
    client = native(hub_server.url)
    messages: list[ollama.Message] = [ollama.Message(role="user", content="What is the weather in Paris?")]
    asked = client.chat("demo", messages, tools=[get_weather], think=False, options={"temperature": 0})
    assert asked.message.tool_calls
    call = asked.message.tool_calls[0].function
    assert (call.name, call.arguments) == ("get_weather", {"city": "Paris"})
    result = ollama.Message(role="tool", tool_name=call.name, content=get_weather(**call.arguments))
    told = client.chat(
        "demo", [*messages, asked.message, result], tools=[get_weather], think=False, options=GREEDY
    )
    assert "sunny" in (told.message.content or "")


def test_the_async_ollama_client_thinks_calls_and_keeps_to_a_schema(hub_server: RunningServer) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer", "maximum": 9, "minimum": 0}},
        "required": ["count"],
    }
    greedy = {"temperature": 0, "num_predict": 200}

    async def scenario(client: ollama.AsyncClient) -> None:
        parts = [
            part
            async for part in await client.chat("demo", QUESTION, think=True, options=greedy, stream=True)
        ]
        assert "".join(part.message.thinking or "" for part in parts)
        assert "".join(part.message.content or "" for part in parts)
        kept = await client.generate("demo", "Hi", format=schema, think=False, options=greedy)
        assert 0 <= json.loads(kept.response or "")["count"] <= 9
        asked = [{"role": "user", "content": "What is the weather in Paris?"}]
        stream = await client.chat(
            "demo", asked, tools=[get_weather], think=False, options=greedy, stream=True
        )
        calls = [call async for part in stream for call in part.message.tool_calls or ()]
        assert [call.function.arguments for call in calls] == [{"city": "Paris"}]
        with pytest.raises(ollama.ResponseError, match="model 'nope' not found"):
            await client.chat("nope", QUESTION)

    with_ollama(hub_server, scenario)


def test_the_ollama_client_leaves_a_stream_and_asks_again(hub_server: RunningServer) -> None:
    for part in native(hub_server.url).generate("demo", "Hi", think=False, options=LONG, stream=True):
        assert not part.done
        break
    assert native(hub_server.url).generate("demo", "Hi", think=False, options=GREEDY).response
