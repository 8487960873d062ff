"""GET /openapi.json: a valid document of every endpoint, true of what is read and of what is answered."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

import pytest
from conftest import RunningServer, get
from hostile_bodies import SHAPES
from jsonschema import Draft202012Validator
from msgspec import structs
from openapi_spec_validator import validate
from test_any_body import PARSERS

from compat_api import headers
from compat_api.openapi import parameters, schemas
from compat_api.openapi.document import document
from compat_api.openapi.endpoints import ENDPOINTS
from compat_api.urls import OPERATIONS, Operation
from inference.errors import BadRequest

DOCUMENT = document()
NAMED = {operation.name: operation for operation in OPERATIONS}
OTHER = {"string": 5, "boolean": "x", "integer": "x", "number": "x", "array": 5, "object": 5}
"""A value that is not of the type."""


class Answer(NamedTuple):
    status: int
    media: str
    body: bytes
    headers: frozenset[str]


def shown(operation: Operation, method: str = "") -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][operation.path][(method or operation.methods[0]).lower()]
    return found


def strict() -> dict[str, Any]:
    """The components, in which an answer has no field that is not named. Events of streams differ by their type."""
    components: dict[str, Any] = json.loads(json.dumps(DOCUMENT["components"]))
    for name, component in components["schemas"].items():
        if "properties" in component and name != "NamedEvent":
            component["additionalProperties"] = False
    return components


def check(schema: dict[str, Any], value: Any, components: dict[str, Any] | None = None) -> None:
    Draft202012Validator({**schema, "components": components or DOCUMENT["components"]}).validate(value)


def body_of(name: str) -> dict[str, Any]:
    content: dict[str, Any] = shown(NAMED[name])["requestBody"]["content"]
    found: dict[str, Any] = content["application/json"]["schema"]
    return found


def component(schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def test_it_is_a_valid_document() -> None:
    validate(DOCUMENT)


def test_it_has_every_endpoint_of_the_table_with_its_methods_and_no_other() -> None:
    table = {(entry.path, method.lower()) for entry in OPERATIONS for method in entry.methods}
    assert {(path, method) for path, entry in DOCUMENT["paths"].items() for method in entry} == table
    assert set(ENDPOINTS) == set(NAMED)
    for operation in OPERATIONS:
        for method in operation.methods:
            said = shown(operation, method)
            assert said["x-scope"] == operation.scope
            assert bool(said["security"]) == (operation.scope != "open")
            assert ("401" in said["responses"]) >= (operation.scope != "open")


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_body_has_the_fields_that_are_read_each_with_its_type(name: str) -> None:
    kind, good = SHAPES[name]
    schema = component(body_of(name))
    assert set(schema["properties"]) == {field.encode_name for field in structs.fields(kind)}
    check(body_of(name), good)
    for field, said in schema["properties"].items():
        types = {one["type"] for one in said.get("anyOf", [said]) if isinstance(one.get("type"), str)}
        if types and types <= {*OTHER, "null"} and len(types - {"null"}) == 1:
            wrong = {**good, field: OTHER[min(types - {"null"})]}
            with pytest.raises(BadRequest):
                PARSERS[name](json.dumps(wrong).encode())


def test_every_open_field_that_is_described_is_one_of_a_body() -> None:
    described = {
        (NAMED[name].dialect, field)
        for name in SHAPES
        for field, said in component(body_of(name))["properties"].items()
        if said in [{**one} for one in schemas.UNTYPED.values()]
    }
    inside = {("openai", "content"), ("anthropic", "content")}
    assert set(schemas.UNTYPED) - inside <= described


def test_wishes_are_the_headers_that_are_read_with_the_values_that_they_take() -> None:
    assert {name.lower().encode() for name in parameters.WISHES} == set(headers._WISHES)
    for name, (schema, _) in parameters.WISHES.items():
        good = schema.get("enum") or schema.get("examples") or [schema.get("minimum", 2), 7]
        for value in good:
            headers.placement([(name.lower().encode(), str(value).encode())])
        with pytest.raises(BadRequest, match=name):
            headers.placement([(name.lower().encode(), b"no such thing!")])


# --- real answers ------------------------------------------------------------------------------------------------


def ask(server: RunningServer, method: str, path: str, body: Any = None, **sent: str) -> Answer:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return _answer(answer.status, answer)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error)


def _answer(status: int, answer: Any) -> Answer:
    media = answer.headers.get("Content-Type", "").partition(";")[0]
    return Answer(status, media, answer.read(), frozenset(name.lower() for name in answer.headers))


def hold(operation: Operation, method: str, answer: Answer) -> int:
    """To what the document says; how many objects were looked at."""
    said = shown(operation, method)
    response = said["responses"].get(str(answer.status), said["responses"]["default"])
    assert answer.media in response["content"], (operation.name, answer)
    ours = {name for name in answer.headers if name.startswith("x-")}
    known = {name.lower() for name in {**parameters.ALWAYS, **parameters.FACTS}}
    assert ours <= known | {"x-content-type-options", "x-frame-options"}
    schema, components = response["content"][answer.media]["schema"], strict()
    lines = list(_objects(answer))
    for line in lines:
        check(schema, line, components)
    return len(lines)


def _objects(answer: Answer) -> list[Any]:
    if answer.media == "application/json":
        return [json.loads(answer.body)]
    if answer.media == "text/event-stream":
        found = [line[6:] for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line) for line in found if line != b"[DONE]"]
    if answer.media == "application/x-ndjson":
        return [json.loads(line) for line in answer.body.splitlines()]
    return [answer.body.decode()]


def test_the_server_gives_it_to_everyone(server: RunningServer) -> None:
    assert json.loads(get(server.url + "/openapi.json")) == DOCUMENT
    assert ask(server, "HEAD", "/openapi.json").media == "application/json"


READ = [
    entry.name
    for entry in OPERATIONS
    if "GET" in entry.methods and not entry.socket and "{" not in entry.path and entry.name != "search"
]


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_as_the_document_has_it(server: RunningServer, name: str) -> None:
    if name == "ps":
        ask(server, "POST", "/api/generate", {"model": "demo"})
    assert hold(NAMED[name], "GET", ask(server, "GET", NAMED[name].path)) == 1


CHANGING = {"pull", "create", "copy", "delete", "efficiency.choose"}


@pytest.mark.parametrize("name", sorted(set(SHAPES) - CHANGING))
def test_answers_are_as_the_document_has_them(server: RunningServer, name: str) -> None:
    operation, good = NAMED[name], SHAPES[name].good
    method = operation.methods[0]
    for more in ({"stream": False}, {"stream": True}) if ENDPOINTS[name].streams else ({},):
        answer = ask(server, method, operation.path, {**good, **more})
        assert hold(operation, method, answer) >= 1


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_what_a_body_must_have_is_asked_for(server: RunningServer, name: str) -> None:
    operation, good = NAMED[name], SHAPES[name].good
    assert component(body_of(name)).get("required", []) == sorted(ENDPOINTS[name].needs) != []
    for field in ENDPOINTS[name].needs:
        without = {key: value for key, value in good.items() if key != field}
        answer = ask(server, operation.methods[0], operation.path, without)
        assert answer.status in (400, 404)
        assert hold(operation, operation.methods[0], answer) == 1


def test_extras_of_answers_are_in_it_too(server: RunningServer) -> None:
    turns = [{"role": "user", "content": "hi"}]
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    more: tuple[tuple[str, dict[str, Any]], ...] = (
        ("chat", {"logprobs": True, "think": True}),
        ("openai.chat", {"logprobs": True}),
        ("openai.chat", {"logprobs": True, **usage}),
        ("openai.completions", {"logprobs": 0}),
        ("openai.completions", {"logprobs": 0, **usage}),
        ("openai.embeddings", {"encoding_format": "base64"}),
        ("openai.tokenize", {"return_token_strs": True}),
        ("anthropic.messages", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    )
    for name, fields in more:
        body = {**SHAPES[name].good, **fields}
        assert hold(NAMED[name], "POST", ask(server, "POST", NAMED[name].path, body)) >= 1, name
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    body = {"model": "demo", "messages": turns, "tools": [tool], "tool_choice": "required", "max_tokens": 40}
    assert hold(NAMED["openai.chat"], "POST", ask(server, "POST", "/v1/chat/completions", body)) == 1


def test_models_have_two_shapes_and_errors_the_envelope_of_their_api(server: RunningServer) -> None:
    for path, operation in (("/v1/models", "openai.models"), ("/v1/models/demo", "openai.model")):
        for sent in ({}, {"anthropic-version": "2023-06-01"}):
            assert hold(NAMED[operation], "GET", ask(server, "GET", path, None, **sent)) == 1
    assert hold(NAMED["openai.model"], "GET", ask(server, "GET", "/v1/models/nope")) == 1
    assert hold(NAMED["search"], "GET", ask(server, "GET", "/api/search?limit=0")) == 1
