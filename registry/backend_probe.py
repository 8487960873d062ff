"""Asks another server, as requests will: its list of models and, where one is named, a short answer of it.

What goes wrong is told with the line that mends it. Nothing of the row's key is in any word here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Final, NamedTuple

import aiohttp
from msgspec import Struct

from inference.backends import upstream
from inference.backends.upstream import Session
from inference.backends.wire import Delta, Ended, Listed, Wire, WireError
from inference.backends.wires import WIRES
from inference.errors import RemoteFailed
from inference.events import ReasoningDelta, TextDelta
from inference.listing import Listing
from inference.remote import RemoteSpec
from inference.types import ChatRequest, Message, Sampling

PROMPT: Final = "Say hello in one short sentence."
MOST_TOKENS: Final = 32
SHOWN: Final = 200
_UNLIKE: Final = (400, 422)


class Reply(Struct, frozen=True, kw_only=True):
    """A short generation."""

    model: str
    text: str
    """Its first characters; thoughts where there was nothing else."""
    first_s: float
    total_s: float
    completion_tokens: int | None


class Answered(Struct, frozen=True, kw_only=True):
    """What was found."""

    latency_s: float
    """Of the model list."""
    served: tuple[str, ...]
    """Models that requests get, by the names that are used here."""
    left_out: tuple[str, ...] = ()
    """What it has beyond them, kept out by the row's rules."""
    reply: Reply | None = None


class Mend(NamedTuple):
    """What to do, and the option of `manage.py backend edit` that does it; '' where it is done elsewhere."""

    words: str
    option: str = ""


class Failed(Struct, frozen=True, kw_only=True):
    """Both begin with a small letter and end without a full stop."""

    fault: str
    mend: Mend


def probe(spec: RemoteSpec, model: str = "") -> Answered | Failed:
    """Blocking, for as long as the row lets an answer take. `model`: by its name here or there; '' asks none."""
    return asyncio.run(_probe(spec, model))


async def _probe(spec: RemoteSpec, model: str) -> Answered | Failed:
    asked = _Asked(spec, WIRES[spec.protocol], Session())
    try:
        began = time.perf_counter()
        listed = await asked.models()
        latency_s = time.perf_counter() - began
        listing = Listing(spec, listed)
        served = {offer.listed.id for offer in listing.offers}
        found = Answered(
            latency_s=latency_s,
            served=tuple(offer.name for offer in listing.offers),
            left_out=tuple(one.id for one in listed if one.id not in served),
        )
        if not model:
            return found
        offer = listing.find(model, f"{model}:latest")
        if offer is None:
            return _no_model(model, found)
        reply = await asked.reply(offer.listed.id)
        return Answered(latency_s=latency_s, served=found.served, left_out=found.left_out, reply=reply)
    except _Known as error:
        return Failed(fault=_without(spec.key, str(error)), mend=error.mend)
    except (RemoteFailed, WireError) as error:
        words = _without(spec.key, str(error).removeprefix(f"{spec.id}: "))
        return Failed(fault=words, mend=_mend(error.__context__))
    except OSError as error:
        return Failed(
            fault=f"the file of certificates cannot be read ({error.strerror or 'not in PEM format'})",
            mend=Mend("name a PEM file", "--ca-file FILE"),
        )
    finally:
        await asked.session.close()


class _Known(Exception):
    """A fault with the words that mend it."""

    def __init__(self, fault: str, words: str, option: str = "") -> None:
        super().__init__(fault)
        self.mend = Mend(words, option)


class _Asked:
    """One server under test."""

    def __init__(self, spec: RemoteSpec, wire: Wire, session: Session) -> None:
        self.spec = spec
        self.wire = wire
        self.session = session

    async def models(self) -> tuple[Listed, ...]:
        status, body, location = await self._get(self.wire)
        if status == 200:
            try:
                return self.wire.models(body)
            except WireError as error:
                raise await self._other(f"{self.wire.models_path} gives no list of models: {error}") from None
        raise await self._judged(status, self.wire.refusal(body), location)

    async def _get(self, wire: Wire) -> tuple[int, bytes, str]:
        spec = self.spec
        tls = await asyncio.to_thread(upstream.tls_of, spec)
        headers = _plain(wire, spec)
        headers.pop("Content-Type", None)
        response = await self.session.open(spec, tls, wire.models_path, headers, None)
        try:
            body = await upstream.whole(spec, response, upstream.LONGEST_LIST, upstream.LIST_S)
            return response.status, body, response.headers.get("Location", "")
        finally:
            response.close()

    async def _judged(self, status: int, said: str, location: str) -> _Known:
        spec, path = self.spec, self.wire.models_path
        words = f"{path} answers {status}" + (f": {said[:SHOWN]}" if said else "")
        if status in (401, 403):
            if spec.key:
                return _Known(f"it refuses the key ({words})", "give the right one", "--key-stdin")
            return _Known(f"it wants a key ({words})", "give it", "--key-stdin")
        if 300 <= status < 400:
            where = location.partition("?")[0][:SHOWN] or "another address"
            return _Known(f"it redirects to {where}", "give that address", "--url URL")
        if status == 429 or status >= 500:
            return _Known(words, "look at its own log; it may be loading or overloaded")
        return await self._other(words)

    async def _other(self, fault: str) -> _Known:
        """Is it one of the other APIs?"""
        for protocol, wire in WIRES.items():
            if wire is self.wire:
                continue
            try:
                status, body, _ = await self._get(wire)
                if status == 200 and wire.models(body):
                    return _Known(
                        f"it does not speak the API of {self.spec.protocol}, but that of {protocol} ({fault})",
                        "say so",
                        f"--protocol {protocol}",
                    )
            except (RemoteFailed, WireError):
                continue
        return _Known(fault, "give the address of its API, without what follows", "--url URL")

    async def reply(self, model: str) -> Reply:
        """Raises RemoteFailed and WireError."""
        request = ChatRequest(
            model=model, messages=(Message(role="user", content=PROMPT),),
            sampling=Sampling(max_tokens=MOST_TOKENS), think=False, stream=True,
        )  # fmt: skip
        began = time.perf_counter()
        response = await self._generation(request, model)
        reader = self.wire.reader(request)
        events: list[Delta | Ended] = []
        first_s = 0.0
        try:
            while not (events and isinstance(events[-1], Ended)):
                data = await upstream.read(self.spec, response, self.spec.between_s)
                events += reader.feed(data) if data else reader.end()
                if events and not first_s:
                    first_s = time.perf_counter() - began
                if not data:
                    break
        finally:
            response.close()
        ended = next((event for event in events if isinstance(event, Ended)), None)
        return Reply(
            model=model,
            text=_text(events),
            first_s=first_s,
            total_s=time.perf_counter() - began,
            completion_tokens=ended.completion_tokens if ended else None,
        )

    async def _generation(self, request: ChatRequest, model: str) -> aiohttp.ClientResponse:
        spec, wire = self.spec, self.wire
        tls = await asyncio.to_thread(upstream.tls_of, spec)
        call = wire.chat(request, model)
        while True:
            response = await self.session.open(spec, tls, call.path, _plain(wire, spec), call.body)
            if response.status == 200:
                return response
            body = await upstream.whole(spec, response, upstream.LONGEST_ERROR, spec.between_s)
            response.close()
            said = wire.refusal(body)
            simpler = wire.simpler(call, said) if response.status in _UNLIKE else None
            if simpler is None:
                words = f"{call.path} answers {response.status}" + (f": {said[:SHOWN]}" if said else "")
                raise _Known(words, "ask that server itself for the model; its log says more")
            call = simpler


def _plain(wire: Wire, spec: RemoteSpec) -> dict[str, str]:
    return wire.headers(spec.key) | {"Accept-Encoding": "identity", "User-Agent": "npuproxy"}


def _without(key: str, words: str) -> str:
    """Some servers repeat the key that they refuse."""
    return words.replace(key, "…") if key else words


def _text(events: list[Delta | Ended]) -> str:
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    return (said.strip() or thought.strip())[:SHOWN]


def _no_model(model: str, found: Answered) -> Failed:
    names = ", ".join(found.served[:10]) or "none"
    if model in found.left_out:
        return Failed(
            fault=f"its rules here leave '{model}' out", mend=Mend("change them", "--models PATTERNS")
        )
    return Failed(fault=f"it has no model '{model}'; it has {names}", mend=Mend("name one of these"))


def _mend(cause: BaseException | None) -> Mend:
    """By what happened to the connection."""
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return Mend("name the authority that signed its certificate", "--ca-file FILE")
    if isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError):
        return Mend("write its address with http", "--url http://…")
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return Mend("give a name or number that this machine knows", "--url URL")
    if isinstance(cause, aiohttp.ClientConnectorError):
        return Mend("start it, or give the port on which it listens", "--url URL")
    if isinstance(cause, TimeoutError):
        return Mend("look at its log; if it takes that long to load, allow it", "--first-byte-s N")
    if isinstance(
        cause, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError
    ):
        return Mend("if it speaks TLS, write its address with https", "--url https://…")
    return Mend("look at its own log")
