"""Does this machine do what the product says of it? A few requests to a real server, each with what it must show.

device       the server's runtime sees it
health       the server is ready
short        a short prompt runs where it was requested: requested = routed = executed, and says something
long         a prompt over the device's limit, which the server tells, runs on a device that takes it, and the reply
             says why; where none does, it is refused with both numbers
stream       the same answer comes as a stream, token by token
embedding    a text becomes a vector of length one, on that device
"""

from __future__ import annotations

import json
import math
import platform
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import psutil
from django.conf import settings
from msgspec import Struct

from npuproxy.doctor import runtime
from npuproxy.running_server import RunningServer

SHORT: Final = "How do I pull a model?"
WORD: Final = "token "
ANSWER_TOKENS: Final = 24
TOO_LONG: Final = "prompt_exceeds_npu_limit"
READ_S: Final = 900.0
"""A first request may compile for minutes."""


class Check(Struct, frozen=True, kw_only=True):
    """One claim that was tried."""

    name: str
    passed: bool
    expected: str
    found: str
    seconds: float


class Unmet(Exception):
    """What was found instead."""


class Certification:
    """Of one model on one device, by the server that `client` asks."""

    def __init__(self, client: httpx.Client, device: str, model: str, embedding_model: str) -> None:
        self._client = client
        self.device = device
        self.model = model
        self._embedding_model = embedding_model
        self.driver: str | None = None

    def checks(self) -> Iterator[Check]:
        """As they are made; after one that fails the others are still tried."""
        tries: tuple[tuple[str, str, Callable[[], str]], ...] = (
            ("device", f"the runtime sees {self.device}", self._visible),
            ("health", "the server is ready", self._ready),
            ("short", f"requested = routed = executed = {self.device}, text that is not empty", self._short),
            (
                "long",
                "a prompt over the limit runs on a device that takes it; where none does: refused with both numbers",
                self._long,
            ),
            ("stream", "the answer of the short prompt, in parts", self._stream),
            ("embedding", f"{self._embedding_model}: a vector of length 1", self._embedding),
        )
        for name, expected, attempt in tries:
            began = time.perf_counter()
            try:
                found, passed = attempt(), True
            except (Unmet, httpx.HTTPError, KeyError, ValueError) as error:
                found, passed = str(error) or type(error).__name__, False
            seconds = round(time.perf_counter() - began, 3)
            yield Check(name=name, passed=passed, expected=expected, found=found, seconds=seconds)

    def _visible(self) -> str:
        devices = {row["id"]: row for row in self._get("/health/devices")["devices"]}
        if self.device not in devices:
            raise Unmet(f"it sees {', '.join(devices) or 'no device'}")
        row = devices[self.device]
        return f"{row.get('name') or self.device}{' (emulated)' if row.get('emulated') else ''}"

    def _ready(self) -> str:
        answer = self._client.get("/readyz")
        if answer.status_code != 200:
            raise Unmet(f"{answer.status_code}: {answer.text[:300]}")
        return "ready"

    def _short(self) -> str:
        answer = self._ask(SHORT, strict=True)
        _want_device(answer, self.device)
        text = answer.json()["message"]["content"].strip()
        if not text:
            raise Unmet("the answer is empty")
        return f"executed on {answer.headers['x-npu-proxy-execution-device']}: {text[:60]!r}"

    def _long(self) -> str:
        limit, most = self._limits()
        answer = self._ask(WORD * limit, strict=False, refused=True)
        if answer.status_code == 400:
            return _refusal(str(answer.json()["error"]), self.device, limit, most)
        ran, why = answer.headers["x-backend-used"], answer.headers.get("x-npu-proxy-fallback-reason", "")
        tokens = int(answer.headers["x-npu-proxy-token-count"])
        if tokens < limit:
            raise Unmet(f"the prompt had {tokens} tokens, not over the limit of {limit}")
        if ran == self.device or (self.device.startswith("NPU") and why != TOO_LONG):
            raise Unmet(f"{tokens} tokens ran on {ran}: {why or 'no fallback'}")
        if not answer.json()["message"]["content"].strip():
            raise Unmet("the answer is empty")
        return f"{tokens} tokens ran on {ran}: {why}"

    def _limits(self) -> tuple[int, int]:
        """Tokens that the device takes, as the server that runs was set, and those of the one that takes most."""
        candidates = self.explained()["candidates"]
        limits = {row["device"]: row["limit_tokens"] for row in candidates if row["limit_tokens"]}
        if self.device not in limits:
            raise Unmet(f"it takes no request on {self.device}")
        return limits[self.device], max(limits.values())

    def explained(self) -> dict[str, Any]:
        """Where a short prompt that names no device would go. Raises httpx.HTTPError."""
        answer = self._client.post("/routes/explain", json={"model": self.model, "prompt": SHORT})
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _stream(self) -> str:
        whole = self._ask(SHORT, strict=True).json()["message"]["content"]
        body = self._body(SHORT) | {"stream": True}
        with self._client.stream("POST", "/api/chat", json=body, headers=self._wishes(strict=True)) as answer:
            lines = [json.loads(line) for line in answer.iter_lines() if line]
        parts = [line["message"]["content"] for line in lines if line.get("message", {}).get("content")]
        if not lines[-1].get("done"):
            raise Unmet(f"it ended with {json.dumps(lines[-1])[:200]}")
        if "".join(parts) != whole:
            raise Unmet(f"{''.join(parts)[:60]!r} instead of {whole[:60]!r}")
        return f"{len(parts)} parts"

    def _embedding(self) -> str:
        answer = self._client.post(
            "/api/embed",
            json={"model": self._embedding_model, "input": SHORT},
            headers=self._wishes(strict=True) | {"X-Cache-Enabled": "false"},
        )
        if answer.status_code != 200:
            raise Unmet(f"{answer.status_code}: {answer.text[:200]}")
        _want_device(answer, self.device)
        (vector,) = answer.json()["embeddings"]
        length = math.sqrt(sum(value * value for value in vector))
        if abs(length - 1) > 1e-3:
            raise Unmet(f"a vector of length {length:.4f}")
        return f"{len(vector)} numbers, executed on {answer.headers['x-npu-proxy-execution-device']}"

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(self, prompt: str, *, strict: bool, refused: bool = False) -> httpx.Response:
        answer = self._client.post("/api/chat", json=self._body(prompt), headers=self._wishes(strict))
        if answer.status_code != 200 and not (refused and answer.status_code == 400):
            raise Unmet(f"{answer.status_code}: {answer.text[:300]}")
        return answer

    def _wishes(self, strict: bool) -> dict[str, str]:
        return {"X-NPU-Proxy-Device": self.device, "X-Target-Strict": str(strict).lower()}

    def _body(self, prompt: str) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "stream": False,
            "think": False,
            "options": {"temperature": 0, "seed": 1, "num_predict": ANSWER_TOKENS},
        }

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._client.get(path)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def _refusal(words: str, device: str, limit: int, most: int) -> str:
    """Raises Unmet where another device takes more, or without both numbers: the prompt's, and what it may have."""
    if most > limit:
        raise Unmet(f"refused, and a device takes {most} tokens where {device} takes {limit}: {words[:200]}")
    numbers = {int(number) for number in re.findall(r"\d+", words)}
    if limit not in numbers or not any(number > limit for number in numbers):
        raise Unmet(f"refused without both numbers: {words[:200]}")
    return f"refused: {words[:200]}"


def _want_device(answer: httpx.Response, device: str) -> None:
    facts = {
        name: answer.headers[f"x-npu-proxy-{name}-device"] for name in ("requested", "routed", "execution")
    }
    executed = facts["execution"].removesuffix(" (emulated)")
    if not (
        facts["requested"] == facts["routed"] == device
        and executed.partition(".")[0] == device.partition(".")[0]
    ):
        raise Unmet(", ".join(f"{name} {value}" for name, value in facts.items()))


def report(server: RunningServer, certification: Certification, checks: list[Check]) -> dict[str, Any]:
    """What is kept: the claims, and on what they were tried."""
    with server.client(30) as client:
        shown = client.post("/api/show", json={"model": certification.model}).json()
        tags = client.get("/api/tags").json()["models"]
    digests = {row["name"]: row["digest"] for row in tags}
    return {
        "certified": all(check.passed for check in checks),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "npuproxy": settings.VERSION,
        "runtime": runtime.installed(),
        "host": {
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "python": platform.python_version(),
            "cores": psutil.cpu_count(logical=False),
            "memory_bytes": psutil.virtual_memory().total,
        },
        "device": certification.device,
        "model": {
            "name": certification.model,
            "digest": digests.get(certification.model) or digests.get(f"{certification.model}:latest"),
            "details": shown.get("details"),
        },
        "checks": [
            {
                "name": c.name,
                "passed": c.passed,
                "expected": c.expected,
                "found": c.found,
                "seconds": c.seconds,
            }
            for c in checks
        ],
    }
