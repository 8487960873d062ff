"""Rows of requests as CSV or JSON lines, a page of them in memory at a time, however many there are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from registry.models import RequestLog

PAGE: Final = 2000
FORMATS: Final = ("csv", "jsonl")
CONTENT_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
FIELDS: Final = tuple(field.attname for field in RequestLog._meta.concrete_fields if field.attname != "id")
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A table calculation runs a cell that begins so; what clients send stands in cells."""

Row = Sequence[Any]


def since(text: str) -> datetime:
    """`36h`, `7d`, `2026-11-01` or `2026-11-01T12:00`, UTC where no zone is named. Raises ValueError."""
    try:
        moment = _moment(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise ValueError(f"{text!r} is no time: give 36h, 7d, 2026-11-01 or 2026-11-01T12:00")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _moment(text: str) -> datetime | None:
    if found := _AGO.fullmatch(text):
        return timezone.now() - timedelta(**{_UNITS[found[2]]: int(found[1])})
    if day := parse_date(text):
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return parse_datetime(text)


def pages(rows: QuerySet[RequestLog], form: str) -> Iterator[bytes]:
    """The oldest first. Each page is a query of its own by the key, so none stays open and none skips rows."""
    yield head(form)
    last = 0
    while True:
        last, page = next_page(rows, last, form)
        if not page:
            return
        yield page


def next_page(rows: QuerySet[RequestLog], last: int, form: str) -> tuple[int, bytes]:
    """What follows the row of that id, and the id of its last row; b'' at the end."""
    page = list(_after(rows, last))
    return (page[-1][0], encoded([row[1:] for row in page], form)) if page else (last, b"")


def head(form: str) -> bytes:
    return _csv([FIELDS]) if form == "csv" else b""


def encoded(rows: Sequence[Row], form: str) -> bytes:
    write: Callable[[Sequence[Row]], bytes] = _csv if form == "csv" else _lines
    return write(rows)


def _after(rows: QuerySet[RequestLog], last: int) -> Any:
    return rows.filter(id__gt=last).order_by("id").values_list("id", *FIELDS)[:PAGE]


def _lines(rows: Sequence[Row]) -> bytes:
    return b"".join(orjson.dumps(dict(zip(FIELDS, row, strict=True))) + b"\n" for row in rows)


def _csv(rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
