"""The other servers that answer requests: which there are, what they offer, and which could take a request.

Nothing of it is imported or runs while there are none.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from inference.backend import ChatJob, EmbedJob
from inference.errors import RequestLoop
from inference.listing import Offer
from inference.profiles import Profiles
from inference.remote import RemoteSpec
from inference.route_facts import Candidate
from inference.states import LoadedModel
from inference.thinking import THINK
from inference.tools.hermes import HERMES
from inference.types import ChatRequest, EmbedRequest, LoadRequest, ModelSpec, Placement

if TYPE_CHECKING:
    from inference.backends.remote import RemoteBackend
    from inference.backends.upstream import Session

_ANYTHING = frozenset({"completion", "tools", "thinking", "insert", "vision", "embedding"})
"""Of a model whose server does not say what it can: that server will."""
_NOWHERE = Path()


def prepare() -> None:
    """Imports what other servers need: a fifth of a second, best spent off the event loop."""
    import inference.backends.remote  # noqa: F401


class Remotes:
    """Event loop only, but `offers`, `find` and `states`, which any thread may call."""

    def __init__(self, max_queue: int, profiles: Profiles) -> None:
        """`max_queue`: requests that may wait for one server. `profiles` are told how fast each is."""
        self.backends: dict[str, RemoteBackend] = {}
        self._specs: dict[str, RemoteSpec] = {}
        self._max_queue = max_queue
        self._profiles = profiles
        self._instance = f"npuproxy-{secrets.token_hex(8)}"
        self._session: Session | None = None

    def follow(self, specs: tuple[RemoteSpec, ...]) -> None:
        """These, in the place of those before. One that did not change goes on as it is."""
        wanted = {spec.id: spec for spec in specs}
        for id in [id for id, spec in self._specs.items() if wanted.get(id) != spec]:
            self.backends.pop(id).drop()
        kept = self.backends
        self.backends = {id: kept.get(id) or self._made(spec) for id, spec in wanted.items()}
        self._specs = wanted

    async def stop(self) -> None:
        self.follow(())
        if self._session is not None:
            await self._session.close()

    def _made(self, spec: RemoteSpec) -> RemoteBackend:
        # imported with the first one: a server that has none does without an HTTP client
        from inference.backends.remote import RemoteBackend
        from inference.backends.upstream import Session
        from inference.backends.wires import WIRES

        if self._session is None:
            self._session = Session()
        return RemoteBackend(
            spec, WIRES[spec.protocol], self._session, self._instance, self._max_queue, self._profiles
        )

    # --- what they offer --------------------------------------------------------------------------------------------

    def offers(self) -> Iterator[tuple[RemoteBackend, Offer]]:
        """Of all that are well."""
        for backend in list(self.backends.values()):
            if not backend.health.fault:
                yield from ((backend, offer) for offer in backend.health.listing.offers)

    def find(self, name: str) -> ModelSpec | None:
        """A model of other servers, by their name for it, by one of the row's, or as Ollama completes names."""
        found = [
            offer for backend in list(self.backends.values()) if (offer := backend.health.listing.find(name))
        ]
        return spec_of(found) if found else None

    def candidates(
        self, spec: ModelSpec, request: ChatRequest | EmbedRequest | LoadRequest
    ) -> tuple[Candidate, ...]:
        """Those that offer the model, the best first; the one that the request names too, whatever it offers."""
        if not self.backends:
            return ()
        named = request.placement.device.lower()
        asked = [
            backend
            for backend in self.backends.values()
            if backend.offer(spec, request.model) or backend.id == named
        ]
        if len(asked) > 1:
            asked.sort(key=lambda backend: backend.rank(spec, request.model))
        return tuple([backend.candidate_for(spec, request) for backend in asked])

    async def unload(self, spec: ModelSpec) -> bool:
        """Wherever that can be asked for; whether it was loaded nobody says."""
        for backend in list(self.backends.values()):
            if backend.offer(spec) and not backend.health.fault:
                await backend.load(spec, 0)
        return False

    def counts(self, id: str) -> bool:
        """It counts the tokens of a prompt without an answer."""
        return self.backends[id].spec.protocol == "anthropic"

    def check_loop(self, placement: Placement) -> None:
        """Raises RequestLoop for a request that this server has sent on before."""
        if placement.via and self._instance in placement.via:
            raise RequestLoop


def spec_of(offers: list[Offer]) -> ModelSpec:
    """One model of several servers: it can what one of them can, and holds what the roomiest of them holds."""
    first = offers[0].listed
    capabilities = frozenset[str]().union(*[offer.listed.capabilities or _ANYTHING for offer in offers])
    return ModelSpec(
        name=offers[0].name, digest=first.digest, path=_NOWHERE,
        kind="embedding" if capabilities == {"embedding"} else "chat", size_bytes=first.size_bytes,
        parameter_count=first.parameter_count, capabilities=capabilities, remote=True,
        context_length=max(offer.listed.context_length for offer in offers),
    )  # fmt: skip


def chat_job(spec: ModelSpec, request: ChatRequest, began: float) -> ChatJob:
    """Of a model that only other servers have: nothing is rendered and nothing counted here."""
    return ChatJob(
        spec=spec, request=request, prompt_ids=(), sampling=request.sampling, think=bool(request.think),
        starts_in_thinking=False, think_tags=THINK, family=HERMES, grammar=None, began=began,
    )  # fmt: skip


def embed_job(spec: ModelSpec, request: EmbedRequest, began: float) -> EmbedJob:
    return EmbedJob(spec=spec, request=request, ids=(), prompt_tokens=0, truncated_tokens=0, began=began)


def loaded(spec: ModelSpec, backend: str) -> LoadedModel:
    """What is known of a model that another server has loaded."""
    return LoadedModel(
        name=spec.name, digest=spec.digest, device=backend, executed=backend, state="ready",
        size_bytes=spec.size_bytes, context_length=spec.context_length, expires_at=None, pid=0, running=0, load_s=0.0,
    )  # fmt: skip
