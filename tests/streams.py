"""Streams of `demo` for tests that look at what happens around them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager

from conftest import RunningServer


@contextmanager
def chat(server: RunningServer, **body: object) -> Iterator[http.client.HTTPResponse]:
    """An answer of `demo` whose head has arrived."""
    whole = {"model": "demo", "messages": [{"role": "user", "content": "How do I pull a model?"}], **body}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request("POST", "/api/chat", json.dumps(whole))
        with closing(connection.getresponse()) as response:
            yield response


@contextmanager
def long_stream(server: RunningServer, tokens: int = 100_000) -> Iterator[http.client.HTTPResponse]:
    """A stream that goes on until `tokens` or, the context's end, seconds later."""
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 900}
    with chat(server, options={"num_predict": tokens}, think=False, format=numbers) as response:
        assert response.status == 200, response.read()
        assert b'"done":false' in response.readline()
        yield response
