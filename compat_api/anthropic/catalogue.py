"""Anthropic's answers about models; the paths are OpenAI's, the header anthropic-version tells the clients apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from compat_api.timestamps import rfc3339
from inference.errors import BadRequest
from registry.store import ModelInfo

MOST_ON_A_PAGE: Final = 1000
"""As many as the original gives. Without a `limit` it gives 20, and here all are on one page."""


class Page(Struct, frozen=True):
    """Which of the models are asked for: `limit` of them, None for all, next to one of these ids, '' for an end."""

    limit: int | None = None
    after_id: str = ""
    before_id: str = ""


def parse_page(query: Mapping[str, str]) -> Page:
    """Raises BadRequest that names the parameter."""
    limit, after_id, before_id = (query.get(name) or "" for name in ("limit", "after_id", "before_id"))
    if after_id and before_id:
        raise BadRequest("after_id: give either after_id or before_id, not both", "after_id")
    if not limit:
        return Page(None, after_id, before_id)
    if not (limit.isascii() and limit.isdigit() and len(limit) < 9 and 1 <= int(limit) <= MOST_ON_A_PAGE):
        raise BadRequest(f"limit: {limit[:40]!r} is no number from 1 to {MOST_ON_A_PAGE}", "limit")
    return Page(int(limit), after_id, before_id)


def models(known: Iterable[ModelInfo], page: Page) -> dict[str, Any]:
    """`has_more`: in the direction that was asked for. Embedding models are no models to this API.

    Raises BadRequest for an id that is not in the list.
    """
    entries = [entry for entry in known if "completion" in entry.capabilities]
    ids = [entry.spec.name for entry in entries]
    begin, end = 0, len(ids)
    if page.before_id:
        end = _place("before_id", page.before_id, ids)
        begin = max(0, end - page.limit) if page.limit else 0
    else:
        begin = _place("after_id", page.after_id, ids) + 1 if page.after_id else 0
        end = min(end, begin + page.limit) if page.limit else end
    shown = ids[begin:end]
    return {
        "data": [model(entry, entry.spec.name) for entry in entries[begin:end]],
        "has_more": begin > 0 if page.before_id else end < len(ids),
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
    }


def _place(field: str, id: str, ids: list[str]) -> int:
    if id not in ids:
        raise BadRequest(f"{field}: {id[:80]!r} is no id of this list; begin again without it", field)
    return ids.index(id)


def model(entry: ModelInfo, shown_id: str) -> dict[str, Any]:
    """`shown_id` is the name as it was asked for."""
    return {
        "type": "model",
        "id": shown_id,
        "display_name": entry.spec.name.removesuffix(":latest"),
        "created_at": rfc3339(entry.modified_at),
    }
