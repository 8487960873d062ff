"""POST /api/create: models made of another one; what they say, what is refused, and what a recipe inherits."""

from __future__ import annotations

import json
from typing import Any

import httpx
import hub_repositories
import pytest
from conftest import RunningServer
from hub_process import Hub
from modelfiles import QUESTION, chat, create, delete, lora, refused, said_by, send, show
from wire_clients import native

SYSTEM = "You are a pirate."
TURNS = [
    {"role": "user", "content": "Which port do you listen on?"},
    {"role": "assistant", "content": "On 11435."},
]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
GO_CHATML = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ if .Prompt }}<|im_start|>user\n"
    "{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
)
GO_LLAMA = "<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>"


def test_system_and_messages_of_a_model_go_before_those_of_a_request_in_each_dialect(
    server: RunningServer,
) -> None:
    create(server, model="made-told", **{"from": "demo"}, system=SYSTEM, messages=TURNS)
    told = [{"role": "system", "content": SYSTEM}, *TURNS, *QUESTION]
    plain, wanted, got = chat(server, "demo"), chat(server, "demo", told), chat(server, "made-told")
    assert got["message"]["content"] == wanted["message"]["content"]
    assert got["prompt_eval_count"] == wanted["prompt_eval_count"] > plain["prompt_eval_count"]
    wish = {"messages": QUESTION, "max_tokens": 40, "temperature": 0, "reasoning_effort": "none"}
    said = httpx.post(f"{server.url}/v1/chat/completions", json={"model": "made-told", **wish}, timeout=120)
    assert said.json()["usage"]["prompt_tokens"] == wanted["prompt_eval_count"]
    assert said.json()["choices"][0]["message"]["content"] == wanted["message"]["content"]
    own = [{"role": "system", "content": "Be brief."}]
    assert (
        chat(server, "made-told", own + QUESTION)["prompt_eval_count"]
        == chat(server, "demo", own + TURNS + QUESTION)["prompt_eval_count"]
    ), "a request's system text takes the place of the model's"
    delete(server, "made-told")


def test_a_child_inherits_what_it_does_not_say_and_parameters_name_by_name(server: RunningServer) -> None:
    parameters = {"temperature": 0.5, "stop": ["one", "two"]}
    create(
        server,
        model="made-parent",
        **{"from": "demo"},
        system=SYSTEM,
        messages=TURNS,
        license=["MIT", "and more"],
        parameters=parameters,
    )
    create(server, model="made-child", **{"from": "made-parent"}, parameters={"stop": "three", "top_k": 7})
    child = show(server, "made-child")
    assert (child["system"], child["messages"], child["license"]) == (SYSTEM, TURNS, "MIT\nand more")
    assert [line.split() for line in child["parameters"].splitlines()] == [
        ["stop", '"three"'],
        ["temperature", "0.5"],
        ["top_k", "7"],
    ]
    assert child["details"]["parent_model"] == "made-parent:latest"
    create(server, model="made-child", **{"from": "made-child"}, system="Now this.")
    changed = show(server, "made-child")
    assert (changed["system"], changed["details"]["parent_model"]) == ("Now this.", "made-parent:latest")
    delete(server, "made-parent", "made-child")


def test_parameters_end_answers(server: RunningServer) -> None:
    whole = said_by(server, "demo")
    word = whole.split()[3]
    create(server, model="made-short", **{"from": "demo"}, parameters={"stop": [word], "temperature": 0})
    assert chat(server, "made-short", options={})["message"]["content"] == whole[: whole.index(word)]
    create(server, model="made-short", **{"from": "demo"}, parameters={"num_predict": 3})
    said = chat(server, "made-short", options={})
    assert (said["eval_count"], said["done_reason"]) == (3, "length")
    delete(server, "made-short")


def test_a_model_may_say_how_it_writes_calls(server: RunningServer) -> None:
    create(server, model="made-mistral", **{"from": "demo"}, parameters={"tool_parser": "mistral"})
    assert 'tool_parser                    "mistral"' in show(server, "made-mistral")["parameters"]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    body = {"model": "made-mistral", "messages": QUESTION, "tools": [tool], "tool_choice": "required"}
    said = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).json()["choices"][0]
    assert said["message"]["tool_calls"][0]["function"]["name"] == "f"
    assert (said["message"]["content"], said["finish_reason"]) == ("", "tool_calls")
    refused = httpx.post(
        f"{server.url}/api/create",
        json={"model": "made-odd", "from": "demo", "parameters": {"tool_parser": "odd"}, "stream": False},
    )
    assert "tool_parser: 'odd' is none of the known ones: hermes, " in refused.json()["error"]
    delete(server, "made-mistral")


def test_a_template_of_its_own_is_used_and_capabilities_are_those_of_the_template(
    server: RunningServer,
) -> None:
    create(server, model="made-plain", **{"from": "demo"}, template=CHATML)
    shown = show(server, "made-plain")
    assert (shown["template"], shown["capabilities"]) == (CHATML, ["completion"])
    assert said_by(server, "made-plain")
    create(server, model="made-shouting", **{"from": "demo"}, template=CHATML + "The ")
    longer = chat(server, "made-shouting")["prompt_eval_count"]
    assert longer > chat(server, "made-plain")["prompt_eval_count"]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    answer = httpx.post(
        f"{server.url}/api/chat", json={"model": "made-plain", "messages": QUESTION, "tools": [tool]}
    )
    assert (answer.status_code, "does not support tools" in answer.json()["error"]) == (400, True)
    delete(server, "made-plain", "made-shouting")


def test_a_go_template_that_says_what_the_own_one_says_is_taken_for_it(server: RunningServer) -> None:
    create(server, model="made-go", **{"from": "demo"}, template=GO_CHATML)
    assert show(server, "made-go")["template"] == show(server, "demo")["template"]
    assert said_by(server, "made-go") == said_by(server, "demo")
    delete(server, "made-go")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (GO_LLAMA, "is Ollama's for Llama 3, and this model's own does not know"),
        ("Q: {{ .Prompt }} A:", "is written for Go and none of those that are known here"),
        (GO_CHATML + "Always answer in rhymes, please.", "with a text of its own, 'Always answer in rhymes"),
        ("{{ messages", "the chat template of model 'made-bad:latest' failed"),
        ("{{ raise_exception('never') }}", "failed: never"),
        ("{{ messages[0].nothing.more }}", "failed"),
        ("{% for i in range(10**9) %}{% for j in range(10**9) %}x{% endfor %}{% endfor %}", "failed"),
        ("{{ ''.__class__.__mro__ }}", "failed"),
        ("Hello.", "does not have the text of the messages"),
    ],
)
def test_a_template_that_cannot_serve_is_refused_with_its_fault(
    server: RunningServer, template: str, words: str
) -> None:
    status, error = refused(server, model="made-bad", **{"from": "demo"}, template=template)
    assert status == 400
    assert words in error
    assert "made-bad:latest" not in {model.model for model in native(server.url).list().models}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "invalid model name"),
        ({"model": "a b", "from": "demo"}, "invalid model name"),
        ({"model": "made-bad"}, "neither 'from' or 'files' was specified"),
        ({"model": "made-bad", "from": "demo", "files": {"a": "b"}}, "give 'from' or 'files', not both"),
        ({"model": "made-bad", "from": "demo", "parameters": {"heat": 1}}, "unknown parameter 'heat'"),
        (
            {"model": "made-bad", "from": "demo", "parameters": {"top_k": "x"}},
            'option "top_k" must be of type integer',
        ),
        (
            {"model": "made-bad", "from": "demo", "messages": [{"role": "cat", "content": "x"}]},
            "messages[0].role: 'cat' is none of system, user, assistant",
        ),
        ({"model": "made-bad", "from": "demo", "quantize": "q4_K_M"}, "demo is converted already"),
        ({"model": "made-bad", "from": "demo", "system": 5}, "CreateRequest.system of type string"),
        ({"model": "made-bad", "from": "all-minilm", "system": "x"}, "'all-minilm' embeds texts"),
        ({"model": "made-bad", "from": "demo", "system": "x" * 1_100_000}, "system: 1100000 characters"),
        ({"model": "made-bad", "from": "demo", "system": "a\0b"}, "system: a NUL character cannot be kept"),
        ({"model": "made-bad", "from": "demo", "parameters": {"stop": ["\0"]}}, "parameters: a NUL"),
        (
            {"model": "made-bad", "from": "demo", "adapters": {"a.safetensors": "sha256:" + "0" * 64}},
            "was not sent; POST it to /api/blobs/sha256:",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_names_the_field(
    server: RunningServer, body: dict[str, Any], words: str
) -> None:
    status, error = refused(server, **body)
    assert (status, words in error) == (400, True), error


def test_a_model_to_start_from_that_nobody_knows_is_a_404_with_the_way_out(server: RunningServer) -> None:
    status, error = refused(server, model="made-bad", **{"from": "nopenope"})
    assert status == 404
    assert "'nopenope' is not in the catalogue; name a repository of the hub as org/repo" in error
    assert "made-bad:latest" not in {model.model for model in native(server.url).list().models}


def test_a_model_to_start_from_is_pulled_where_it_is_not_here(hub_server: RunningServer, hub: Hub) -> None:
    hub_repositories.chat(hub.root, "tiny/base")
    lines = create(hub_server, model="made-far", **{"from": "tiny/base"}, system=SYSTEM)
    said = [line["status"] for line in lines]
    assert said[0] == "pulling manifest"
    assert any("digest" in line for line in lines)
    assert said.count("success") == 1
    assert show(hub_server, "made-far")["details"]["parent_model"] == "tiny/base:latest"
    assert said_by(hub_server, "made-far")
    delete(hub_server, "tiny/base")
    assert said_by(hub_server, "made-far"), "its files are its child's too"
    delete(hub_server, "made-far")


def test_without_a_stream_only_the_end_is_told(server: RunningServer) -> None:
    body = {"model": "made-quiet", "from": "demo", "stream": False}
    answer = httpx.post(f"{server.url}/api/create", json=body)
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})
    assert answer.headers["content-type"] == "application/json"
    streamed = httpx.post(f"{server.url}/api/create", json={**body, "stream": True})
    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["status"] for line in streamed.text.splitlines()][-2:] == [
        "writing manifest",
        "success",
    ]
    delete(server, "made-quiet")


def test_an_adapter_changes_what_is_said_by_its_model_alone(server: RunningServer) -> None:
    before = said_by(server, "demo")
    weights = send(server, lora())
    none = send(server, json.dumps({"r": 4, "lora_alpha": 1e-9}).encode())
    create(server, model="made-lora", **{"from": "demo"}, adapters={"a.safetensors": weights})
    create(
        server,
        model="made-weak",
        **{"from": "demo"},
        adapters={"w/a.safetensors": weights, "w/adapter_config.json": none},
    )
    assert said_by(server, "made-lora") != before
    assert said_by(server, "made-weak") == before, "adapter_config.json says how strongly it counts"
    assert said_by(server, "demo") == before
    assert show(server, "made-lora")["modelfile"].count(f"ADAPTER {weights}") == 1
    delete(server, "made-lora")
    assert httpx.head(f"{server.url}/api/blobs/{weights}").status_code == 200, "made-weak has it too"
    delete(server, "made-weak")
    assert httpx.head(f"{server.url}/api/blobs/{weights}").status_code == 404


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lora()[:5000], "it is not whole"),
        (lora({"base_model.model.model.decoder.9.fc": (7, 9)}), "was made for another model"),
        (b"PK\x03\x04" + bytes(100), "is no safetensors file"),
        (lora({}), "holds no tensors named"),
    ],
)
def test_an_adapter_that_would_do_nothing_or_harm_is_refused(
    server: RunningServer, content: bytes, words: str
) -> None:
    adapters = {"a.safetensors": send(server, content)}
    status, error = refused(server, model="made-bad", **{"from": "demo"}, adapters=adapters)
    assert (status, words in error) == (400, True), error


def test_push_is_refused_in_the_shape_of_a_push_that_failed(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/api/push", json={"model": "demo"})
    first, second = (json.loads(line) for line in answer.text.splitlines())
    assert (answer.status_code, first) == (200, {"status": "retrieving manifest"})
    assert "models are not pushed from this server" in second["error"]
    whole = httpx.post(f"{server.url}/api/push", json={"model": "demo", "stream": False})
    assert (whole.status_code, whole.json()) == (400, second)
    missing = httpx.post(f"{server.url}/api/push", json={"model": "nope"})
    assert (missing.status_code, missing.json()) == (404, {"error": "model 'nope' not found"})


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("create", "POST"), ("copy", "POST"), ("push", "POST"), ("delete", "DELETE"), ("blobs/x", "HEAD, POST")],
)
def test_other_methods_are_a_405_that_names_the_right_one(
    server: RunningServer, path: str, allowed: str
) -> None:
    answer = httpx.get(f"{server.url}/api/{path}")
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    preflight = httpx.options(
        f"{server.url}/api/{path}",
        headers={"Origin": "http://localhost:3000", "Access-Control-Request-Method": allowed[-4:]},
    )
    assert preflight.status_code == 204
