from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Annotations(_message.Message):
    __slots__ = ("target", "latency_critical", "prefer_power_efficiency", "cache_enabled", "max_latency_ms", "max_power_watts", "custom", "priority")
    class CustomEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LATENCY_CRITICAL_FIELD_NUMBER: _ClassVar[int]
    PREFER_POWER_EFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    CACHE_ENABLED_FIELD_NUMBER: _ClassVar[int]
    MAX_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_POWER_WATTS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    target: str
    latency_critical: bool
    prefer_power_efficiency: bool
    cache_enabled: bool
    max_latency_ms: int
    max_power_watts: int
    custom: _containers.ScalarMap[str, str]
    priority: str
    def __init__(self, target: _Optional[str] = ..., latency_critical: _Optional[bool] = ..., prefer_power_efficiency: _Optional[bool] = ..., cache_enabled: _Optional[bool] = ..., max_latency_ms: _Optional[int] = ..., max_power_watts: _Optional[int] = ..., custom: _Optional[_Mapping[str, str]] = ..., priority: _Optional[str] = ...) -> None: ...

class Options(_message.Message):
    __slots__ = ("max_tokens", "temperature", "top_p", "top_k", "stop", "context_length", "seed")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    context_length: int
    seed: int
    def __init__(self, max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., context_length: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("prompt", "model", "annotations", "options", "system", "suffix", "raw", "images", "think", "format", "keep_alive")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    THINK_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    KEEP_ALIVE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    model: str
    annotations: Annotations
    options: Options
    system: str
    suffix: str
    raw: bool
    images: _containers.RepeatedScalarFieldContainer[bytes]
    think: bool
    format: str
    keep_alive: str
    def __init__(self, prompt: _Optional[str] = ..., model: _Optional[str] = ..., annotations: _Optional[_Union[Annotations, _Mapping]] = ..., options: _Optional[_Union[Options, _Mapping]] = ..., system: _Optional[str] = ..., suffix: _Optional[str] = ..., raw: _Optional[bool] = ..., images: _Optional[_Iterable[bytes]] = ..., think: _Optional[bool] = ..., format: _Optional[str] = ..., keep_alive: _Optional[str] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("response", "backend_used", "routing", "stats", "from_cache", "thinking", "finish_reason", "tool_calls")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_USED_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    FROM_CACHE_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    response: str
    backend_used: str
    routing: Routing
    stats: Stats
    from_cache: bool
    thinking: str
    finish_reason: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    def __init__(self, response: _Optional[str] = ..., backend_used: _Optional[str] = ..., routing: _Optional[_Union[Routing, _Mapping]] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ..., from_cache: _Optional[bool] = ..., thinking: _Optional[str] = ..., finish_reason: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping]]] = ...) -> None: ...

class GenerateStreamResponse(_message.Message):
    __slots__ = ("token", "done", "backend_used", "stats", "thinking", "routing", "finish_reason", "tool_calls")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_USED_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    token: str
    done: bool
    backend_used: str
    stats: Stats
    thinking: str
    routing: Routing
    finish_reason: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    def __init__(self, token: _Optional[str] = ..., done: _Optional[bool] = ..., backend_used: _Optional[str] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ..., thinking: _Optional[str] = ..., routing: _Optional[_Union[Routing, _Mapping]] = ..., finish_reason: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping]]] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("id", "name", "arguments")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    arguments: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., arguments: _Optional[str] = ...) -> None: ...

class Tool(_message.Message):
    __slots__ = ("name", "description", "parameters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("role", "content", "images", "thinking", "tool_calls", "tool_name", "tool_call_id")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    images: _containers.RepeatedScalarFieldContainer[bytes]
    thinking: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    tool_name: str
    tool_call_id: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ..., images: _Optional[_Iterable[bytes]] = ..., thinking: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping]]] = ..., tool_name: _Optional[str] = ..., tool_call_id: _Optional[str] = ...) -> None: ...

class ChatRequest(_message.Message):
    __slots__ = ("model", "messages", "options", "annotations", "tools", "think", "format", "keep_alive")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    THINK_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    KEEP_ALIVE_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    options: Options
    annotations: Annotations
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    think: bool
    format: str
    keep_alive: str
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., options: _Optional[_Union[Options, _Mapping]] = ..., annotations: _Optional[_Union[Annotations, _Mapping]] = ..., tools: _Optional[_Iterable[_Union[Tool, _Mapping]]] = ..., think: _Optional[bool] = ..., format: _Optional[str] = ..., keep_alive: _Optional[str] = ...) -> None: ...

class ChatResponse(_message.Message):
    __slots__ = ("message", "backend_used", "routing", "stats", "finish_reason")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_USED_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    message: Message
    backend_used: str
    routing: Routing
    stats: Stats
    finish_reason: str
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ..., backend_used: _Optional[str] = ..., routing: _Optional[_Union[Routing, _Mapping]] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ..., finish_reason: _Optional[str] = ...) -> None: ...

class ChatStreamResponse(_message.Message):
    __slots__ = ("token", "done", "backend_used", "stats", "thinking", "routing", "finish_reason", "tool_calls")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_USED_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    token: str
    done: bool
    backend_used: str
    stats: Stats
    thinking: str
    routing: Routing
    finish_reason: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    def __init__(self, token: _Optional[str] = ..., done: _Optional[bool] = ..., backend_used: _Optional[str] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ..., thinking: _Optional[str] = ..., routing: _Optional[_Union[Routing, _Mapping]] = ..., finish_reason: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping]]] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("text", "model", "annotations", "texts", "truncate", "dimensions", "keep_alive")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    KEEP_ALIVE_FIELD_NUMBER: _ClassVar[int]
    text: str
    model: str
    annotations: Annotations
    texts: _containers.RepeatedScalarFieldContainer[str]
    truncate: bool
    dimensions: int
    keep_alive: str
    def __init__(self, text: _Optional[str] = ..., model: _Optional[str] = ..., annotations: _Optional[_Union[Annotations, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ..., truncate: _Optional[bool] = ..., dimensions: _Optional[int] = ..., keep_alive: _Optional[str] = ...) -> None: ...

class Vector(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("embedding", "backend_used", "routing", "embeddings", "stats", "truncated_tokens", "cached")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    BACKEND_USED_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    embedding: _containers.RepeatedScalarFieldContainer[float]
    backend_used: str
    routing: Routing
    embeddings: _containers.RepeatedCompositeFieldContainer[Vector]
    stats: Stats
    truncated_tokens: int
    cached: int
    def __init__(self, embedding: _Optional[_Iterable[float]] = ..., backend_used: _Optional[str] = ..., routing: _Optional[_Union[Routing, _Mapping]] = ..., embeddings: _Optional[_Iterable[_Union[Vector, _Mapping]]] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ..., truncated_tokens: _Optional[int] = ..., cached: _Optional[int] = ...) -> None: ...

class Routing(_message.Message):
    __slots__ = ("backend", "reason", "estimated_power_watts", "estimated_latency_ms", "alternatives", "requested", "executed", "fallback", "fallback_reason", "model")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_POWER_WATTS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    backend: str
    reason: str
    estimated_power_watts: float
    estimated_latency_ms: int
    alternatives: _containers.RepeatedScalarFieldContainer[str]
    requested: str
    executed: str
    fallback: bool
    fallback_reason: str
    model: str
    def __init__(self, backend: _Optional[str] = ..., reason: _Optional[str] = ..., estimated_power_watts: _Optional[float] = ..., estimated_latency_ms: _Optional[int] = ..., alternatives: _Optional[_Iterable[str]] = ..., requested: _Optional[str] = ..., executed: _Optional[str] = ..., fallback: _Optional[bool] = ..., fallback_reason: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class Stats(_message.Message):
    __slots__ = ("ttft_ms", "total_ms", "tokens", "tokens_per_second", "energy_wh", "energy_source", "prompt_tokens", "queue_ms", "load_ms", "reasoning_tokens", "truncated_messages")
    TTFT_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    ENERGY_WH_FIELD_NUMBER: _ClassVar[int]
    ENERGY_SOURCE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    LOAD_MS_FIELD_NUMBER: _ClassVar[int]
    REASONING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ttft_ms: int
    total_ms: int
    tokens: int
    tokens_per_second: float
    energy_wh: float
    energy_source: str
    prompt_tokens: int
    queue_ms: float
    load_ms: float
    reasoning_tokens: int
    truncated_messages: int
    def __init__(self, ttft_ms: _Optional[int] = ..., total_ms: _Optional[int] = ..., tokens: _Optional[int] = ..., tokens_per_second: _Optional[float] = ..., energy_wh: _Optional[float] = ..., energy_source: _Optional[str] = ..., prompt_tokens: _Optional[int] = ..., queue_ms: _Optional[float] = ..., load_ms: _Optional[float] = ..., reasoning_tokens: _Optional[int] = ..., truncated_messages: _Optional[int] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "size_bytes", "digest", "loaded_on", "capabilities", "context_length", "family", "parameter_size", "quantization")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    LOADED_ON_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_SIZE_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    digest: str
    loaded_on: _containers.RepeatedScalarFieldContainer[str]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    context_length: int
    family: str
    parameter_size: str
    quantization: str
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., digest: _Optional[str] = ..., loaded_on: _Optional[_Iterable[str]] = ..., capabilities: _Optional[_Iterable[str]] = ..., context_length: _Optional[int] = ..., family: _Optional[str] = ..., parameter_size: _Optional[str] = ..., quantization: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class ListBackendsRequest(_message.Message):
    __slots__ = ("type_filter",)
    TYPE_FILTER_FIELD_NUMBER: _ClassVar[int]
    type_filter: str
    def __init__(self, type_filter: _Optional[str] = ...) -> None: ...

class Backend(_message.Message):
    __slots__ = ("id", "type", "name", "hardware", "status", "capabilities", "metrics", "emulated")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    EMULATED_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    name: str
    hardware: str
    status: BackendStatus
    capabilities: BackendCapabilities
    metrics: BackendMetrics
    emulated: bool
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., name: _Optional[str] = ..., hardware: _Optional[str] = ..., status: _Optional[_Union[BackendStatus, _Mapping]] = ..., capabilities: _Optional[_Union[BackendCapabilities, _Mapping]] = ..., metrics: _Optional[_Union[BackendMetrics, _Mapping]] = ..., emulated: _Optional[bool] = ...) -> None: ...

class BackendStatus(_message.Message):
    __slots__ = ("state", "message", "last_check_unix")
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_CHECK_UNIX_FIELD_NUMBER: _ClassVar[int]
    state: str
    message: str
    last_check_unix: int
    def __init__(self, state: _Optional[str] = ..., message: _Optional[str] = ..., last_check_unix: _Optional[int] = ...) -> None: ...

class BackendCapabilities(_message.Message):
    __slots__ = ("generate", "embed", "stream", "models", "max_context")
    GENERATE_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    generate: bool
    embed: bool
    stream: bool
    models: _containers.RepeatedScalarFieldContainer[str]
    max_context: int
    def __init__(self, generate: _Optional[bool] = ..., embed: _Optional[bool] = ..., stream: _Optional[bool] = ..., models: _Optional[_Iterable[str]] = ..., max_context: _Optional[int] = ...) -> None: ...

class BackendMetrics(_message.Message):
    __slots__ = ("avg_latency_ms", "requests_per_minute", "error_rate", "power_watts", "loaded_models", "celsius", "slots", "running", "waiting")
    AVG_LATENCY_MS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    ERROR_RATE_FIELD_NUMBER: _ClassVar[int]
    POWER_WATTS_FIELD_NUMBER: _ClassVar[int]
    LOADED_MODELS_FIELD_NUMBER: _ClassVar[int]
    CELSIUS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    avg_latency_ms: int
    requests_per_minute: int
    error_rate: float
    power_watts: float
    loaded_models: _containers.RepeatedScalarFieldContainer[str]
    celsius: float
    slots: int
    running: int
    waiting: int
    def __init__(self, avg_latency_ms: _Optional[int] = ..., requests_per_minute: _Optional[int] = ..., error_rate: _Optional[float] = ..., power_watts: _Optional[float] = ..., loaded_models: _Optional[_Iterable[str]] = ..., celsius: _Optional[float] = ..., slots: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ...) -> None: ...

class ListBackendsResponse(_message.Message):
    __slots__ = ("backends",)
    BACKENDS_FIELD_NUMBER: _ClassVar[int]
    backends: _containers.RepeatedCompositeFieldContainer[Backend]
    def __init__(self, backends: _Optional[_Iterable[_Union[Backend, _Mapping]]] = ...) -> None: ...

class GetEfficiencyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetEfficiencyRequest(_message.Message):
    __slots__ = ("mode",)
    MODE_FIELD_NUMBER: _ClassVar[int]
    mode: str
    def __init__(self, mode: _Optional[str] = ...) -> None: ...

class Efficiency(_message.Message):
    __slots__ = ("mode", "effective_mode", "reason", "meaning", "order", "limits", "modes")
    MODE_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_MODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    MODES_FIELD_NUMBER: _ClassVar[int]
    mode: str
    effective_mode: str
    reason: str
    meaning: str
    order: _containers.RepeatedScalarFieldContainer[str]
    limits: EfficiencyLimits
    modes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, mode: _Optional[str] = ..., effective_mode: _Optional[str] = ..., reason: _Optional[str] = ..., meaning: _Optional[str] = ..., order: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[EfficiencyLimits, _Mapping]] = ..., modes: _Optional[_Iterable[str]] = ...) -> None: ...

class EfficiencyLimits(_message.Message):
    __slots__ = ("max_watts", "max_fan_percent", "max_celsius")
    MAX_WATTS_FIELD_NUMBER: _ClassVar[int]
    MAX_FAN_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    max_watts: float
    max_fan_percent: float
    max_celsius: float
    def __init__(self, max_watts: _Optional[float] = ..., max_fan_percent: _Optional[float] = ..., max_celsius: _Optional[float] = ...) -> None: ...
