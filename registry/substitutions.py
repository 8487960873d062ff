"""Rows of substitution: made by command and admin, followed by the engine."""

from __future__ import annotations

from inference.engine import Engine
from inference.errors import BadRequest, ModelNotFound
from inference.substitution import ANY, WHEN, Substitute
from registry import names
from registry.database_thread import DatabaseThread
from registry.models import Substitution
from registry.watching import Stamps

_TABLE = Substitution._meta.db_table


def add(model: str, substitute: str, when: str = ANY) -> Substitution:
    """Made, or changed where it is there. Raises BadRequest."""
    if when not in WHEN:
        raise BadRequest(f"when: {when!r} is none of {', '.join(WHEN)}", "when")
    one, other = names.parse(model), names.parse(substitute)
    if one.key == other.key:
        raise BadRequest(f"{one.display} cannot stand in for itself", "substitute")
    found = Substitution.objects.filter(model__iexact=one.display, substitute__iexact=other.display).first()
    row = found or Substitution(model=one.display, substitute=other.display)
    row.when = when
    row.save()
    return row


def remove(model: str, substitute: str) -> None:
    """Raises ModelNotFound where there is no such row."""
    one, other = names.parse(model), names.parse(substitute)
    rows = Substitution.objects.filter(model__iexact=one.display, substitute__iexact=other.display)
    if not rows.exists():
        raise ModelNotFound(f"{other.display} does not stand in for {one.display}")
    rows.delete()


def rules() -> dict[str, tuple[Substitute, ...]]:
    """By the name of the model that is asked for, in lower case."""
    found: dict[str, tuple[Substitute, ...]] = {}
    for row in Substitution.objects.order_by("id"):
        key = row.model.lower()
        found[key] = (*found.get(key, ()), Substitute(row.substitute, row.when))
    return found


class Follower:
    """Tells the engine what the rows say."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stamp = -1
        self._thread = DatabaseThread("substitutions")

    async def follow(self, stamps: Stamps) -> None:
        stamp = stamps.get(_TABLE, 0)
        if stamp != self._stamp:
            self._engine.substitution.rules = await self._thread.read(rules)
            self._thread.release()
            self._stamp = stamp
