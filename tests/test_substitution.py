"""One model instead of another: where the operator wrote it, for the reason that was written, and never in a circle."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import httpx
import pytest
from conftest import ROOT, RunningServer, Serve, environment
from engines import DEMO
from msgspec import structs

from inference.backend import ChatJob
from inference.errors import BadRequest, ContextLengthExceeded, DeviceUnavailable, InferenceError
from inference.route_facts import Choice, Plan
from inference.substitution import Planned, Substitute, Substitution
from inference.types import ChatRequest, ModelSpec, Placement

LONG = ContextLengthExceeded(500, 64)
GONE = DeviceUnavailable("no inference device is available")


def spec(name: str) -> ModelSpec:
    return structs.replace(DEMO, name=name)


def outcome(
    rules: dict[str, tuple[Substitute, ...]],
    fates: dict[str, InferenceError | str],
    placement: Placement | None = None,
) -> tuple[str, str, list[str]]:
    """(who was planned, why, who was asked) for a request for `a`. A fate is an error, or `Plan.nobody`."""
    asked: list[str] = []

    async def attempt(model: ModelSpec, request: ChatRequest) -> Planned:
        asked.append(model.name)
        fate = fates[model.name]
        if isinstance(fate, InferenceError):
            raise fate
        plan = Plan(requested=model.name, choices=(Choice(device="CPU", reason="preferred"),), nobody=fate)
        job: ChatJob = None  # type: ignore[assignment]  # no device sees it
        return job, plan

    substitution = Substitution()
    substitution.rules, substitution.models = rules, {name: spec(name) for name in fates}
    request = ChatRequest(model="a", messages=(), placement=placement or Placement())
    _, plan = asyncio.run(substitution.first(spec("a"), request, attempt))
    return plan.requested, plan.choices[0].reason, asked


@pytest.mark.parametrize(
    ("case", "rules", "fates", "wanted"),
    [
        ("it can run", {"a": (Substitute("b"),)}, {"a": "", "b": ""}, ("a", "preferred", ["a"])),
        ("too long", {"a": (Substitute("b"),)}, {"a": LONG, "b": ""}, ("b", "substituted", ["a", "b"])),
        ("no device", {"a": (Substitute("b", "unavailable"),)}, {"a": GONE, "b": ""},
         ("b", "substituted", ["a", "b"])),
        ("no memory", {"a": (Substitute("b"),)}, {"a": "does_not_fit", "b": ""}, ("b", "substituted", ["a", "b"])),
        ("too hot, and so is the other", {"a": (Substitute("b"),)}, {"a": "too_hot", "b": "too_hot"},
         ("b", "substituted", ["a", "b"])),
        ("written for heat alone, and it does not fit", {"a": (Substitute("b", "too_hot"),)},
         {"a": "does_not_fit", "b": ""}, ("a", "preferred", ["a"])),
        ("the second one", {"a": (Substitute("b"), Substitute("c"))}, {"a": LONG, "b": LONG, "c": ""},
         ("c", "substituted", ["a", "b", "c"])),
        ("the substitute's own", {"a": (Substitute("b"),), "b": (Substitute("c"),)}, {"a": LONG, "b": GONE, "c": ""},
         ("c", "substituted", ["a", "b", "c"])),
        ("one that is not installed", {"a": (Substitute("x"), Substitute("b"))}, {"a": LONG, "b": ""},
         ("b", "substituted", ["a", "b"])),
        ("hot, and nobody else can", {"a": (Substitute("b"),)}, {"a": "too_hot", "b": LONG},
         ("a", "preferred", ["a", "b"])),
    ],
)  # fmt: skip
def test_who_answers(
    case: str,
    rules: dict[str, tuple[Substitute, ...]],
    fates: dict[str, InferenceError | str],
    wanted: tuple[str, str, list[str]],
) -> None:
    assert outcome(rules, fates) == wanted, case


@pytest.mark.parametrize(
    ("rules", "fates", "error"),
    [
        ({}, {"a": LONG, "b": ""}, ContextLengthExceeded),
        ({"a": (Substitute("b", "unavailable"),)}, {"a": LONG, "b": ""}, ContextLengthExceeded),
        ({"a": (Substitute("b"),), "b": (Substitute("a"),)}, {"a": LONG, "b": GONE}, ContextLengthExceeded),
        ({"a": (Substitute("b"),)}, {"a": BadRequest("no"), "b": ""}, BadRequest),
    ],
)
def test_the_caller_hears_of_the_model_that_was_asked_for(
    rules: dict[str, tuple[Substitute, ...]],
    fates: dict[str, InferenceError | str],
    error: type[InferenceError],
) -> None:
    with pytest.raises(error):
        outcome(rules, fates)


def test_a_key_for_one_model_gets_no_other_instead() -> None:
    rules: dict[str, tuple[Substitute, ...]] = {"a": (Substitute("b"), Substitute("c"))}
    fates: dict[str, InferenceError | str] = {"a": LONG, "b": "", "c": ""}
    assert outcome(rules, fates, Placement(models=("a", "c*")))[0] == "c"


# --- over HTTP ------------------------------------------------------------------------------------------------


def manage(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "models", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=environment(server.data_dir, NPU_PROXY_DATA_DIR=str(server.data_dir)), check=False,
    )  # fmt: skip


def chat(server: RunningServer, model: str, text: str) -> httpx.Response:
    body = {
        "model": model, "messages": [{"role": "user", "content": text}], "stream": False,
        "options": {"num_predict": 4},
    }  # fmt: skip
    return httpx.post(f"{server.url}/api/chat", json=body, timeout=60, trust_env=False)


def test_a_prompt_that_is_too_long_is_answered_by_the_model_of_the_row(serve: Serve) -> None:
    server = serve()
    made = {"model": "brief", "from": "demo", "parameters": {"num_ctx": 64}, "stream": False}
    assert httpx.post(f"{server.url}/api/create", json=made, timeout=60, trust_env=False).status_code == 200
    long = "many words of a long prompt " * 20
    assert chat(server, "brief", long).status_code == 400
    done = manage(server, "substitute", "brief", "demo", "--when", "does_not_fit", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        {"model": "brief:latest", "substitute": "demo:latest", "when": "does_not_fit"}
    ]
    short = chat(server, "brief", "hi")
    assert short.headers["X-NPU-Proxy-Route-Reason"] != "substituted"
    answer = chat(server, "brief", long)
    for _ in range(100):  # the row counts within two seconds
        if answer.status_code == 200:
            break
        answer = chat(server, "brief", long)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-NPU-Proxy-Route-Reason"] == "substituted"
    assert answer.headers["X-NPU-Proxy-Model"] != short.headers["X-NPU-Proxy-Model"]
    assert answer.headers["X-NPU-Proxy-Model"] == chat(server, "demo", "hi").headers["X-NPU-Proxy-Model"]
    assert "brief:latest does not fit: demo:latest answers instead" in server.log()
    assert manage(server, "substitute", "brief", "brief").returncode == 1
    assert manage(server, "substitute", "brief", "demo", "--rm").returncode == 0
    assert manage(server, "substitute").stdout == ""
