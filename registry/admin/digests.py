"""Which models a digest means: people think in names.

Caches are kept by the digest of the files, which copies and children share; use by the digest of files and texts.
"""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry import store


def of_files(digest: str) -> SafeString:
    """From the rows in memory; several where copies share their files, none when the model has gone."""
    return _shown(digest, [info.name for info in store.all_models() if info.spec.digest == digest])


def of_content(digest: str) -> SafeString:
    return _shown(digest, [info.name for info in store.all_models() if info.digest == digest])


def _shown(digest: str, found: list[str]) -> SafeString:
    if not found:
        return format_html('<small>removed</small> <code title="{}">{}</code>', digest, digest[:12])
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return format_html(
        '<span class="name" title="{}">{}</span><small>{}</small>', ", ".join(found), found[0], more
    )
