"""Which models a digest means: rows of use and of caches are kept by digest, people think in names."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry import store


def names_of(digest: str) -> list[str]:
    """From the rows in memory; several where copies share their files, none when the model has gone."""
    return [info.name for info in store.all_models() if info.spec.digest == digest]


def model_of(digest: str) -> SafeString:
    found = names_of(digest)
    if not found:
        return format_html('<small>removed</small> <code title="{}">{}</code>', digest, digest[:12])
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return format_html(
        '<span class="name" title="{}">{}</span><small>{}</small>', ", ".join(found), found[0], more
    )
