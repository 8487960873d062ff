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


@pytest.mark.parametrize(
    ("fields", "raised", "words"),
    [
        ({"model": "nope"}, openai.NotFoundError, 'model "nope" not found, try pulling it first'),
        ({"model": "demo"}, openai.BadRequestError, '"demo" does not support embeddings'),
        ({"input": [1, 2, 3]}, openai.BadRequestError, "invalid input type"),
        ({"input": []}, openai.BadRequestError, "invalid input"),
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
