"""The benchmark's own client, and the other servers that it starts."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path

import pytest

from inference.bench_sides import BenchError
from npuproxy.bench_client import Client
from npuproxy.bench_litellm import proxy

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_connection_that_was_closed_while_it_was_idle_is_not_used_again() -> None:
    idle_over, closed = threading.Event(), threading.Event()

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(ANSWER)
                idle_over.wait(30)
            closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        client = Client(listener.getsockname()[1])
        first, second = client.post("/", {}), client.post("/", {})
        client.exchange([first])
        idle_over.set()
        assert closed.wait(30)
        client.exchange([second])
        client.close()
        server.join(30)
    assert (first.status, second.status) == (200, 200)


def test_a_proxy_that_ends_at_its_start_is_not_waited_for() -> None:
    command = shutil.which("false")
    assert command is not None
    with pytest.raises(BenchError, match="proxy ended"), proxy(Path(command), 1):
        pass
