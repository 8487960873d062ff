"""Starts worker processes and connects the server's end of their channel.

Children start with `subprocess` from the loop's thread, which is the main thread: the kernel's parent-death signal
follows the thread that started a child (openvino-facts 23). On POSIX the channel is a socketpair; elsewhere, or with
`loopback`, a port of 127.0.0.1 whose 256-bit secret goes through the child's standard input.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from inference import job_object
from inference.errors import LoadFailed
from inference.process import START_DEADLINE_S, WorkerProcess

_ROOT = Path(__file__).resolve().parent.parent


async def spawn(*, loopback: bool, log_dir: Path | None, inference_timeout_s: float) -> WorkerProcess:
    """Starts a worker and returns at once; its `hello` is done when a model may be loaded."""
    log = _open_log(log_dir)
    if loopback or sys.platform == "win32":
        return await _spawn_loopback(log, inference_timeout_s)
    ours, theirs = socket.socketpair()
    with theirs:
        process = _popen(f"fd:{theirs.fileno()}", log, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
    worker = WorkerProcess(process, log, inference_timeout_s)
    await asyncio.get_running_loop().create_connection(lambda: worker, sock=ours)
    return worker


async def _spawn_loopback(log: IO[bytes], inference_timeout_s: float) -> WorkerProcess:
    loop = asyncio.get_running_loop()
    secret = secrets.token_bytes(32)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        process = _popen(f"port:{listener.getsockname()[1]}", log, pass_fds=(), stdin=subprocess.PIPE)
        assert process.stdin is not None
        with process.stdin as stdin:
            stdin.write(secret.hex().encode() + b"\n")
        try:
            ours = await asyncio.wait_for(_accept(listener, secret), START_DEADLINE_S)
        except TimeoutError:
            process.kill()
            raise LoadFailed("a worker process did not connect") from None
    worker = WorkerProcess(process, log, inference_timeout_s)
    await loop.create_connection(lambda: worker, sock=ours)
    return worker


async def _accept(listener: socket.socket, secret: bytes) -> socket.socket:
    """The connection that shows the secret; any other local process that finds the port is turned away."""
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        shown = b""
        try:
            async with asyncio.timeout(5):
                while len(shown) < len(secret) and (
                    data := await loop.sock_recv(connection, len(secret) - len(shown))
                ):
                    shown += data
        except (TimeoutError, OSError):
            pass
        if hmac.compare_digest(shown, secret):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        connection.close()


def _popen(channel: str, log: IO[bytes], *, pass_fds: tuple[int, ...], stdin: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OPENVINO_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "inference.worker", channel, str(os.getpid())],
        stdin=stdin, stdout=log, stderr=log, pass_fds=pass_fds, env=environment, cwd=_ROOT,
    )  # fmt: skip
    if sys.platform == "win32":
        job_object.adopt(int(process._handle))  # type: ignore[attr-defined]
    return process


def _open_log(log_dir: Path | None) -> IO[bytes]:
    """A nameless file for what the child and the C++ runtime print; read once, when the child ends."""
    return tempfile.TemporaryFile(dir=log_dir)
