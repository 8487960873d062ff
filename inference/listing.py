"""What another server offers, by any of its names: as it spells them, as Ollama completes them, as the row has it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from inference.backends.wire import Listed
from inference.remote import RemoteSpec

_LATEST = ":latest"
_PARAMETERS = re.compile(r"(?:^|[-_:.])(\d{1,4}(?:\.\d{1,2})?)([bm])(?:$|[-_:.])", re.IGNORECASE)
"""In a name: `llama3:8b`, `Qwen2.5-0.5B-Instruct`."""


class Offer(Struct, frozen=True):
    """One model of one server. `listed.id` is as that server spells it, `name` as it is shown here."""

    name: str
    listed: Listed
    preferred: bool = False

    def spelled(self, asked: str) -> str:
        """What that server is asked for: it takes a name without ':latest' where it adds that itself."""
        theirs = self.listed.id
        return asked if theirs.lower() in (asked.lower(), asked.lower() + _LATEST) else theirs


class Listing:
    """All that one server offers. Read from any thread, replaced as a whole."""

    def __init__(self, spec: RemoteSpec, listed: Sequence[Listed] = ()) -> None:
        known = {one.id.lower(): one for one in listed}
        aliases = [
            Offer(ours, known.get(theirs.lower(), Listed(id=theirs)), _matches(spec.preferred, ours, theirs))
            for ours, theirs in spec.models.items()
        ]
        own = [Offer(one.id, one, _matches(spec.preferred, one.id)) for one in listed]
        self.offers = tuple(offer for offer in (*aliases, *own) if _allowed(spec, offer))
        self.names = tuple(offer.name for offer in self.offers)
        self._by_name: dict[str, Offer] = {}
        for names in (_exact, _completed):  # an exact name wins over a completed one, and an alias over both
            for offer in self.offers:
                self._by_name.setdefault(names(offer.name.lower()), offer)

    def find(self, *names: str) -> Offer | None:
        """By the first of these names that it has."""
        for name in names:
            if offer := self._by_name.get(name.lower()):
                return offer
        return None


def _exact(name: str) -> str:
    return name


def _completed(name: str) -> str:
    return name.removesuffix(_LATEST) if name.endswith(_LATEST) else name + _LATEST


def _allowed(spec: RemoteSpec, offer: Offer) -> bool:
    """By the rules of the row: excluded, then supported, then the largest size."""
    names = (offer.name, offer.listed.id)
    if _matches(spec.excluded, *names) or (spec.supported and not _matches(spec.supported, *names)):
        return False
    return not spec.max_parameters or _parameters(offer) <= spec.max_parameters


def _parameters(offer: Offer) -> int:
    """As the server says, else as the name does; 0 where nothing is known."""
    if offer.listed.parameter_count:
        return offer.listed.parameter_count
    found = _PARAMETERS.search(offer.listed.id)
    return int(float(found[1]) * (10**9 if found[2] in "bB" else 10**6)) if found else 0


def _matches(patterns: Sequence[str], *names: str) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns)


def by_name(listings: Mapping[str, Listing], name: str) -> dict[str, Offer]:
    """Backend's id -> what it offers under that name."""
    return {id: offer for id, listing in listings.items() if (offer := listing.find(name))}
