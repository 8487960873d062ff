"""POST /api/embed against the real server."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from wire_clients import native


def embed(server: RunningServer, **fields: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/api/embed", json={"model": "all-minilm"} | fields, timeout=60)


def norm(vector: list[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_client_gets_a_vector_of_length_one_for_each_text(server: RunningServer) -> None:
    client = native(server.url)
    texts = ["a cat sits on a mat", "a kitten lies on a rug", "interest rates rose"]
    answer = client.embed("all-minilm", texts)
    vectors = [list(vector) for vector in answer.embeddings]
    assert [len(vector) for vector in vectors] == [384] * 3
    assert [norm(vector) for vector in vectors] == pytest.approx([1.0] * 3, abs=1e-4)
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.2
    assert answer.prompt_eval_count
    alone = list(client.embed("all-minilm", texts[1]).embeddings[0])
    assert cosine(alone, vectors[1]) > 0.999, "the order of the texts is kept"


def test_the_answer_has_ollama_s_fields(server: RunningServer) -> None:
    answer = embed(server, model="All-MiniLM", input="hello")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    body = answer.json()
    assert body["model"] == "All-MiniLM"
    assert type(body["total_duration"]) is int
    assert body["prompt_eval_count"] == int(answer.headers["x-npu-proxy-token-count"])


@pytest.mark.parametrize("given", ["", [], None])
def test_nothing_to_embed_is_an_empty_list_and_loads_the_model(server: RunningServer, given: Any) -> None:
    answer = embed(server, input=given)
    assert answer.json() == {"model": "all-minilm", "embeddings": []}
    assert "all-minilm:latest" in [entry.model for entry in native(server.url).ps().models]


def test_one_empty_text_has_a_vector(server: RunningServer) -> None:
    assert len(embed(server, input=[""]).json()["embeddings"]) == 1


def test_many_empty_texts_have_a_vector_each(server: RunningServer) -> None:
    alone = embed(server, input=[""]).json()["embeddings"][0]
    vectors = embed(server, input=["", "\u200b", "", "word", *[""] * 20]).json()["embeddings"]
    assert len(vectors) == 24
    assert vectors[0] == pytest.approx(alone, abs=1e-3)
    assert embed(server, input=["", ""]).json()["embeddings"] == [alone, alone]


def test_dimensions_keeps_the_first_and_makes_their_length_one(server: RunningServer) -> None:
    whole = embed(server, input="hello").json()["embeddings"][0]
    short = embed(server, input="hello", dimensions=64).json()["embeddings"][0]
    assert len(short) == 64
    assert norm(short) == pytest.approx(1.0, abs=1e-4)
    assert short == pytest.approx([value / norm(whole[:64]) for value in whole[:64]], abs=1e-4)
    assert len(embed(server, input="hello", dimensions=5000).json()["embeddings"][0]) == 384


def test_a_long_text_is_cut_and_a_header_says_so(server: RunningServer) -> None:
    text = "word " * 400
    answer = embed(server, input=[text, "short"])
    assert answer.status_code == 200
    assert int(answer.headers["x-npu-proxy-truncated-tokens"]) > 0
    huge = embed(server, input=["word " * 500_000])
    assert huge.json()["embeddings"] == [pytest.approx(answer.json()["embeddings"][0], abs=1e-4)]
    assert int(huge.headers["x-npu-proxy-truncated-tokens"]) > 1000
    refused = embed(server, input=text, truncate=False)
    assert refused.status_code == 400
    assert refused.json()["error"].startswith("the input length exceeds the context length")


def test_a_chat_model_does_not_embed(server: RunningServer) -> None:
    answer = embed(server, model="demo", input="hello")
    assert answer.status_code == 400
    assert answer.json() == {"error": '"demo" does not support embeddings'}


def test_the_older_endpoint_answers_without_a_prompt_and_without_a_model(server: RunningServer) -> None:
    empty = httpx.post(f"{server.url}/api/embeddings", json={"model": "all-minilm"}, timeout=60)
    assert empty.json() == {"embedding": []}
    missing = httpx.post(f"{server.url}/api/embeddings", json={"model": "nope", "prompt": "x"}, timeout=60)
    assert (missing.status_code, missing.json()) == (
        404,
        {"error": 'model "nope" not found, try pulling it first'},
    )
    nameless = httpx.post(f"{server.url}/api/embeddings", json={"prompt": "x"}, timeout=60)
    assert (nameless.status_code, nameless.json()) == (400, {"error": "model is required"})


def test_a_vector_that_is_known_is_not_made_again(server: RunningServer) -> None:
    def ask(*texts: str, **headers: str) -> httpx.Response:
        body = {"model": "all-minilm", "input": list(texts)}
        return httpx.post(f"{server.url}/api/embed", json=body, headers=headers, timeout=60)

    first = ask("cached one", "cached two")
    assert "x-npu-proxy-cache-hits" not in first.headers
    again = ask("cached two", "cached three", "cached one")
    assert again.headers["x-npu-proxy-cache-hits"] == "2"
    one, two = first.json()["embeddings"]
    assert [again.json()["embeddings"][place] for place in (2, 0)] == [one, two]
    assert "x-npu-proxy-cache-hits" not in ask("cached one", **{"X-Cache-Enabled": "false"}).headers
    short = httpx.post(
        f"{server.url}/api/embed",
        json={"model": "all-minilm", "input": "cached one", "dimensions": 8},
        timeout=60,
    )
    assert len(short.json()["embeddings"][0]) == 8
