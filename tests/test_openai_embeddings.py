"""POST /v1/embeddings and GET /v1/models against the real server."""

from __future__ import annotations

import base64
from array import array
from typing import Any

import httpx
import openai
import pytest
from conftest import RunningServer
from wire_clients import v1


def test_the_client_decodes_base64_into_the_vector_that_floats_give(server: RunningServer) -> None:
    create = v1(server.url).embeddings.create
    packed = create(model="all-minilm", input=["one", "two"])  # the client asks for base64 by itself
    plain = create(model="all-minilm", input=["one", "two"], encoding_format="float")
    assert [entry.index for entry in packed.data] == [0, 1]
    assert len(packed.data[0].embedding) == 384
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0


def test_base64_is_little_endian_float32(server: RunningServer) -> None:
    body = {"model": "all-minilm", "input": "one", "encoding_format": "base64"}
    answer = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=60)
    assert answer.headers["content-type"] == "application/json"
    packed = base64.b64decode(answer.json()["data"][0]["embedding"], validate=True)
    assert len(array("f", packed)) == 384


def test_dimensions_and_an_empty_text(server: RunningServer) -> None:
    create = v1(server.url).embeddings.create
    assert len(create(model="all-minilm", input="one", dimensions=32).data[0].embedding) == 32
    assert len(create(model="all-minilm", input="").data) == 1


def ids_of(server: RunningServer, text: str, **fields: Any) -> list[int]:
    body = {"model": "all-minilm", "prompt": text} | fields
    found: list[int] = httpx.post(f"{server.url}/v1/tokenize", json=body, timeout=60).json()["tokens"]
    return found


def test_token_ids_are_the_text_that_they_stand_for(server: RunningServer) -> None:
    """As clients send them that tokenise by themselves, and as they cut a long text into parts."""
    create = v1(server.url).embeddings.create
    texts = ["Don't panic: it's 42%, naïvely!", "unbelievable tokenizations"]
    told = create(model="all-minilm", input=texts)
    ids = [ids_of(server, text) for text in texts]
    same = create(model="all-minilm", input=ids)
    assert [entry.embedding for entry in same.data] == [entry.embedding for entry in told.data]
    assert same.usage == told.usage
    one = create(model="all-minilm", input=ids[1])
    assert one.data[0].embedding == told.data[1].embedding
    words = ids_of(server, texts[1] + " of all kinds, and more of them")
    assert len(create(model="all-minilm", input=[words[:-4], words[2:]]).data) == 2


CL100K = [791, 4062, 14198, 39935, 35308, 927, 279, 16053, 5679, 13]
"""'The quick brown fox jumps over the lazy dog.', as tiktoken has it for OpenAI's models."""


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (CL100K, "input[3]: 39935 is no token of this model; its ids go from 0 to 30521; send texts"),
        ([[101, 2023, 102], [-1]], "input[1][0]: -1 is no token of this model"),
        ([id for id in CL100K if id < 30522], "input: the ids are not those that this model's tokenizer"),
        ([15339, 1917], "input: the ids are not those that this model's tokenizer"),  # "hello world"
        ([[101, 2023, 102], [101, 104, 102]], "input[1]: the ids are not those that this model's tokenizer"),
    ],
)
def test_ids_of_another_tokenizer_are_refused_with_the_way_out(
    server: RunningServer, ids: Any, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        v1(server.url).embeddings.create(model="all-minilm", input=ids)
    assert words in error.value.message
    assert "check_embedding_ctx_length=False" in error.value.message


@pytest.mark.parametrize(
    ("fields", "raised", "words"),
    [
        ({"model": "nope"}, openai.NotFoundError, 'model "nope" not found, try pulling it first'),
        ({"model": "demo"}, openai.BadRequestError, '"demo" does not support embeddings'),
        ({"input": [1.5]}, openai.BadRequestError, "invalid input type"),
        ({"input": [[1], "x"]}, openai.BadRequestError, "invalid input type"),
        ({"input": [True]}, openai.BadRequestError, "invalid input type"),
        ({"input": {"a": 1}}, openai.BadRequestError, "invalid input type"),
        ({"input": []}, openai.BadRequestError, "invalid input"),
        ({"input": [[2023], []]}, openai.BadRequestError, "invalid input"),
        ({"dimensions": -1}, openai.BadRequestError, "'dimensions': -1 is less than the minimum of 1"),
        ({"encoding_format": "hex"}, openai.BadRequestError, "Supported values: ['float', 'base64']"),
    ],
)
def test_the_client_raises_what_it_should(
    server: RunningServer, fields: Any, raised: type[openai.APIStatusError], words: str
) -> None:
    with pytest.raises(raised) as error:
        v1(server.url).embeddings.create(**({"model": "all-minilm", "input": "one"} | fields))
    assert words in error.value.message


def test_the_client_lists_and_retrieves_models(server: RunningServer) -> None:
    models = {model.id: model for model in v1(server.url).models.list()}
    assert {"demo:latest", "all-minilm:latest"} <= set(models)
    assert models["demo:latest"].owned_by == "library"
    assert models["demo:latest"].created > 1_700_000_000
    assert v1(server.url).models.retrieve("Demo").id == "Demo", "the id is echoed as it was asked for"


@pytest.mark.parametrize(
    "written", ["org/name", "org%2Fname", "hf.co/org/name:tag", "hf.co%2Forg%2Fname%3Atag"]
)
def test_an_id_may_hold_slashes_raw_or_escaped(server: RunningServer, written: str) -> None:
    answer = httpx.get(f"{server.url}/v1/models/{written}")
    name = written.replace("%2F", "/").replace("%3A", ":")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == {
        "message": f"model '{name}' not found",
        "type": "not_found_error",
        "param": None,
        "code": None,
    }


def test_a_slash_reaches_a_model_that_exists(server: RunningServer) -> None:
    for written in ("library/demo", "library%2Fdemo:latest"):
        answer = httpx.get(f"{server.url}/v1/models/{written}")
        assert answer.status_code == 200
        assert answer.json()["object"] == "model"
