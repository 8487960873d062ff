"""What OpenAI's API, Anthropic's and the WebSocket answer, as types for the document; as native_answers.py has it for
the others."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from compat_api.openapi.native_answers import TokenLogprob


class OpenAIFault(Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(Struct):
    error: OpenAIFault


class AnthropicFault(Struct):
    type: str
    message: str
    details: dict[str, str] | UnsetType = UNSET


class AnthropicError(Struct):
    type: Literal["error"]
    error: AnthropicFault
    request_id: str | None


class OpenAIModel(Struct):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    status: dict[str, Any]


class OpenAIModels(Struct):
    object: Literal["list"]
    data: list[OpenAIModel]


class AnthropicModel(Struct):
    type: Literal["model"]
    id: str
    display_name: str
    created_at: str


class AnthropicModels(Struct):
    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(Struct, kw_only=True):
    """What whole answers and chunks share."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class Message(Struct):
    role: Literal["assistant"]
    content: str
    reasoning: str | UnsetType = UNSET
    tool_calls: list[dict[str, Any]] | UnsetType = UNSET


class ChatLogprobs(Struct):
    content: list[TokenLogprob]
    refusal: None


class ChatChoice(Struct):
    index: int
    message: Message
    finish_reason: str
    logprobs: ChatLogprobs | UnsetType | None = UNSET


class ChatCompletion(Completion, kw_only=True):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage


class Delta(Struct):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[dict[str, Any]] | UnsetType = UNSET


class ChunkChoice(Struct):
    index: int
    delta: Delta
    finish_reason: str | None
    logprobs: ChatLogprobs | UnsetType | None = UNSET


class ChatChunk(Completion, kw_only=True):
    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]
    usage: Usage | UnsetType = UNSET


class TextLogprobs(Struct):
    tokens: list[str]
    token_logprobs: list[float]
    text_offset: list[int]
    top_logprobs: None


class TextChoice(Struct):
    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: str | None


class TextCompletion(Completion, kw_only=True):
    """Chunks of a stream have the same shape; `usage` is on the last one where it was asked for."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage | UnsetType = UNSET


class ResponseUsage(Struct):
    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class Response(Struct):
    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    incomplete_details: dict[str, str] | None
    model: str
    output: list[dict[str, Any]]
    error: dict[str, Any] | None
    previous_response_id: None
    truncation: str
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    max_tool_calls: None
    store: bool
    background: bool
    service_tier: str
    safety_identifier: None
    prompt_cache_key: None
    instructions: str | None
    tools: list[Any]
    tool_choice: Any
    parallel_tool_calls: bool
    text: dict[str, Any]
    temperature: float
    top_p: float
    reasoning: dict[str, str | None]
    max_output_tokens: int | None
    metadata: dict[str, Any]
    usage: ResponseUsage | None


class NamedEvent(Struct):
    """One event of a stream; what else it has depends on its type."""

    type: str


class EmbeddingVector(Struct):
    object: Literal["embedding"]
    embedding: list[float] | str
    """Base64 is little-endian float32."""
    index: int


class EmbeddingUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct):
    object: Literal["list"]
    data: list[EmbeddingVector]
    model: str
    usage: EmbeddingUsage


class Tokens(Struct):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(Struct):
    prompt: str


class MessageUsage(Struct):
    input_tokens: int
    output_tokens: int


class AnthropicMessage(Struct):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_sequence: str | None
    usage: MessageUsage


class TokenCount(Struct):
    input_tokens: int


class SocketPiece(Struct):
    request_id: str
    token: str
    done: bool
    ttft_ms: float
    thinking: str | UnsetType = UNSET


class SocketLast(SocketPiece, kw_only=True):
    total_time_ms: float
    token_count: int
    tokens_per_sec: float | None
    backend: str
    reason: str
    finish_reason: str
    energy_j: float | None
    energy_source: str


class SocketError(Struct):
    error: str
    request_id: str | None
    code: str
    done: bool
