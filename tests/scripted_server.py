"""An HTTP server that is not ours and answers as a test says: for what another server may do wrong."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


OPENAI_MODELS = Answer(
    200, b'{"object": "list", "data": [{"id": "m-7b", "object": "model"}, {"id": "n-70b"}]}'
)
OLLAMA_MODELS = Answer(200, b'{"models": [{"name": "m:7b", "model": "m:7b", "digest": "abc", "size": 5}]}')


class Scripted(ThreadingHTTPServer):
    """`answers` by path; everything else is 404. `seen`: (path, headers) of each request."""

    daemon_threads = True

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that breaks a handshake off is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.seen.append((path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.answers.get(path, Answer(404, b"nothing here"))
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def scripted(answers: dict[str, Answer], certificate: tuple[Path, Path] | None = None) -> Iterator[Scripted]:
    server = Scripted(answers)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
