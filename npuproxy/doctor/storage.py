"""Memory, disk, the data folder, the database and the broker."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu import Connection
from kombu.exceptions import OperationalError

from npuproxy import broker, data_folder, running_server
from npuproxy.doctor.finding import Finding, fault, line, ok, warning
from registry import tables, verdict

GB: Final = 10**9
LITTLE_MEMORY: Final = 4 * GB
LITTLE_DISK: Final = 10 * GB
"""Room for one or two models of some billion parameters."""
NO_DISK: Final = GB
BROKER_S: Final = 3


def memory() -> Iterator[Finding]:
    found, budget = psutil.virtual_memory(), verdict.this_machine().budget_bytes
    shown = f"{found.total / GB:.0f} GB of memory, {found.available / GB:.1f} GB free, {budget / GB:.1f} GB for models"
    if found.total < LITTLE_MEMORY:
        yield warning(shown, "take models of up to a billion parameters: manage.py models known")
    elif budget > found.available:
        yield warning(
            f"{shown}: more than is free now",
            f"close other programs, or NPU_PROXY_MEMORY_BUDGET={int(found.available * 0.8 / GB)}GB",
        )
    else:
        yield ok(shown)


def disk() -> Iterator[Finding]:
    for name, folder in (("models", Path(settings.MODEL_PATH)), ("data", Path(settings.DATA_DIR))):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        words = f"{free / GB:.0f} GB free for {name}"
        if free < NO_DISK:
            yield fault(words, "manage.py prune   # or NPU_PROXY_MODEL_PATH on another disk")
        elif free < LITTLE_DISK:
            yield warning(words, "manage.py prune   # shows what can go")
        else:
            yield ok(words)


def folder() -> Iterator[Finding]:
    """That what is written there is for its user alone, and that no dead server's address lies there."""
    root = Path(settings.DATA_DIR)
    if not root.exists():
        yield ok("no data folder yet; the first start makes it")
        return
    secret = root / data_folder.SECRET_FILE
    if sys.platform != "win32" and secret.exists() and stat.S_IMODE(secret.stat().st_mode) & 0o077:
        yield fault(
            "others on this machine can read the secret key", f"chmod 600 {secret}", lambda: _close(secret)
        )
    if not os.access(root, os.W_OK):
        yield fault("the data folder cannot be written", "give it to this user, or set NPU_PROXY_DATA_DIR")
    server, address = running_server.find(root), data_folder.read_address(root)
    if server is None and address is not None:
        yield warning(
            "the address of a server that does not answer",
            "manage.py serve   # starts a new one; or `doctor --fix` forgets the old",
            lambda: _forget(root),
        )
    elif server is not None:
        yield ok(f"a server runs at {server.url} (process {server.pid})")
    else:
        yield ok("no server runs")


def _close(secret: Path) -> str:
    secret.chmod(0o600)
    return "the secret key is its owner's alone"


def _forget(root: Path) -> str:
    data_folder.remove_address(root)
    return "the old address is forgotten"


def database() -> Iterator[Finding]:
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        yield fault(
            f"the database does not answer: {line(error)}", "see DATABASE_URL in docs/configuration.md"
        )
        return
    if plan:
        yield warning(
            f"the tables are older than this program ({len(plan)} changes)", "manage.py migrate", _migrate
        )
    if connection.vendor == "sqlite":
        yield from _sqlite()
    else:
        yield ok(f"{connection.display_name} answers")


def _sqlite() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA quick_check(1)")
        (words,) = cursor.fetchone()
    if words == "ok":
        yield ok("the SQLite database is whole")
    else:
        yield fault(
            f"the SQLite database is damaged: {words}",
            "stop the server, move npuproxy.sqlite3 away, start it: models found in their folders come back",
        )


def _migrate() -> str:
    tables.prepare()
    return "the tables are those of this program"


def task_broker() -> Iterator[Finding]:
    url = settings.CELERY_BROKER_URL
    if url.startswith(broker.EMBEDDED):
        yield ok("pulls wait in a folder of their own: no broker is needed")
        return
    shown = Connection(url).as_uri()  # without the password
    try:
        with Connection(url, connect_timeout=BROKER_S) as asked:
            asked.ensure_connection(max_retries=1, timeout=BROKER_S)
    except (OperationalError, OSError, ImportError) as error:
        yield fault(f"{shown} does not answer: {line(error)}", "start it, or unset CELERY_BROKER_URL")
    else:
        yield ok(f"{shown} answers")
