"""One call on the gRPC door: judged by the gate, run by the drivers that HTTP has, answered in messages.

The drivers of `compat_api` know how to find a model, ask the engine and encode; what is put under them here is the
transport. A client that leaves, and one whose deadline has passed, cancel the task that serves them, and `aclosing`
closes the engine's generator: the slot is free within one step.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

from grpc.aio import ServicerContext
from msgspec import structs

from compat_api import errors
from compat_api.consumer import InferenceConsumer, Request, Sent
from compat_api.dialect import Dialect, EmbeddingDialect
from compat_api.embeddings import EmbeddingConsumer
from compat_api.errors import Failure
from compat_api.generation import GenerationConsumer
from compat_api.request_log import RequestLog
from compat_api.urls import Resolved
from inference import metrics
from inference.errors import BadRequest, DeadlineExceeded, RequestCancelled
from inference.types import ChatRequest, EmbedRequest
from npuproxy import logs
from npuproxy.gate import Gate
from npuproxy.grpc import codes, requests, responses
from npuproxy.grpc import ollama_proxy_pb2 as pb
from npuproxy.peers import Header

logger = logging.getLogger(__name__)

Context = ServicerContext[bytes, bytes]
Metadata = tuple[tuple[str, str], ...]

METHOD = "gRPC"
"""In the place of HTTP's method in the log."""

EARLY_S = 0.05
"""A call that is cancelled so shortly before its deadline has reached it by the client's clock."""
CUT_S = 1.0
"""What a call that is cut has to say so."""


class Transport(InferenceConsumer):
    """`answer` is the message of a call that does not stream. Subclasses say what `handle` does."""

    answer = b""

    def __init__(self, gate: Gate, resolved: Resolved, context: Context) -> None:
        assert resolved.operation is not None, "only what is in the table is called"
        self.operation = resolved.operation
        self._resolved = resolved
        self._gate = gate
        self._context = context
        self._task = asyncio.current_task()
        self._ending: Failure | None = None
        """Why the server cancels the task; None while only the client can have done so."""
        self.waiting_since = 0.0
        """By the monotonic clock, since when the client has not sent or taken a message; 0: it is not waited for."""

    async def serve(self) -> bytes:
        """The answer, or `b""` of a stream. Raises AbortError, which carries the status, and CancelledError."""
        metadata = given(self._context)
        self.request_id, self._own = self._gate.identity(self.operation.path, metadata)
        logs.request_id.set(self.request_id)
        self.scope = {"headers": metadata}
        peer = address(self._context)
        judged = await self._gate.admit(self._resolved, metadata, peer)
        if isinstance(judged, Failure):
            logger.info("%s %s -> %d (peer %s)", METHOD, self.operation.path, judged.status, peer or "-")
            metrics.refused(self.operation.path, judged.status)
            await self._abort(judged)
            raise AssertionError("abort raises")
        self.key = judged
        self.log = RequestLog(self.request_id, METHOD, self.operation.path, self.operation, self.key)
        if self.operation.streaming:
            self.log.begin(partial(self.cut, errors.of(RequestCancelled())))
        try:
            await self._work(b"")
        finally:
            self.log.close(errors.CLIENT_GONE, "client gone")
        return self.answer

    def cut(self, why: Failure) -> None:
        """Once: a second cancellation would cut off the status that tells of the first."""
        if self._ending is None and self._task is not None:
            self._ending = why
            self._task.cancel()

    async def _message(self) -> bytes:
        """Received only now: what nobody may ask is not read."""
        self.waiting_since = time.monotonic()
        body: Any = await self._context.read()
        self.waiting_since = 0.0
        if not isinstance(body, bytes):
            raise BadRequest("no request message came, or one larger than NPU_PROXY_MAX_BODY")
        return body

    async def _work(self, body: bytes) -> None:
        try:
            await self.handle(await self._message())
        except asyncio.CancelledError:
            await self._say_why()
            raise
        except Exception as error:
            if self._context.done():  # a message could not be sent
                self.log.close(errors.CLIENT_GONE, "client gone")
                raise
            await self._fail(error)

    async def _say_why(self) -> None:
        """By the client or its deadline; or by the server, and then the client is told why."""
        if self._ending is not None:
            self.log.close(self._ending.status, self._ending.message)
            with suppress(TimeoutError):  # the status waits behind what the client has not read
                await asyncio.wait_for(self._abort(self._ending), CUT_S)
        elif self._is_overdue():
            self.log.close(504, "the client's deadline has passed")
        else:
            self.log.close(errors.CLIENT_GONE, "client gone")

    async def _fail(self, error: Exception) -> None:
        failure = errors.of(error, self.operation)
        if not errors.is_expected(error):
            logger.exception("request %s failed", self.request_id)
        self.log.close(failure.status, failure.logged)
        await self._abort(failure)

    async def _abort(self, failure: Failure) -> None:
        """Raises AbortError."""
        own = () if self._started else plain(self._own)
        await self._context.abort(
            codes.code(failure.status), codes.details(failure), (*own, *codes.trailers(failure))
        )

    _started = False

    async def reply(self, content_type: bytes, body: bytes, facts: errors.Headers) -> None:
        self.log.close(200)
        await self.begin(content_type, facts)
        self.answer = body

    async def begin(self, content_type: bytes, facts: errors.Headers) -> None:
        self._started = True
        await self._context.send_initial_metadata(plain([*self._own, *facts]))

    async def write(self, data: bytes) -> None:
        """Returns when the transport can take more, so a slow reader holds back only itself."""
        self.waiting_since = time.monotonic()
        for message in responses.messages(data):
            await self._context.write(message)
        self.waiting_since = 0.0

    async def finish(self, data: bytes = b"") -> None:
        await self.write(data)

    # --- The request ------------------------------------------------------------------------------------------

    def annotated(self, annotations: pb.Annotations) -> None:
        """What is said in annotations counts as said in metadata, which win. Raises BadRequest."""
        self.scope["headers"] = requests.annotated(annotations) + self.scope["headers"]

    def placed(self, request: Request) -> Request:
        """With the client's deadline too: what has not begun by then never will."""
        request = super().placed(request)
        left_s = self._context.time_remaining()
        if left_s is None:
            return request
        if left_s <= 0:
            raise DeadlineExceeded("the deadline has passed")
        left_ms = max(1, int(left_s * 1000))
        wished_ms = request.placement.deadline_ms
        placement = structs.replace(request.placement, deadline_ms=min(left_ms, wished_ms or left_ms))
        return structs.replace(request, placement=placement)

    def sourced(self, request: Sent, body: bytes) -> Sent:
        """Translated for every other server: none speaks in these messages."""
        return request

    def _is_overdue(self) -> bool:
        """The client's clock started before ours, so its cancellation comes a little before our end."""
        left_s = self._context.time_remaining()
        return left_s is not None and left_s <= EARLY_S


class Generation(Transport, GenerationConsumer):
    """Generate and Chat, streamed or not."""

    def dialect(self) -> Dialect:
        return Dialect(stream_type=b"", whole_type=b"", parse=self._parse, encoder=self._encoder_of)

    def _parse(self, body: bytes) -> ChatRequest:
        stream = self.operation.name.endswith("_stream")
        if self._chats:
            asked = requests.read(pb.ChatRequest, body)
            self.annotated(asked.annotations)
            return requests.chat(asked, stream)
        wire = requests.read(pb.GenerateRequest, body)
        self.annotated(wire.annotations)
        return requests.generate(wire, stream)

    def _encoder_of(self, request: ChatRequest) -> responses.Encoder:
        if self._chats:
            return responses.Encoder(pb.ChatStreamResponse, responses.chatted, self.log)
        return responses.Encoder(pb.GenerateStreamResponse, responses.generated, self.log)

    @property
    def _chats(self) -> bool:
        return self.operation.name.startswith("grpc.chat")


class Embedding(Transport, EmbeddingConsumer):
    def dialect(self) -> EmbeddingDialect:
        return EmbeddingDialect(b"", self._parse, responses.embedded)

    def _parse(self, body: bytes) -> EmbedRequest:
        wire = requests.read(pb.EmbedRequest, body)
        self.annotated(wire.annotations)
        return requests.embed(wire)


def given(context: Any) -> list[Header]:
    """The call's metadata as headers; binary ones mean nothing here."""
    return [
        (name.encode(), value.encode("latin-1", "replace"))
        for name, value in context.invocation_metadata() or ()
        if isinstance(value, str)
    ]


def plain(fields: errors.Headers) -> Metadata:
    """Headers as metadata."""
    return tuple((name.decode(), value.decode("latin-1")) for name, value in fields)


def address(context: Any) -> str:
    """The caller's, without the port; '' where it is none."""
    kind, _, rest = unquote(context.peer()).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
