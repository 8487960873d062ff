"""How a fact looks in admin: a tag, a size, a time, a bar. Styles are in static/admin.css; unknown is a dash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

Tone = Literal["plain", "good", "warn", "bad", "busy"]

UNKNOWN: Final = SafeString("–")
STYLES: Final = {"all": ("admin.css",)}
_STEPS: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def tag(text: object, tone: Tone = "plain", title: str = "") -> SafeString:
    return format_html('<span class="tag {}" title="{}">{}</span>', tone, title, text)


def tags(texts: Iterable[object]) -> SafeString:
    return format_html_join(" ", '<span class="tag plain">{}</span>', ((text,) for text in texts)) or UNKNOWN


def size(count: int | None) -> str:
    """As Django writes it; a dash for what has none."""
    return filesizeformat(count) if count else UNKNOWN


def ago(moment: datetime | None) -> SafeString:
    """`3 min ago`, the exact time on hover; figures before today's are days."""
    if moment is None:
        return tag("never")
    passed = max(timezone.now() - moment, timedelta())
    seconds = passed.total_seconds()
    words = next((f"{seconds / step:.0f} {unit} ago" for step, unit in _STEPS if seconds >= step), "just now")
    return format_html('<time title="{}">{}</time>', f"{moment:%Y-%m-%d %H:%M:%S} UTC", words)


def moment(at: datetime | None) -> SafeString:
    """To the second, and how long ago: for the page of a row."""
    return format_html("{} UTC, {}", f"{at:%Y-%m-%d %H:%M:%S}", ago(at)) if at else UNKNOWN


def seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def bar(share: float, words: str) -> SafeString:
    return format_html(
        '<span class="bar"><progress max="1" value="{}"></progress> <span>{}</span></span>',
        f"{share:.4f}",
        words,
    )


def mono(text: str) -> SafeString:
    return format_html("<code>{}</code>", text) if text else UNKNOWN


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """A table inside a page; a dash where there is no row."""
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
    )
    if not body:
        return UNKNOWN
    return format_html(
        '<table class="facts"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>',
        format_html_join("", "<th>{}</th>", ((name,) for name in head)),
        body,
    )
