"""`bench --profile MODEL`: requests of several lengths to the running server, on each device that can, so that it knows
what to expect of them. The figures are the server's own, from these requests and all others."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import httpx
from msgspec import Struct

from inference.bench_models import WORDS
from inference.bench_sides import BenchError
from npuproxy.running_server import RunningServer
from registry.progress import Spinner

WORDS_ASKED: Final = (20, 150, 600)
"""Lengths of the prompts, in words; a device whose limit a prompt exceeds has one less."""
EACH: Final = 3
ANSWER_TOKENS: Final = 48
TIMEOUT_S: Final = 600.0
"""A first load compiles."""
HEAD: Final = ("DEVICE", "REQUESTS", "PREFILL", "A TOKEN", "LOAD", "J/TOKEN", "WATTS", "")


class Profiled(Struct, frozen=True, kw_only=True):
    """One device. `measured`: as GET /backends has it; None where nothing was."""

    device: str
    requests: int
    measured: dict[str, Any] | None
    fault: str = ""


def profile(server: RunningServer, model: str, devices: Sequence[str]) -> list[Profiled]:
    """Raises BenchError when the server cannot be asked, or does not have the model."""
    try:
        with server.client(TIMEOUT_S) as client:
            here = [
                one["id"]
                for one in client.get("/backends").raise_for_status().json()
                if one["type"] == "local"
            ]
            return [_device(client, model, device) for device in (devices or here)]
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise BenchError(f"the running server cannot be asked: {error}") from error


def _device(client: httpx.Client, model: str, device: str) -> Profiled:
    done, fault = 0, ""
    for words in WORDS_ASKED:
        for count in range(EACH):
            with Spinner(f"{model} on {device}: {words} words, {count + 1} of {EACH}"):
                answer = _generate(client, model, device, words)
            if answer.status_code == 404:
                raise BenchError(_error(answer))
            if not answer.is_success:
                fault = _error(answer)
                break
            done += 1
        if fault:
            break
    return Profiled(
        device=device, requests=done, measured=_measured(client, model, device), fault="" if done else fault
    )


def _generate(client: httpx.Client, model: str, device: str, words: int) -> httpx.Response:
    """A prompt that nobody has asked before: none of it is in a cache."""
    text = " ".join([secrets.token_hex(4), *(secrets.choice(WORDS) for _ in range(words))])
    body = {
        "model": model, "prompt": text, "stream": False,
        "options": {"num_predict": ANSWER_TOKENS, "temperature": 1.0},
    }  # fmt: skip
    return client.post(
        "/api/generate", json=body, headers={"X-Target-Backend": device, "X-Target-Strict": "true"}
    )


def _measured(client: httpx.Client, model: str, device: str) -> dict[str, Any] | None:
    wanted = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    for one in client.get("/backends").raise_for_status().json():
        if one["id"] == device:
            for measured in one["characteristics"]["measured"] or ():
                if measured["model"] == wanted:
                    found: dict[str, Any] = measured
                    return found
    return None


def _error(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError):
        return answer.text[:200]


def row(one: Profiled) -> tuple[str, ...]:
    """For people: medians, with the number of requests that each is of."""
    found = one.measured or {}

    def cell(value: str, count: str, unit: str, scale: float = 1.0, digits: int = 1) -> str:
        median = found.get(value)
        return "-" if median is None else f"{median * scale:.{digits}f} {unit} ({found[count]})"

    return (
        one.device,
        str(one.requests),
        cell("prefill_tokens_per_s", "prefill_count", "tok/s", digits=0),
        cell("tpot_s", "tpot_count", "ms", 1000),
        cell("load_s", "load_count", "s"),
        cell("joules_per_token", "joules_count", "J", digits=3),
        cell("watts", "watts_count", "W"),
        one.fault,
    )
