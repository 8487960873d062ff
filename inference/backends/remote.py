"""Another server as a backend: what the router must know of it, and the requests that it answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
import orjson
from msgspec import structs

from inference.admission import DeviceQueue, Slot
from inference.backend import ChatJob, EmbedJob, left_s
from inference.backends import passing, upstream
from inference.backends.exchange import Exchange, PassedStream, PassedWhole, Translated
from inference.backends.passing import Names, Scan
from inference.backends.remote_embedding import embeddings
from inference.backends.remote_health import Health
from inference.backends.upstream import REQUEST_ID, VIA, Session, executed
from inference.backends.wire import Wire
from inference.breaker import Breaker
from inference.errors import DeadlineExceeded, RemoteFailed, RemoteRefused
from inference.events import Embeddings, Event, Finish, Start
from inference.listing import Offer
from inference.prefix_memory import PrefixMemory
from inference.profiles import Generated, Profiles
from inference.remote import RemoteSpec
from inference.route_facts import NO_LIMIT, Candidate, Route
from inference.scoring import ASSUMED, Traits
from inference.states import DeviceState
from inference.types import FOREVER, ChatRequest, EmbedRequest, LoadRequest, ModelSpec, Source

_BLOCK_TOKENS, _BLOCKS = 32, 4096
"""Of prompts that another server may have in its prefix cache."""
_MANY = 1_000_000
_UNLIKE = (400, 422)
"""What a server says that does not know a field."""
_NOT_THERE = (404, 405)
_NOT_ITS_API = "does not speak the API of this request, which cannot be translated"


class RemoteBackend:
    """Event loop only."""

    def __init__(
        self, spec: RemoteSpec, wire: Wire, session: Session, via: str, max_queue: int, profiles: Profiles
    ) -> None:
        """`via`: what this server writes into the header X-NPU-Proxy-Via."""
        self.id = spec.id
        self.spec = spec
        self.queue = DeviceQueue(spec.slots or _MANY, max_queue)
        self.health = Health(spec, wire, session, via)
        self.last_used = 0.0
        self.since = time.time()
        """When it became a backend, in Unix time."""
        self.wire = wire
        self._session = session
        self._profiles = profiles
        self._prompts = PrefixMemory(_BLOCK_TOKENS, _BLOCKS)
        self._via = via
        self._breaker = Breaker()
        self._loopback = _is_loopback(spec.url)
        assumed = ASSUMED[spec.kind]
        self._traits = Traits(
            watts=assumed.watts if spec.watts is None else spec.watts,
            latency_s=assumed.latency_s if spec.latency_s is None else spec.latency_s,
            priority=assumed.priority if spec.priority is None else spec.priority,
        )
        self._lacks: set[str] = set()
        """Paths of its API that it has not: there the request is translated."""
        self._watching = asyncio.create_task(self.health.watch())

    def drop(self) -> None:
        """It is a backend no more; what runs goes on to its end."""
        self._watching.cancel()

    # --- what the router and the page see ---------------------------------------------------------------------------

    def offer(self, spec: ModelSpec, asked: str = "") -> Offer | None:
        return self.health.listing.find(*((asked,) if asked else ()), spec.name)

    def candidate(self, spec: ModelSpec, num_ctx: int | None) -> Candidate:
        return self.candidate_for(spec, None)

    def candidate_for(
        self, spec: ModelSpec, request: ChatRequest | EmbedRequest | LoadRequest | None
    ) -> Candidate:
        offer = self.offer(spec, request.model if request else "")
        fault = self.health.fault
        incapable = "" if offer or fault else "does not offer this model"
        if offer and isinstance(request, ChatRequest | EmbedRequest) and not self._can_pass(request):
            unread = request.source is not None and request.source.alone
            incapable = _NOT_ITS_API if unread else self.wire.refuses(request)
        limit = 0
        if (
            offer and not spec.remote
        ):  # the tokens are counted here: what it does not say of its context, the model does
            limit = offer.listed.context_length or spec.context_length
        opened = self._breaker.retry_after_s()
        if not opened and self._breaker.half_open and self.queue.running:
            opened = 1.0  # one request is the try
        return Candidate(
            device=self.id, kind=self.spec.kind, local=False, available=not fault, fault=fault,
            incapable=incapable, limit_tokens=limit or NO_LIMIT, queue=self.queue.running + self.queue.waiting,
            wait_s=self.queue.expected_wait_s(), breaker_s=opened, traits=self._traits, loopback=self._loopback,
        )  # fmt: skip

    def rank(self, spec: ModelSpec, asked: str) -> tuple[object, ...]:
        """Among other servers: preferred ones, then by priority; equals by what they have to do."""
        offer = self.offer(spec, asked)
        busy = self.queue.running + self.queue.waiting
        preferred = offer is not None and offer.preferred
        return not preferred, -self._traits.priority, self.spec.kind, busy, self.last_used

    def state(self) -> DeviceState:
        return DeviceState(
            id=self.id, full_name=f"{self.spec.protocol} server", available=not self.health.fault,
            slots=self.spec.slots, running=self.queue.running, waiting=self.queue.waiting, kind=self.spec.kind,
            local=False, protocol=self.spec.protocol, healthy=not self.health.fault, fault=self.health.fault,
            models=self.health.listing.names, breaker=self._breaker.state,
        )  # fmt: skip

    # --- requests -----------------------------------------------------------------------------------------------------

    async def generate(self, job: ChatJob, route: Route) -> AsyncGenerator[list[Event], None]:
        """Start with the head of the answer, then what `Exchange` gives."""
        slot = await self._admit(job)
        exchange: Exchange | None = None
        try:
            exchange, response = await self._exchange(job)
            yield [self._start(job, route, response, exchange, slot.waited_s)]
            while not exchange.finished:
                events = await exchange.next()
                if exchange.finished:
                    self._learn(job, exchange, events[-1])
                yield events
            self._breaker.answered()
        except RemoteFailed as error:
            self._failed(error)
            raise
        finally:
            slot.release()
            if exchange is not None:
                exchange.close()

    def _learn(self, job: ChatJob, exchange: Exchange, finish: Event) -> None:
        """What the next request may expect of this server. An answer that came whole tells no rate."""
        if not isinstance(finish, Finish):
            return
        self._profiles.answered(job.spec, finish.completion_tokens)
        if isinstance(exchange, PassedWhole) or not finish.prompt_tokens:
            return
        read = self._prompts.unread(job.prompt_ids) if job.prompt_ids else finish.prompt_tokens
        tokens, decode_s = exchange.pace(finish)
        seen = Generated(
            read_tokens=read, prompt_tokens=max(finish.prompt_tokens, len(job.prompt_ids)), prefill_s=finish.prefill_s,
            completion_tokens=tokens, decode_s=decode_s,
        )  # fmt: skip
        self._profiles.generated(job.spec, self.id, seen)

    async def embed(self, job: EmbedJob, route: Route) -> Embeddings:
        slot = await self._admit(job)
        try:
            found = await embeddings(self, job, route, slot.waited_s)
            self._breaker.answered()
            return found
        except RemoteFailed as error:
            self._failed(error)
            raise
        finally:
            slot.release()

    async def load(self, spec: ModelSpec, keep_alive_s: float | None) -> None:
        """Only Ollama's API can be asked for that; elsewhere there is nothing to do."""
        offer = self.offer(spec)
        if self.spec.protocol != "ollama" or offer is None:
            return
        keep = {} if keep_alive_s is None else {"keep_alive": -1 if keep_alive_s == FOREVER else keep_alive_s}
        response = await self.post("/api/generate", orjson.dumps({"model": offer.listed.id} | keep))
        try:
            await upstream.whole(self.spec, response, upstream.LONGEST_LIST, self.spec.first_byte_s)
        finally:
            response.close()

    async def count(self, spec: ModelSpec, request: ChatRequest, body: bytes) -> bytes:
        """The answer to a request of count_tokens. Raises RemoteFailed and RemoteRefused."""
        offer = self.offer(spec, request.model)
        theirs = offer.spelled(request.model) if offer else request.model
        response = await self.post(
            "/v1/messages/count_tokens",
            passing.renamed(body, theirs, request.model),
            via=request.placement.via,
        )
        try:
            return await upstream.whole(self.spec, response, upstream.LONGEST_ERROR, self.spec.between_s)
        finally:
            response.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _admit(self, job: ChatJob | EmbedJob) -> Slot:
        slot = await self.queue.acquire(job.request.placement.priority, deadline_s=left_s(job))
        self.last_used = time.monotonic()
        return slot

    def offered(self, job: ChatJob | EmbedJob) -> Offer:
        """Raises RemoteFailed: the list may have changed since the choice."""
        offer = self.offer(job.spec, job.request.model)
        if offer is None:
            raise RemoteFailed(self.id, f"it no longer offers {job.request.model}")
        return offer

    def _can_pass(self, request: ChatRequest | EmbedRequest) -> bool:
        source = request.source
        if source is None:
            return False
        if source.operation in passing.EMBED_PATHS:
            return passing.EMBED_PATHS[source.operation][0] == self.spec.protocol
        path = passing.PATHS.get(source.operation)
        return path is not None and path.protocol == self.spec.protocol and path.path not in self._lacks

    async def _exchange(self, job: ChatJob) -> tuple[Exchange, aiohttp.ClientResponse]:
        """The head of the answer has come, and it is a good one. Raises RemoteFailed and RemoteRefused."""
        offer = self.offered(job)
        if job.request.source is not None and self._can_pass(job.request):
            path = passing.PATHS[job.request.source.operation]
            try:
                return await self._passed(job, offer, path, job.request.source)
            except RemoteRefused as error:
                if path.path != "/v1/responses" or error.status not in _NOT_THERE:
                    raise
                self._lacks.add(path.path)  # most servers have chats alone
        unread = job.request.source is not None and job.request.source.alone
        if why := _NOT_ITS_API if unread else self.wire.refuses(job.request):
            raise RemoteRefused(self.id, 400, why)
        return await self._translated(job, offer)

    async def _passed(
        self, job: ChatJob, offer: Offer, path: passing.Path, source: Source
    ) -> tuple[Exchange, aiohttp.ClientResponse]:
        request = job.request
        theirs = offer.spelled(request.model)
        names = Names(theirs, request.model, lines=path.lines)
        asked_at = time.perf_counter()
        body = passing.renamed(source.body, theirs, request.model)
        asking = body
        if source.metered and request.stream and source.operation in passing.COUNTED_IF_ASKED:
            asking = passing.asking_usage(body)
        response = await self.post(path.path, asking, job, source.headers)
        if request.stream:
            stream = PassedStream(self.spec, job, response, asked_at)
            stream.scan = Scan(self.id, path, names, hides_usage=asking is not body)
            return stream, response
        whole = PassedWhole(self.spec, job, response, asked_at)
        whole.names, whole.path = names, path
        return whole, response

    async def _translated(self, job: ChatJob, offer: Offer) -> tuple[Exchange, aiohttp.ClientResponse]:
        call = self.wire.chat(job.request, offer.listed.id)
        asked_at = time.perf_counter()
        while True:
            try:
                response = await self.post(call.path, call.body, job)
                break
            except RemoteRefused as error:
                simpler = self.wire.simpler(call, str(error)) if error.status in _UNLIKE else None
                if simpler is None:
                    raise
                call = simpler
        exchange = Translated(self.spec, job, response, asked_at)
        exchange.reader = self.wire.reader(job.request)
        return exchange, response

    async def post(
        self,
        path: str,
        body: bytes,
        job: ChatJob | EmbedJob | None = None,
        more: Iterable[tuple[str, str]] = (),
        via: str = "",
    ) -> aiohttp.ClientResponse:
        """An answer of status 200, its body yet to be read. Raises RemoteFailed, RemoteRefused, DeadlineExceeded."""
        headers = self.wire.headers(self.spec.key)
        headers |= {"Accept-Encoding": "identity", "User-Agent": "npuproxy", VIA: self._via}
        left = None
        if job is not None:
            request = job.request
            headers[REQUEST_ID] = request.request_id
            via, left = request.placement.via, left_s(job)
        if via:
            headers[VIA] = f"{via}, {self._via}"
        headers |= dict(more)
        try:
            async with asyncio.timeout(left):
                response = await self._session.open(self.spec, self.health.tls, path, headers, body)
        except TimeoutError:
            raise DeadlineExceeded(f"X-Deadline-Ms passed before {self.id} began to answer") from None
        if response.status == 200:
            return response
        try:
            said = await upstream.whole(self.spec, response, upstream.LONGEST_ERROR, self.spec.between_s)
        except RemoteFailed:
            said = b""
        finally:
            response.close()
        words = self.wire.refusal(said)
        if self.spec.key:  # some servers repeat the key that they refuse
            words = words.replace(self.spec.key, "…")
        raise upstream.judged(self.id, response, words)

    def _start(
        self, job: ChatJob, route: Route, response: aiohttp.ClientResponse, exchange: Exchange, queue_s: float
    ) -> Start:
        told = response.headers
        counted = told.get("X-NPU-Proxy-Token-Count", "")
        known = not job.spec.remote or counted.isdigit()
        offer = self.offer(job.spec, job.request.model)
        return Start(
            route=structs.replace(route, executed=executed(self.id, told.get("X-NPU-Proxy-Device", ""))),
            model_digest=told.get("X-NPU-Proxy-Model", "") or (offer.listed.digest if offer else ""),
            prompt_tokens=(int(counted) if counted.isdigit() else len(job.prompt_ids)) if known else 0,
            counted=known, queue_s=queue_s, load_s=0.0, meter=exchange.meter, relay=exchange.relay(),
            truncated_messages=job.truncated_messages,
        )  # fmt: skip

    def _failed(self, error: RemoteFailed) -> None:
        """What it says of the server. A request that it judged, and a server that is full, are no faults of it."""
        if isinstance(error, RemoteRefused):
            if error.status == 404:
                self.health.doubt()
            return
        if error.status in (429, 503):
            return
        self._breaker.crashed()
        self.health.doubt(str(error).removeprefix(f"{self.id}: ") if error.away else "")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
