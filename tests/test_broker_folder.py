"""Messages of the embedded broker: whole or not there, since the worker that reads half a one ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection

from npuproxy import broker
from npuproxy.broker_folder import Channel
from npuproxy.celery import app


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Any]:
    """As Celery opens it, on folders of the test's own."""
    options = broker.transport_options(broker.EMBEDDED, tmp_path)
    with Connection(broker.EMBEDDED, transport_options=options) as connection:
        yield connection.channel()


def test_the_application_sends_by_it(channel: Any) -> None:
    assert isinstance(channel, Channel)
    assert app.connection_for_write().transport_cls == "filesystem"


def test_a_message_that_cannot_be_written_is_not_there_in_part(channel: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        channel._put("q", {"body": object()})
    assert not list((tmp_path / "queue").iterdir())
    with pytest.raises(Empty):
        channel._get("q")


def test_a_reader_beside_the_writer_gets_every_message_whole(channel: Any, tmp_path: Path) -> None:
    options = broker.transport_options(broker.EMBEDDED, tmp_path)
    sent = [{"body": "x" * 20_000, "number": number} for number in range(200)]
    got: list[dict[str, Any]] = []
    faults: list[Exception] = []

    def read() -> None:
        with Connection(broker.EMBEDDED, transport_options=options) as connection:
            reader: Any = connection.channel()
            while len(got) < len(sent) and not faults:
                try:
                    got.append(reader._get("q"))
                except Empty:
                    continue
                except Exception as error:
                    faults.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for message in sent:
        channel._put("q", message)
    thread.join(30)
    assert not faults
    assert not thread.is_alive()
    assert sorted(got, key=lambda message: int(message["number"])) == sent
