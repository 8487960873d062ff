"""Frames between the server and a worker: msgpack of tagged Structs, in both directions.

Token ids travel as the bytes of little-endian int32, so that a step of many tokens is one memory copy. Ids of
requests are never reused within a worker: GenAI wedges on a duplicate (openvino-facts 3).
"""

from __future__ import annotations

from array import array
from typing import Any, Literal

import msgspec
from msgspec import Struct

Role = Literal["batching", "vision", "static", "embedding", "grammar"]


class Load(Struct, frozen=True, kw_only=True, tag="load"):
    """Become a worker of this model; answered by Loaded or LoadFailed, once in a worker's life."""

    role: Role
    path: str
    device: str
    exact: bool = False
    emulated: bool = False
    kv_blocks: int = 0
    """Blocks of the KV pool, of `KV_BLOCK_TOKENS` each; batching only."""
    max_prompt_len: int = 0
    min_response_len: int = 0
    cache_dir: str = ""
    adapters: tuple[tuple[str, float], ...] = ()
    """(file, alpha) of LoRA weights, in the order in which they are added."""
    pooling: Literal["mean", "cls", "last_token"] = "mean"
    max_length: int = 0
    vocab_size: int = 0


class Add(Struct, frozen=True, kw_only=True, tag="add"):
    """Start a generation. Sampling is complete here: no None but the grammar's."""

    id: int
    ids: bytes
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    eos_ids: tuple[int, ...]
    grammar: dict[str, Any] | None = None
    logprobs: bool = False
    """Each token comes with its log probability; batching only."""
    prompt: str = ""
    """Instead of `ids`, for a model that looks at images: with a tag for each of them, by its number."""
    images: tuple[tuple[str, bytes], ...] = ()
    """(place in the request, file) of each image."""


class Cancel(Struct, frozen=True, tag="cancel"):
    id: int


class Embed(Struct, frozen=True, tag="embed"):
    id: int
    ids: tuple[bytes, ...]
    """Of each text, with the tokens that the tokenizer puts around it; one text at least."""


class Check(Struct, frozen=True, tag="check"):
    """Compile a grammar on the model's vocabulary; answered by Checked."""

    id: int
    grammar: dict[str, Any]


class Hello(Struct, frozen=True, kw_only=True, tag="hello"):
    """First frame of a worker: imports are done, a Load is welcome."""

    pid: int
    devices: tuple[tuple[str, str], ...]
    """(id, full name) of each device that the runtime sees."""
    runtime: str
    openvino: str = ""
    drivers: tuple[tuple[str, str], ...] = ()
    """(id, version) of the devices whose runtime names its driver."""
    memory: tuple[tuple[str, int], ...] = ()
    """(id, bytes) of the devices whose runtime tells how much they have, shared with the machine or their own."""


class Loaded(Struct, frozen=True, kw_only=True, tag="loaded"):
    executed: str
    """EXECUTION_DEVICES as the runtime logged it; '' when it said nothing."""
    load_s: float


class LoadFailed(Struct, frozen=True, tag="load_failed"):
    message: str


class Progress(Struct, frozen=True, array_like=True):
    """New tokens of one request in this step; `finish` is '' while it runs."""

    id: int
    ids: bytes
    finish: Literal["", "stop", "length", "cancelled", "ignored"] = ""


class Step(Struct, frozen=True, tag="step"):
    """One engine step. An empty list is a prefill step: it proves that the worker is alive."""

    progress: list[Progress]


class LoggedStep(Struct, frozen=True, tag="logged_step"):
    """A step with requests that want log probabilities."""

    progress: list[Progress]
    logprobs: dict[int, bytes]
    """Of those requests, by id: little-endian float32, one for each of its new tokens."""


class RequestFailed(Struct, frozen=True, tag="request_failed"):
    """This request alone failed; the worker goes on."""

    id: int
    message: str
    field: str = ""
    """The place in the request that is at fault, where one is."""


class Looking(Struct, frozen=True, tag="looking"):
    """The worker decodes and encodes images, and is silent until it says that this is `done`."""

    done: bool


class Counted(Struct, frozen=True, tag="counted"):
    """The tokens of a prompt as the pipeline counted them, images included; sent before the request's finish."""

    id: int
    prompt_tokens: int


class Vector(Struct, frozen=True, array_like=True, gc=False):
    """What a text was embedded to: `unit` times `norm` is what the model's pooling gave."""

    unit: bytes
    """Of length one, as little-endian float32."""
    norm: float


class Embedded(Struct, frozen=True, tag="embedded"):
    id: int
    vectors: tuple[Vector, ...]
    """One for each text."""


class Checked(Struct, frozen=True, tag="checked"):
    """`error` is '' for a grammar that compiled."""

    id: int
    error: str


class Fatal(Struct, frozen=True, tag="fatal"):
    """The pipeline is lost (any exception of step()); the worker ends after this frame."""

    message: str


ToWorker = Load | Add | Cancel | Embed | Check
FromWorker = (
    Hello
    | Loaded
    | LoadFailed
    | Step
    | LoggedStep
    | RequestFailed
    | Looking
    | Counted
    | Embedded
    | Checked
    | Fatal
)

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)

HEADER_BYTES = 4
MAX_FRAME_BYTES = 256 * 1024 * 1024


def frame(message: ToWorker | FromWorker) -> bytes:
    """A message with its length before it (4 bytes, little-endian)."""
    body = _encoder.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def decode_to_worker(body: bytes | memoryview) -> ToWorker:
    return _to_worker.decode(body)


def decode_from_worker(body: bytes | memoryview) -> FromWorker:
    return _from_worker.decode(body)


class FrameSplitter:
    """Cuts a byte stream into frame bodies; keeps what is incomplete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Raises ValueError for a length over the bound: the stream is broken then."""
        buffer = self._buffer
        buffer += data
        bodies: list[bytes] = []
        start, end = 0, len(buffer)
        while end - start >= HEADER_BYTES:
            size = int.from_bytes(buffer[start : start + HEADER_BYTES], "little")
            if size > MAX_FRAME_BYTES:
                raise ValueError(f"frame of {size} bytes")
            if end - start - HEADER_BYTES < size:
                break
            start += HEADER_BYTES
            bodies.append(bytes(buffer[start : start + size]))
            start += size
        if start:
            del buffer[:start]
        return bodies


def pack_ids(ids: list[int]) -> bytes:
    return array("i", ids).tobytes()


def unpack_ids(data: bytes) -> array[int]:
    ids: array[int] = array("i")
    ids.frombytes(data)
    return ids
