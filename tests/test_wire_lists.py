"""Lists of models, vectors and the words of errors, as servers of many makes send them."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest

from inference.backends.ollama import parameters_of
from inference.backends.wire import Call, WireError
from inference.backends.wires import WIRES
from inference.types import FOREVER, EmbedRequest

OLLAMA, OPENAI, ANTHROPIC = WIRES["ollama"], WIRES["openai"], WIRES["anthropic"]
EVERY = pytest.mark.parametrize("protocol", sorted(WIRES))

# --- OpenAI and those who copy it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "context", "parameters", "size"),
    [
        ({"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "system"}, 0, 0, 0),
        ({"id": "Qwen/Qwen3", "root": "Qwen/Qwen3", "max_model_len": 32768, "permission": []}, 32768, 0, 0),
        (
            {"id": "q.gguf", "owned_by": "llamacpp", "meta": {"vocab_type": 2, "n_vocab": 151936, "n_ctx_train": 40960,
             "n_ctx": 4096, "n_embd": 1024, "n_params": 751632384, "size": 633766912}},
            4096, 751632384, 633766912,
        ),
        ({"id": "q.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 40960}}, 40960, 0, 0),
        ({"id": "q.gguf", "meta": None, "status": {"value": "unloaded"}}, 0, 0, 0),
        ({"id": "q", "max_context_length": 131072, "loaded_context_length": 8192, "state": "loaded"}, 8192, 0, 0),
    ],
)  # fmt: skip
def test_lists_say_what_they_say(entry: dict[str, Any], context: int, parameters: int, size: int) -> None:
    (model,) = OPENAI.models(json.dumps({"object": "list", "data": [entry, {"object": "model"}]}).encode())
    assert (model.id, model.context_length, model.parameter_count, model.size_bytes) == (
        entry["id"],
        context,
        parameters,
        size,
    )
    assert model.capabilities == frozenset()


def test_labels_are_capabilities() -> None:
    data = [
        {"id": "a", "labels": ["reasoning", "tool-calling", "hot"]},
        {"id": "b", "labels": ["embeddings"]},
    ]
    one, two = OPENAI.models(json.dumps({"data": data}).encode())
    assert one.capabilities == {"thinking", "tools", "completion"}
    assert two.capabilities == {"embedding"}


@pytest.mark.parametrize("given", [b"[]", b"{}", b"<html>", b'{"data":{}}', b'{"error":"no"}', b""])
def test_what_is_no_list_is_a_failure(given: bytes) -> None:
    with pytest.raises(WireError):
        OPENAI.models(given)


def test_vectors_are_read_as_floats_and_as_base64_in_the_order_of_their_index() -> None:
    packed = base64.b64encode(array("f", [0.5, -2.0]).tobytes()).decode()
    data = [{"index": 1, "embedding": [1, 2.5]}, {"index": 0, "embedding": packed}]
    answer = {"data": data, "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    assert OPENAI.vectors(json.dumps(answer).encode()) == (([0.5, -2.0], [1.0, 2.5]), 7)


@pytest.mark.parametrize("vector", [[], None, "!", "AAA=", ["a"], [None], [[1.0]], 3])
def test_what_is_no_vector_is_a_failure(vector: object) -> None:
    with pytest.raises(WireError):
        OPENAI.vectors(json.dumps({"data": [{"embedding": vector}]}).encode())


def test_texts_and_ids_are_embedded_as_they_came() -> None:
    call = OPENAI.embed(EmbedRequest(model="m", texts=("a", ""), dimensions=5), "e")
    assert call == Call("/v1/embeddings", b'{"model":"e","input":["a",""],"encoding_format":"base64"}')
    call = OPENAI.embed(EmbedRequest(model="m", texts=(), ids=((1, 2), (3,))), "e")
    assert json.loads(call.body)["input"] == [[1, 2], [3]]


# --- Ollama -------------------------------------------------------------------------------------------------

TAGS = {
    "models": [
        {
            "name": "gemma3:latest", "model": "gemma3:latest", "modified_at": "2025-10-26T17:15:24.097767Z",
            "size": 3338801804, "digest": "a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a",
            "details": {
                "parent_model": "", "format": "gguf", "family": "gemma3", "families": ["gemma3"],
                "parameter_size": "4.3B", "quantization_level": "Q4_K_M", "context_length": 131072,
            },
            "capabilities": ["completion", "vision"],
        },
        {
            "name": "gpt-oss:120b-cloud", "model": "gpt-oss:120b-cloud", "remote_model": "gpt-oss:120b",
            "remote_host": "https://ollama.com:443", "size": 384, "digest": "sha256:569662207105",
            "details": {"parameter_size": "116.8B", "families": None},
        },
        {"name": "old:7b", "size": None, "details": None},
    ]
}  # fmt: skip


def test_tags_have_sizes_digests_and_capabilities() -> None:
    gemma, cloud, old = OLLAMA.models(json.dumps(TAGS).encode())
    assert (gemma.id, gemma.size_bytes, gemma.parameter_count) == ("gemma3:latest", 3338801804, 4_300_000_000)
    assert (gemma.context_length, gemma.capabilities) == (131072, frozenset({"completion", "vision"}))
    assert gemma.digest.startswith("a2af6cc3")
    assert (cloud.parameter_count, cloud.digest, cloud.capabilities) == (
        116_800_000_000,
        "569662207105",
        frozenset(),
    )
    assert (old.id, old.parameter_count, old.size_bytes) == ("old:7b", 0, 0)


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ("4.3B", 4_300_000_000), ("137M", 137_000_000), ("22.57M", 22_570_000), ("8x7B", 56_000_000_000),
        ("1.5 b", 1_500_000_000), ("999", 999), ("620K", 620_000), ("1T", 10**12), ("", 0), ("large", 0), ("B", 0),
        ("-1B", 0), ("1e9B", 0),
    ],
)  # fmt: skip
def test_sizes_of_models_are_numbers(size: str, number: int) -> None:
    assert parameters_of(size) == number


@pytest.mark.parametrize("given", [b"[]", b"{}", b'{"models":3}', b'{"error":"no"}'])
def test_what_is_no_list_of_tags_is_a_failure(given: bytes) -> None:
    with pytest.raises(WireError):
        OLLAMA.models(given)


def test_a_list_may_be_empty_or_null() -> None:
    assert OLLAMA.models(b'{"models":null}') == OLLAMA.models(b'{"models":[]}') == ()
    assert OPENAI.models(b'{"object":"list","data":null}') == ()


def test_embedding_wishes_go_to_ollama() -> None:
    asked = EmbedRequest(model="m", texts=("a",), num_ctx=64, truncate=False, keep_alive_s=FOREVER)
    assert OLLAMA.embed(asked, "e") == Call(
        "/api/embed", b'{"model":"e","input":["a"],"truncate":false,"keep_alive":-1,"options":{"num_ctx":64}}'
    )
    assert json.loads(OLLAMA.embed(EmbedRequest(model="m", texts=("a",)), "e").body) == {
        "model": "e",
        "input": ["a"],
        "truncate": True,
    }


def test_ollama_gives_vectors_and_how_long_the_texts_were() -> None:
    answer = {
        "model": "e",
        "embeddings": [[0.25, 1], [3, 4.5]],
        "total_duration": 14143917,
        "prompt_eval_count": 8,
    }
    assert OLLAMA.vectors(json.dumps(answer).encode()) == (([0.25, 1.0], [3.0, 4.5]), 8)
    with pytest.raises(WireError, match="no embeddings"):
        OLLAMA.vectors(b'{"model":"e"}')


def test_who_cannot_embed_says_so() -> None:
    texts, ids = EmbedRequest(model="m", texts=("a",)), EmbedRequest(model="m", texts=(), ids=((1,),))
    assert ANTHROPIC.refuses(texts) == "does not embed"
    assert OLLAMA.refuses(ids)
    assert not any((OLLAMA.refuses(texts), OPENAI.refuses(texts), OPENAI.refuses(ids)))


# --- Anthropic ----------------------------------------------------------------------------------------------


def test_a_page_of_a_thousand_is_asked_for_and_its_models_read() -> None:
    assert ANTHROPIC.models_path == "/v1/models?limit=1000"
    data = [
        {
            "type": "model", "id": "claude-sonnet-4-6", "display_name": "Claude Sonnet 4.6",
            "created_at": "2026-02-17T00:00:00Z", "max_input_tokens": 1000000, "max_tokens": 64000,
            "capabilities": {"image_input": {"supported": True}, "thinking": {"supported": True, "types": {}}},
        },
        {"type": "model", "id": "plain", "display_name": "Plain", "created_at": "2026-02-17T00:00:00Z"},
    ]  # fmt: skip
    page = {"data": data, "has_more": False, "first_id": "claude-sonnet-4-6", "last_id": "plain"}
    claude, plain = ANTHROPIC.models(json.dumps(page).encode())
    assert (claude.id, claude.context_length) == ("claude-sonnet-4-6", 1000000)
    assert claude.capabilities == {"completion", "tools", "vision", "thinking"}
    assert (plain.context_length, plain.capabilities) == (0, frozenset())


# --- the words of errors ------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"model \'x\' not found"}', "model 'x' not found"),
        (b'{"error":{"message":"no such\\nmodel","type":"x","param":null,"code":null}}', "no such model"),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "Overloaded"),
        (b'{"object":"error","message":"too long","type":"BadRequestError","code":400}', "too long"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (
            b'{"detail":[{"type":"missing","loc":["body","model"],"msg":"Field required"}]}',
            "body.model: Field required",
        ),
        (b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', "Loading model"),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><head><style>p{}</style><title>502 Bad Gateway</title></head><h1>nginx</h1></html>",
         "502 Bad Gateway nginx"),
        (b"", ""),
        (b"{}", ""),
        (b"[]", ""),
        (b'{"error":null}', ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'"unwell"', "unwell"),
    ],
)  # fmt: skip
def test_the_words_of_an_error_are_found(protocol: str, body: bytes, words: str) -> None:
    assert WIRES[protocol].refusal(body) == words


@EVERY
def test_the_words_of_an_error_are_bounded(protocol: str) -> None:
    assert len(WIRES[protocol].refusal(b"x" * 100_000)) <= 600
    assert len(WIRES[protocol].refusal(json.dumps({"error": "y" * 100_000}).encode())) <= 600
    assert WIRES[protocol].refusal(b"[" * 100_000) != ""
