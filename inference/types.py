"""The one internal vocabulary of what comes in: what a request is, and what a model is.

Every dialect parses into `ChatRequest` or `EmbedRequest` and encodes from `inference.events`. All values are frozen
msgspec Structs: they cross file and process boundaries unchanged. Nothing here knows HTTP, a database or OpenVINO.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, structs

FOREVER = float("inf")
"""keep_alive of a model that is never unloaded."""

Kind = Literal["chat", "embedding"]
Pooling = Literal["mean", "cls", "last_token"]


class Sampling(Struct, frozen=True, kw_only=True):
    """Sampling options under the field's own names; None is "not asked for".

    `ignored` names options that the caller sent and that have no meaning here; they are logged, never an error.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    """New tokens at most; None or negative: until the model stops or the context ends."""
    stop: tuple[str, ...] | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    ignored: tuple[str, ...] = ()

    def over(self, defaults: Sampling) -> Sampling:
        """These options, with what they leave open taken from `defaults`."""
        changes = {
            name: getattr(defaults, name)
            for name in self.__struct_fields__
            if name != "ignored" and getattr(self, name) is None
        }
        return structs.replace(self, **changes)


DEFAULT_SAMPLING = Sampling(
    temperature=0.8,
    top_k=40,
    top_p=0.9,
    min_p=0.0,
    repeat_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
)
"""Ollama's defaults (api-contract 2.3); used for what neither the request nor the model's parameters say."""


class Adapter(Struct, frozen=True, kw_only=True):
    """LoRA weights that are loaded with a model."""

    path: Path
    sha256: str
    size_bytes: int = 0
    alpha: float = 1.0


class ModelSpec(Struct, frozen=True, kw_only=True, dict=True):
    """What inference must know of a model; made by `registry` from a row. A worker serves all of one `load_key`."""

    name: str
    """Display name with tag, e.g. 'demo:latest'."""
    digest: str
    """64 hex digits over the sorted `sha256  name` lines of all files."""
    content_digest: str = ""
    """What clients are shown: over the files and the texts and parameters that the row adds; '' for `digest`."""
    path: Path
    kind: Kind
    files: dict[str, tuple[int, str]] = {}
    """Relative name -> (size in bytes, sha256 in hex); checked at load."""
    size_bytes: int = 0
    architecture: str = ""
    parameter_count: int = 0
    quantization: str = ""
    context_length: int = 4096
    full_context_length: int = 0
    """What the files hold, where `context_length` was lowered (PARAMETER num_ctx); 0: the same."""
    embedding_length: int = 0
    kv_bytes_per_token: int = 0
    """Bytes of KV cache one token takes in the precision it is loaded with; 0 for embedding models."""
    capabilities: frozenset[str] = frozenset()
    """Subset of completion, tools, thinking, insert, vision, embedding."""
    exact: bool = False
    """Load with f32 hints, so that neighbours in a batch never tip near-ties (openvino-facts 18)."""
    pooling: Pooling = "mean"
    template: str = ""
    """Jinja chat template; '' for the one in the model's folder."""
    system: str = ""
    messages: tuple[Message, ...] = ()
    """The model's own turns, before those of every request."""
    parameters: Sampling = Sampling()
    adapters: tuple[Adapter, ...] = ()
    tool_parser: str = ""
    """A family of `inference.tools`; '' to go by the template."""
    pinned: bool = False
    """Never unloaded to make room, nor by the clock."""
    local_only: bool = False
    """Its requests never leave this machine."""
    remote: bool = False
    """No files here, nor a tokenizer: only other servers have it."""

    @property
    def shown_digest(self) -> str:
        return self.content_digest or self.digest

    @cached_property
    def load_key(self) -> str:
        """What a worker is loaded by: the files, and what changes how they are loaded.

        Names that differ in system, template or parameters alone share a worker.
        """
        if not (self.exact or self.adapters):
            return self.digest
        parts = [f"{adapter.sha256}*{adapter.alpha:g}" for adapter in self.adapters]
        return "+".join([self.digest, *(("exact",) if self.exact else ()), *parts])


class ToolCall(Struct, frozen=True, tag="tool_call"):
    """A call the model made, or one in the history. As an event it is always whole."""

    id: str
    name: str
    arguments: dict[str, Any]


class Image(Struct, frozen=True, kw_only=True):
    """An image of a message, as the client sent it: a file in one of the formats of `worker.image_files`."""

    data: bytes
    field: str
    """Where it stands in the request, for errors: 'messages[0].images[1]'."""
    at: int = 0
    """Characters of the message's content that come before it."""


class Message(Struct, frozen=True, kw_only=True):
    """One turn. `role` is lower case; 'developer' has become 'system'."""

    role: str
    content: str = ""
    images: tuple[Image, ...] = ()
    """In the order of their places in `content`."""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


class Tool(Struct, frozen=True, kw_only=True):
    """A function the model may call; `parameters` is its JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class ToolChoice(Struct, frozen=True, kw_only=True):
    """What the caller decides about calls. `names`: these tools only; () for all that were given."""

    required: bool = False
    names: tuple[str, ...] = ()
    parallel: bool = True
    """False: the answer ends with its first call."""


class Constraint(Struct, frozen=True):
    """The answer must be JSON; `schema` is a JSON schema as text, or '' for any JSON object."""

    schema: str = ""


class Placement(Struct, frozen=True, kw_only=True):
    """Where and when the caller wishes to run: the X- headers and `options.device`."""

    device: str = ""
    """'' leaves the choice to the router; else NPU, GPU, GPU.1, CPU…, upper case."""
    allowed: tuple[str, ...] = ()
    """Devices that the caller's key allows, never relaxed; () is all. GPU stands for every GPU."""
    models: tuple[str, ...] = ()
    """Patterns of the models that the caller's key allows, for what stands in for another one; () is all."""
    strict: bool = False
    """X-Target-Strict: 503 instead of another device."""
    priority: int = 1
    """0 best effort, 1 normal, 2 high, 3 critical."""
    cache: bool = True
    """X-Cache-Enabled: false leaves the cache of vectors alone."""
    latency_critical: bool = False
    """X-Latency-Critical, or a critical priority: time counts, power does not."""
    power_efficient: bool = False
    """X-Power-Efficient: power counts, time does not."""
    max_latency_ms: float | None = None
    max_watts: float | None = None
    remote: bool = True
    """False keeps the request on this machine."""
    kept_by: tuple[str, ...] = ()
    """Who says so, in the words of the refusal."""
    deadline_ms: int | None = None
    """X-Deadline-Ms: start within this time or fail with DeadlineExceeded."""
    via: str = ""
    """The servers that the request came through, as the header X-NPU-Proxy-Via names them."""


class Source(Struct, frozen=True, kw_only=True):
    """A request as its client sent it, for another server that speaks the same API."""

    operation: str
    """Of the table of endpoints: 'openai.chat'."""
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    """Those that belong to the API."""
    metered: bool = False
    """The caller's tokens are limited: the server is asked for their count, also where its client did not ask."""
    alone: bool = False
    """It is all there is of the request: nobody has read it, and nothing can be translated."""


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A generation, whatever endpoint it came from. `model` is spelled as the client spelled it."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    think: bool | None = None
    """None: on if the model can."""
    effort: str = ""
    """Of thinking: low, medium, high or max, for templates that know it; '' leaves it to them."""
    sampling: Sampling = Sampling()
    constraint: Constraint | None = None
    num_ctx: int | None = None
    """Lowers the context limit for this request; never reloads anything."""
    keep_alive_s: float | None = None
    """None: the server's default; FOREVER; 0: unload after the answer."""
    truncate: bool | None = None
    """True: drop the oldest messages until it fits; None: as NPU_PROXY_OVERFLOW says."""
    logprobs: bool = False
    """Text comes with its tokens and their log probabilities."""
    choices: int = 1
    """So many answers are wanted at once, of this prompt and of those beside it; each is a request of its own."""
    raw: bool = False
    """The only message is the prompt as it stands: no template, nothing of the model's own, control tokens count."""
    suffix: str = ""
    """What stands behind the answer, and the only message before it: no template, nothing of the model's own."""
    before: tuple[int, ...] = ()
    """Token ids in front of the prompt, as they are: earlier turns, the model's own included. With `raw` and without a
    message they are the whole prompt."""
    closed: bool = False
    """The prompt ends with its last turn: it is counted, and no answer begins."""
    return_ids: bool = False
    """Finish has the ids of prompt and answer."""
    stream: bool = False
    include_usage: bool = False
    """OpenAI's stream_options.include_usage; other dialects ignore it."""
    placement: Placement = Placement()
    request_id: str = ""
    source: Source | None = None
    """None: there is nothing to pass on unchanged."""

    @property
    def is_bare(self) -> bool:
        """A text that goes on, and no turns of a chat: nothing is rendered, and thoughts and calls are text."""
        return self.raw or bool(self.suffix)


class EmbedRequest(Struct, frozen=True, kw_only=True):
    """Texts to embed, in order."""

    model: str
    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...] = ()
    """The texts, where a client sent them as the ids of the model's tokenizer; `texts` is empty then."""
    truncate: bool = True
    num_ctx: int | None = None
    """Lowers the length of a text for this request."""
    dimensions: int = 0
    """Keep the first N components and normalise again; 0 or >= size: all."""
    keep_alive_s: float | None = None
    encoding: Literal["float", "base64"] = "float"
    placement: Placement = Placement()
    request_id: str = ""
    source: Source | None = None


class LoadRequest(Struct, frozen=True, kw_only=True):
    """Ollama's empty prompt: load the model now, or with keep_alive 0 unload it."""

    model: str
    keep_alive_s: float | None = None
    placement: Placement = Placement()
    request_id: str = ""
