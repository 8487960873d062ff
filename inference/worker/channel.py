"""The worker's end of the channel: one socket, read without waiting between two steps.

`step()` of the pipeline holds the GIL for as long as it runs, so a reader thread would gain nothing: the loop of the
worker looks at the socket before each step and sleeps on it only when there is nothing to do.
"""

from __future__ import annotations

import select
import socket
import sys
from collections import deque

from inference.worker.messages import FrameSplitter, FromWorker, ToWorker, decode_to_worker, frame

_READ_BYTES = 1 << 18


class ServerGone(Exception):
    """The server closed the channel or ended."""


class Channel:
    """Frames in and out of a blocking stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._splitter = FrameSplitter()
        self._received: deque[ToWorker] = deque()

    def send(self, message: FromWorker) -> None:
        try:
            self._socket.sendall(frame(message))
        except OSError as error:
            raise ServerGone from error

    def poll(self, wait_s: float | None = 0.0) -> ToWorker | None:
        """The next frame, or None when none came within `wait_s` (None: wait for ever). Raises ServerGone."""
        while not self._received:
            readable, _, _ = select.select([self._socket], [], [], wait_s)
            if not readable:
                return None
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError as error:
                raise ServerGone from error
            if not data:
                raise ServerGone
            self._received.extend(decode_to_worker(body) for body in self._splitter.feed(data))
        return self._received.popleft()


def connect(argument: str) -> Channel:
    """Opens the channel that the command line names: `fd:3`, or `port:4711` with the secret as a line on stdin."""
    kind, _, value = argument.partition(":")
    if kind == "fd":
        return Channel(socket.socket(fileno=int(value)))
    secret = bytes.fromhex(sys.stdin.readline().strip())
    sock = socket.create_connection(("127.0.0.1", int(value)), timeout=10)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(secret)
    return Channel(sock)
