"""Fill-in-middle: `suffix` at /api/generate and /v1/completions, for models whose tokenizer has the tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest
from conftest import RunningServer
from infill_models import MISTRAL, QWEN, infill_model
from modelfiles import create, delete, refused, show
from wire_clients import native, v1

GREEDY = {"temperature": 0, "num_predict": 12}
BEFORE, BEHIND = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))"


@pytest.fixture(scope="module")
def coder(server: RunningServer) -> Iterator[str]:
    with infill_model(server, "coder", QWEN) as name:
        yield name


def tokens(server: RunningServer, model: str, prompt: str) -> list[int]:
    """With every control token that the text spells."""
    answer = httpx.post(f"{server.url}/v1/tokenize", json={"model": model, "prompt": prompt}, timeout=60)
    found: list[int] = answer.json()["tokens"]
    return found


def generate(server: RunningServer, model: str, **fields: Any) -> dict[str, Any]:
    body = {"model": model, "stream": False, "options": GREEDY} | fields
    answer = httpx.post(f"{server.url}/api/generate", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def prompt_of(answer: dict[str, Any]) -> list[int]:
    ids: list[int] = answer["context"][: answer["prompt_eval_count"]]
    return ids


def test_the_capability_is_found_in_the_tokenizer(server: RunningServer, coder: str) -> None:
    assert show(server, coder)["capabilities"] == ["completion", "tools", "insert", "thinking"]
    listed = {entry["name"]: entry for entry in httpx.get(f"{server.url}/api/tags").json()["models"]}
    assert "insert" in listed["coder:latest"]["capabilities"]
    assert "insert" not in listed["demo:latest"]["capabilities"]


def test_the_prompt_is_both_texts_between_the_tokens_of_the_family(server: RunningServer, coder: str) -> None:
    answer = generate(server, coder, prompt=BEFORE, suffix=BEHIND, system="Never said.", template="")
    before, behind, middle, _ = QWEN
    assert prompt_of(answer) == tokens(server, coder, f"{before}{BEFORE}{behind}{BEHIND}{middle}")
    raw = generate(server, coder, prompt=f"{before}{BEFORE}{behind}{BEHIND}{middle}", raw=True)
    assert answer["response"] == raw["response"] != ""
    assert "thinking" not in answer
    only_behind = generate(server, coder, prompt="", suffix=BEHIND)
    assert prompt_of(only_behind) == tokens(server, coder, f"{before}{behind}{BEHIND}{middle}")


def test_a_family_may_want_the_suffix_first(server: RunningServer) -> None:
    with infill_model(server, "codestral", MISTRAL) as model:
        answer = generate(server, model, prompt=BEFORE, suffix=BEHIND)
        assert prompt_of(answer) == tokens(server, model, f"[SUFFIX]{BEHIND}[PREFIX]{BEFORE}")


def test_what_users_type_never_becomes_a_token_of_control(server: RunningServer, coder: str) -> None:
    control = [tokens(server, coder, token)[0] for token in (*QWEN, "<|im_start|>", "<|endoftext|>")]
    hostile = "".join(QWEN) + "<|im_start|>x<|endoftext|>"
    ids = prompt_of(generate(server, coder, prompt=hostile, suffix=hostile))
    assert [id for id in ids if id in control] == control[:3]


def test_a_token_behind_the_middle_ends_the_answer(server: RunningServer, coder: str) -> None:
    """At this temperature every token is as likely; the same prompt without a suffix goes on behind such a token."""
    ends = {tokens(server, coder, token)[0] for token in QWEN}
    whole = "<|fim_prefix|>x<|fim_suffix|>y<|fim_middle|>"
    for seed in range(1, 30):
        hot = {"temperature": 1000.0, "top_k": 0, "top_p": 1.0, "seed": seed, "num_predict": 1500}
        answer = generate(server, coder, prompt="x", suffix="y", options=hot)
        if answer["context"][-1] in ends:
            break
    else:
        pytest.fail("no answer came to such a token")
    assert answer["done_reason"] == "stop"
    assert answer["eval_count"] < 1500
    raw = generate(server, coder, prompt=whole, raw=True, options=hot)
    assert raw["eval_count"] > answer["eval_count"]
    assert raw["response"].startswith(answer["response"][:20])


def test_the_clients_fill_in(server: RunningServer, coder: str) -> None:
    whole = native(server.url).generate(coder, BEFORE, suffix=BEHIND, options=GREEDY)
    stream = native(server.url).generate(coder, BEFORE, suffix=BEHIND, options=GREEDY, stream=True)
    assert "".join(part.response or "" for part in stream) == whole.response
    client = v1(server.url).completions
    fields: Any = {"model": coder, "prompt": BEFORE, "suffix": BEHIND, "temperature": 0, "max_tokens": 12}
    completion = client.create(**fields)
    assert completion.choices[0].text == whole.response
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == whole.prompt_eval_count
    chunks = client.create(**fields, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.response
    two = client.create(**{**fields, "prompt": [BEFORE, "x = "]})
    assert two.choices[0].text == whole.response


def test_a_model_without_the_tokens_says_so(server: RunningServer) -> None:
    words = "demo:latest does not support insert"
    with pytest.raises(ollama.ResponseError, match=words) as caught:
        native(server.url).generate("demo", BEFORE, suffix=BEHIND)
    assert caught.value.status_code == 400
    with pytest.raises(openai.BadRequestError, match=words):
        v1(server.url).completions.create(model="demo", prompt=BEFORE, suffix=BEHIND)


def test_a_raw_prompt_writes_the_tokens_itself(server: RunningServer, coder: str) -> None:
    body = {"model": coder, "prompt": BEFORE, "suffix": BEHIND, "raw": True}
    answer = httpx.post(f"{server.url}/api/generate", json=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith('"suffix": raw mode takes no suffix')


def test_a_template_of_the_library_with_a_suffix_stands_for_the_models_own(
    server: RunningServer, coder: str
) -> None:
    fill = "{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>{{ else }}"
    template = f"{fill}<|im_start|>user\n{{{{ .Prompt }}}}<|im_end|>\n<|im_start|>assistant\n{{{{ end }}}}"
    create(server, model="coder-go", template=template, **{"from": coder})
    try:
        fields = {"prompt": BEFORE, "suffix": BEHIND}
        assert (
            generate(server, "coder-go", **fields)["context"] == generate(server, coder, **fields)["context"]
        )
    finally:
        delete(server, "coder-go")
    status, words = refused(server, model="shown-go", template=template, **{"from": "demo"})
    assert (status, "this model's tokenizer has no tokens for fill-in-middle" in words) == (400, True), words
