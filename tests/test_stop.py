"""How `manage.py serve` ends: what runs is finished, what is started is ended, nothing stays."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
import time
from contextlib import closing

import pytest
from conftest import Serve, check_all_gone, get
from streams import chat, long_stream

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals are not on Windows")


@pytest.mark.loop
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@POSIX
def test_a_signal_stops_it_and_leaves_nothing(serve: Serve, name: str) -> None:
    server = serve()
    with chat(server, stream=False) as response:
        response.read()
    family = server.descendants()
    assert family
    server.process.send_signal(getattr(signal, name))
    assert server.process.wait(10) == 0
    check_all_gone(family)
    assert "Traceback" not in server.log()


@pytest.mark.loop
def test_a_stream_is_finished_before_the_server_ends(serve: Serve) -> None:
    server = serve()
    with long_stream(server, tokens=300) as response:
        server.request_stop()
        lines = response.read().splitlines()
    assert json.loads(lines[-1])["done"] is True
    assert server.process.wait(15) == 0


@pytest.mark.loop
def test_while_it_stops_nothing_new_is_taken(serve: Serve) -> None:
    server = serve()
    with long_stream(server):
        server.request_stop()
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)


@pytest.mark.loop
@POSIX
def test_a_second_signal_ends_it_at_once(serve: Serve) -> None:
    server = serve()
    with long_stream(server):
        family = server.descendants()
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(3) == 130
    check_all_gone(family)


@pytest.mark.loop
def test_no_worker_outlives_a_server_that_is_killed(serve: Serve) -> None:
    server = serve()
    with long_stream(server):
        family = server.descendants()
        assert family
        server.process.kill()
        server.process.wait()
        check_all_gone(family, server.log)


def test_after_a_kill_the_next_start_is_as_any_other(serve: Serve) -> None:
    first = serve()
    first.process.kill()
    first.process.wait()
    second = serve(NPU_PROXY_DATA_DIR=str(first.data_dir))
    assert get(f"{second.url}/") == b"Ollama is running"


NOT_MEASURED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""What starts coverage in a child swallows an interrupt that comes while it is imported."""


@pytest.mark.loop
@POSIX
def test_ctrl_c_in_the_middle_of_the_start_prints_no_traceback(serve: Serve) -> None:
    for wait_s in (0.3, 0.6, 0.9):
        server = serve(ready=False, first=True, **NOT_MEASURED)
        time.sleep(wait_s)
        family = server.descendants()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) in (0, 130, -signal.SIGINT)
        check_all_gone(family)
        assert "Traceback" not in server.log() or "KeyboardInterrupt" in server.log().splitlines()[-1]


def test_an_idle_connection_does_not_hold_up_the_end(serve: Serve) -> None:
    server = serve()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as idle:
        idle.request("GET", "/")
        assert idle.getresponse().read() == b"Ollama is running"
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 8  # the drain of 10 s was not waited for
