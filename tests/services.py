"""A real Redis, PostgreSQL and browser for the tests: installed, found, started on free ports, ended by their pid.

    python tests/services.py      installs what is missing: on Debian and its children, as root (`make test` calls it)

Elsewhere whatever is on PATH is used. Without them the tests that need them are skipped and say so; with
CI set, as in .ci/run, they fail.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import browser

PACKAGES = {"redis-server": "redis-server", "initdb": "postgresql", "chromium": "chromium"}
"""Program -> Debian's package."""
POSTGRES_FOLDERS = "/usr/lib/postgresql/*/bin"
"""Debian keeps PostgreSQL's programs off PATH, a folder a release."""
START_S = 60.0


class Unavailable(Exception):
    """The program is not on this machine; the text says what to do."""


def program(name: str) -> str:
    """Its path. Raises Unavailable."""
    if found := shutil.which(name):
        return found
    pattern = Path(POSTGRES_FOLDERS)
    releases = sorted(Path("/").glob(str(pattern.relative_to("/"))), key=lambda path: path.parent.name)
    for folder in reversed(releases):
        if (folder / name).exists():
            return str(folder / name)
    package = PACKAGES.get(name, "postgresql")
    raise Unavailable(f"{name} was not found: on Debian and Ubuntu, `apt install {package}`")


def install() -> int:
    """Install what is missing where that can be done; what cannot is said. Never fails: the tests decide."""
    missing = [package for name, package in PACKAGES.items() if not _is_there(name)]
    if not missing:
        return 0
    if not shutil.which("apt-get") or os.geteuid() != 0:
        print(f"services: without {', '.join(missing)} their tests are skipped; install them to run those")
        return 0
    print(f"services: installing {', '.join(missing)} for the tests", flush=True)
    _keep_from_starting("postgresql" in missing)
    apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        if subprocess.run([*apt, *command], env=quiet, stdout=subprocess.DEVNULL).returncode:
            print(f"services: apt-get {command[0]} failed; the lines above say why")
            return 0
    return 0


def _keep_from_starting(postgresql: bool) -> None:
    """Debian makes a cluster with the package and starts it; the tests make their own."""
    folder = Path("/etc/postgresql-common/createcluster.d")
    if postgresql:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "npuproxy-tests.conf").write_text("create_main_cluster = false\n", "utf-8")


def _is_there(name: str) -> bool:
    try:
        return bool(browser.program() if name == "chromium" else program(name))
    except Unavailable:
        return False


# --- Started ------------------------------------------------------------------------------------------------


@contextmanager
def redis(port: int = 0) -> Iterator[str]:
    """An empty one without a disk; its URL. Raises Unavailable."""
    binary = program("redis-server")
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="npuproxy-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with _running([binary, *options, "--dir", folder], Path(folder) / "log", port, signal.SIGTERM):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def postgresql() -> Iterator[str]:
    """A cluster of its own with one superuser; the URL of its database `postgres`. Raises Unavailable."""
    initdb, server = program("initdb"), program("postgres")
    who = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="npuproxy-postgresql-"))
    try:
        if who:
            shutil.chown(folder, who["user"], who["group"])
        data, port = folder / "data", free_port()
        make = [initdb, "-D", str(data), "-U", "npuproxy", "-A", "trust", "-E", "UTF8", "--no-sync"]
        made = subprocess.run(make, cwd=folder, capture_output=True, text=True, **who)
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stderr}")
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
        # SIGINT is its fast shutdown: connections are ended
        with _running(
            [server, "-D", str(data), *options], folder / "log", port, signal.SIGINT, cwd=folder, **who
        ):
            yield f"postgres://npuproxy@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return {}
    import grp
    import pwd

    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": name, "group": grp.getgrgid(user.pw_gid).gr_name, "extra_groups": []}
    raise Unavailable("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def _running(command: Sequence[str], log: Path, port: int, end: int, **how: Any) -> Iterator[None]:
    """The process while it listens on the port; it gets the signal `end` afterwards."""
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, **how
        )
    try:
        _wait_for(port, process, log)
        yield
    finally:
        if process.poll() is None:
            process.send_signal(end)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not come up:\n{log.read_text('utf-8', errors='replace')}")


if __name__ == "__main__":
    sys.exit(install())
