"""What Ollama's API and ours answer, as types for the document alone: answers are written by their own modules, and a
test holds real ones to these."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field


class NativeError(Struct):
    error: str


class Contents(Struct):
    name: str
    version: str
    endpoints: list[dict[str, Any]]


class Version(Struct):
    version: str


class ModelDetails(Struct):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str
    context_length: int | UnsetType = UNSET
    embedding_length: int | UnsetType = UNSET


class Tag(Struct):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: ModelDetails
    capabilities: list[str]
    remote_model: str | UnsetType = UNSET
    remote_host: str | UnsetType = UNSET


class Tags(Struct):
    models: list[Tag]


class Show(Struct):
    modelfile: str
    parameters: str
    template: str
    details: ModelDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    license: str | UnsetType = UNSET
    system: str | UnsetType = UNSET
    messages: list[dict[str, str]] | UnsetType = UNSET
    remote_model: str | UnsetType = UNSET
    remote_host: str | UnsetType = UNSET


class Loaded(Struct):
    name: str
    model: str
    size: int
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: int
    context_length: int


class LoadedModels(Struct):
    models: list[Loaded]


class Known(Struct):
    name: str
    aliases: list[str]
    type: str
    parameters: str
    context_length: int
    license: str
    note: str
    builtin: bool
    installed: bool
    installed_as: list[str]
    size: int
    builds: list[dict[str, Any]]
    devices: dict[str, dict[str, str]]
    ollama_name: str
    huggingface_repo: str
    quantization: str


class KnownModels(Struct):
    models: list[Known]


class Hit(Struct):
    id: str
    name: str
    author: str
    type: str
    parameters: str
    quantization: str
    license: str
    gated: bool
    downloads: int
    likes: int
    last_modified: str
    installed: bool
    installed_as: list[str]


class Hits(Struct):
    models: list[Hit]
    query: str
    total: int


class CloudStatus(Struct):
    cloud: dict[str, Any]


class Recommendation(Struct):
    model: str
    description: str
    context_length: int


class Recommendations(Struct):
    recommendations: list[Recommendation]


class TokenLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int]


class Figures(Struct, kw_only=True):
    """Durations in nanoseconds; with the last object of a stream alone, and a figure of 0 is left out."""

    model: str
    created_at: str
    done: bool
    done_reason: str | UnsetType = UNSET
    logprobs: list[TokenLogprob] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class CalledTool(Struct):
    id: str
    function: dict[str, Any]


class Said(Struct):
    role: Literal["assistant"]
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[CalledTool] | UnsetType = UNSET


class Chat(Figures, kw_only=True):
    message: Said


class Generated(Figures, kw_only=True):
    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[CalledTool] | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET


class Embedded(Struct):
    model: str
    embeddings: list[list[float]]
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET


class Embedding(Struct):
    embedding: list[float]


class Progress(Struct):
    """`error` instead of `status` where it failed after its first line."""

    status: str | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    completed: int | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Cancelled(Struct):
    cancelled: int


class Backend(Struct):
    id: str
    name: str
    kind: str = field(name="class")
    healthy: bool
    emulated: bool
    state: dict[str, int | None]
    type: Literal["local", "ollama", "openai", "anthropic"]
    host: str | None
    fault: str | None
    models_offered: int | None
    models_loaded: int | None
    breaker: str
    characteristics: dict[str, Any]
    driver: str | None
    memory_bytes: int | None
    readings: dict[str, Any] | None


class Measured(Struct):
    """Unknown is null. `age_s`: seconds since it was read."""

    value: float | None
    unit: str
    source: str | None
    age_s: float | None


class Flagged(Struct):
    value: bool | None
    source: str | None
    age_s: float | None


class Fan(Struct):
    name: str
    percent: Measured
    speed: Measured


class System(Struct):
    battery: Measured
    on_battery: Flagged
    mean_temperature: Measured
    mean_fan: Measured
    fans: list[Fan]


class Thermal(Struct):
    devices: dict[str, dict[str, Any]]
    system: System
    notes: list[dict[str, str | None]]


class Limits(Struct):
    max_watts: float | None
    max_fan_percent: float | None
    max_celsius: float | None


class Efficiency(Struct):
    mode: str
    effective_mode: str
    reason: str
    meaning: str
    order: list[str]
    limits: Limits
    modes: list[str]


class Considered(Struct):
    device: str
    kind: str = field(name="class")
    local: bool
    fault: str | None
    fault_words: str | None
    limit_tokens: int | None
    ready: bool | None
    wait_ms: float
    load_ms: float
    begins_in_time: bool
    queue: int
    latency_ms: float | None
    latency_from: str | None
    watts: float | None
    watts_from: str | None
    exceeds: dict[str, Any] | None
    score: float | None
    terms: dict[str, float] | None


class Explained(Struct):
    model: str
    prompt_tokens: int | None
    winner: str | None
    reason: str | None
    fallback_reason: str | None
    why: str
    rule: Literal["score", "chain"]
    requested: str | None
    target: str | None
    chain: list[str]
    busy_wait_ms: float
    mode: str
    effective_mode: str
    weights: dict[str, float]
    order: list[str]
    load_in_background: str | None
    candidates: list[Considered]
