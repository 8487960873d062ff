"""Where log lines go, and the request id that each of them carries."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""Set by the gate; every line logged while a request is served carries it."""


class RequestId(logging.Filter):
    """Gives each record the id of the request it belongs to, and keeps it on one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        if isinstance(record.args, tuple):
            record.args = tuple(_one_line(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


def _one_line(text: str) -> str:
    """A name that a client chose must not be able to write a line of its own into the log."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def configuration(level: str, file: Path | None) -> dict[str, Any]:
    """For logging.config: to stderr, and to `file` where one is wanted."""
    handlers: dict[str, dict[str, Any]] = {
        "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}
    }
    if file is not None:
        handlers["file"] = {
            # On Windows a file cannot be moved away under a writer, so there is nothing to watch for.
            "class": "logging.FileHandler"
            if sys.platform == "win32"
            else "logging.handlers.WatchedFileHandler",
            "filename": str(file),
            "encoding": "utf-8",
            "delay": True,
            "formatter": "line",
            "filters": ["request_id"],
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestId}},
        "formatters": {
            "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
        },
        "handlers": handlers,
        "root": {"level": level, "handlers": list(handlers)},
        "loggers": {
            "django.request": {"level": "ERROR"},
            "django.channels": {"level": "WARNING"},
            "daphne": {"level": "WARNING"},
            "asyncio": {"level": "WARNING"},
            "celery": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
            "kombu.connection": {"level": "ERROR"},  # it warns that a broker in a folder has no host
            "httpx": {"level": "WARNING"},  # it logs addresses whole, and those of files carry signatures
        },
    }
