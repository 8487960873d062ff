"""What people see of the engine: devices, loaded models, finished requests, and one frozen picture of them all."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from inference.route_facts import Route
from inference.telemetry.readings import Readings
from inference.types import ModelSpec


class DeviceState(Struct, frozen=True, kw_only=True):
    """One device of this machine as the runtime names it, or another server."""

    id: str
    full_name: str
    available: bool
    slots: int
    running: int
    waiting: int
    emulated: bool = False
    cache_hits: int = 0
    """Texts to embed whose vector was known, since the start; the others are misses."""
    cache_misses: int = 0
    kind: str = ""
    """npu, igpu, dgpu or cpu."""
    local: bool = True
    protocol: str = ""
    """Of another server: ollama, openai or anthropic."""
    healthy: bool = True
    fault: str = ""
    """Why it is not, for the operator."""
    models: tuple[str, ...] = ()
    """Of another server: what it offers, by the names that are used here."""
    breaker: Literal["closed", "open", "half_open"] = "closed"
    """Of another server: whether requests go there; half_open lets one try."""
    driver: str = ""
    """Version; '' where the runtime does not tell."""
    memory_bytes: int | None = None
    """Of its own, or of the machine where it shares that; None: the runtime does not tell."""

    @property
    def texts_embedded(self) -> int:
        return self.cache_hits + self.cache_misses


class LoadedModel(Struct, frozen=True, kw_only=True):
    """One worker that holds a model."""

    name: str
    """The one that asked last; `names` has all that share the worker."""
    digest: str
    device: str
    executed: str
    state: Literal["loading", "ready"]
    size_bytes: int
    """Weights and KV pool as budgeted."""
    context_length: int
    expires_at: float | None
    """Unix time; None: never."""
    pid: int
    running: int
    load_s: float
    names: tuple[str, ...] = ()
    pinned: bool = False
    load_key: str = ""
    """Every model that has it can use this worker, whether it did or not."""


FEWEST_GAPS: Final = 4
"""Times between two tokens of which a rate is made."""
IN_ONE_PIECE: Final = 10_000
"""Tokens a second: more came in one piece, as whole answers of other servers do."""


class RequestRecord(Struct, frozen=True, kw_only=True):
    """A finished or failed request, for the page and the log; no text of prompt or answer."""

    id: str
    time: float
    operation: str
    model: str
    status: int
    route: Route | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_s: float = 0.0
    load_s: float = 0.0
    ttft_s: float | None = None
    """As the client saw it: wait and load included."""
    decode_s: float = 0.0
    total_s: float = 0.0
    energy_j: float | None = None
    """None: unknown, as of a request that did not end."""
    energy_source: str = "unknown"
    """measured, estimated or unknown."""
    error: str = ""
    priority: int = 1
    key: str = ""
    """Name of the API key that asked; '' for none."""
    endpoint: str = ""
    dialect: str = ""

    @property
    def tokens_per_s(self) -> float | None:
        """After the first token. None where too few came after it: a time or two between tokens is no rate."""
        gaps = self.completion_tokens - 1
        apart = self.decode_s * IN_ONE_PIECE > gaps >= FEWEST_GAPS
        return gaps / self.decode_s if apart else None


class RunningRequest(Struct, frozen=True, kw_only=True):
    """A request that is under way; no text of prompt or answer."""

    id: str
    time: float
    """Unix time of its arrival."""
    operation: str
    model: str
    state: Literal["waiting", "prefill", "answering"]
    """Waiting: for the model, a device or its turn."""
    route: Route | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    priority: int = 1
    key: str = ""


class BreakerState(Struct, frozen=True, kw_only=True):
    """Of a model on a device where its worker has crashed since the start."""

    name: str
    load_key: str
    device: str
    state: Literal["closed", "open", "half_open"]
    """Half open: the next request is the try that decides."""
    retry_after_s: float
    crashes: int = 0
    crashed_at: float = 0.0
    """Unix time of the last one."""
    restarted_at: float | None = None
    """Unix time when a worker was ready again after it; None: none is yet."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """One frozen picture: the page, /api/ps and /health read the same one, so they cannot disagree."""

    time: float
    uptime_s: float
    devices: tuple[DeviceState, ...]
    models: tuple[LoadedModel, ...]
    memory_budget_bytes: int
    memory_used_bytes: int
    requests: tuple[RequestRecord, ...] = ()
    """The most recent first."""
    running: tuple[RunningRequest, ...] = ()
    """Those under way, the longest running first."""
    readings: Readings = Readings()
    """Power, heat and load, as of the last sample."""
    refused: frozenset[str] = frozenset()
    """Load keys of models that a device refused to load a moment ago."""
    breakers: tuple[BreakerState, ...] = ()
    runtime: Literal["starting", "running", "failed"] = "running"
    """Running: the devices are known. Failed: no worker process could be started, which is tried again."""
    openvino: str = ""
    """Version of the runtime, once it is known."""
    draining: bool = False
    """The server stops and takes no new work."""

    def state_of(self, spec: ModelSpec) -> Literal["loaded", "loading", "unloaded"]:
        """Whether a request finds the model in memory, on any device."""
        states = {model.state for model in self.models if model.load_key == spec.load_key}
        return "loaded" if "ready" in states else "loading" if states else "unloaded"
