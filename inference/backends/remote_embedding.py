"""Texts that another server embeds: passed on where it speaks the caller's own dialect, else translated."""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import orjson
from msgspec import structs

from inference.backend import EmbedJob
from inference.backends import passing, upstream
from inference.backends.passing import Names
from inference.backends.upstream import executed
from inference.backends.wire import Ended, WireError
from inference.errors import RemoteFailed, RemoteRefused
from inference.events import Embeddings, Start
from inference.listing import Offer
from inference.route_facts import Route
from inference.vectors import shortened
from inference.worker.messages import Vector

if TYPE_CHECKING:
    from inference.backends.remote import RemoteBackend

T = TypeVar("T")
_INLINE = 128 * 1024
"""Bytes that are read on the event loop."""


async def embeddings(backend: RemoteBackend, job: EmbedJob, route: Route, queue_s: float) -> Embeddings:
    """Raises RemoteFailed and RemoteRefused."""
    offer, source = backend.offered(job), job.request.source
    protocol, path = passing.EMBED_PATHS.get(source.operation if source else "", ("", ""))
    if source is not None and protocol == backend.spec.protocol:
        theirs = offer.spelled(job.request.model)
        body, device = await _answer(
            backend, job, path, passing.renamed(source.body, theirs, job.request.model)
        )
        route = structs.replace(route, executed=executed(backend.id, device))
        usage = await _off_loop(_checked, backend.id, body)
        named = Names(theirs, job.request.model).back(body)
        return _found(job, offer, route, queue_s, usage.prompt_tokens, passed=named)
    wire = backend.wire
    if why := wire.refuses(job.request):
        raise RemoteRefused(backend.id, 400, why)
    call = wire.embed(job.request, offer.listed.id)
    body, device = await _answer(backend, job, call.path, call.body)
    route = structs.replace(route, executed=executed(backend.id, device))
    try:
        raw, tokens = await _off_loop(lambda _, data: wire.vectors(data), backend.id, body)
    except WireError as error:
        raise RemoteFailed(backend.id, str(error)) from None
    if len(raw) != len(job.request.ids or job.request.texts):
        raise RemoteFailed(backend.id, f"it gave {len(raw)} vectors")
    vectors = shortened([_unit(vector) for vector in raw], job.request.dimensions)
    return _found(job, offer, route, queue_s, tokens, vectors)


async def _answer(backend: RemoteBackend, job: EmbedJob, path: str, body: bytes) -> tuple[bytes, str]:
    """The body, and the device that it names."""
    response = await backend.post(path, body, job)
    try:
        spec = backend.spec
        read = await upstream.whole(spec, response, upstream.LONGEST_ANSWER, spec.whole_s, spec.between_s)
        return read, response.headers.get("X-NPU-Proxy-Device", "")
    finally:
        response.close() if not response.content.at_eof() else response.release()


async def _off_loop(read: Callable[[str, bytes], T], backend: str, body: bytes) -> T:
    return read(backend, body) if len(body) <= _INLINE else await asyncio.to_thread(read, backend, body)


def _checked(backend: str, body: bytes) -> Ended:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RemoteFailed(backend, "its answer is no JSON") from None
    if not isinstance(answer, dict):
        raise RemoteFailed(backend, "its answer is not what this API sends")
    if answer.get("error"):
        raise RemoteFailed(backend, passing.error_words(answer) or "it failed")
    return passing.usage_in(body[-4096:] if len(body) > _INLINE else body)


def _unit(values: list[float]) -> Vector:
    length = math.sqrt(math.fsum(value * value for value in values))
    scaled = [value / length for value in values] if length else values
    return Vector(array("f", scaled).tobytes(), length)


def _found(
    job: EmbedJob,
    offer: Offer,
    route: Route,
    queue_s: float,
    tokens: int | None,
    vectors: tuple[Vector, ...] = (),
    passed: bytes = b"",
) -> Embeddings:
    prompt = job.prompt_tokens if tokens is None else tokens
    return Embeddings(
        vectors=tuple(vector.unit for vector in vectors), norms=tuple(vector.norm for vector in vectors),
        prompt_tokens=prompt, total_s=time.perf_counter() - job.began, passed=passed,
        start=Start(
            route=route, model_digest=offer.listed.digest, prompt_tokens=prompt, queue_s=queue_s, load_s=0.0,
            counted=tokens is not None or not job.spec.remote,
        ),
    )  # fmt: skip
