"""The real server as a child process, for every test that speaks to one.

    server          one for the session on the default event loop; with the marker `loop`, on both in turn
    npu_server      one for the session with an emulated NPU beside the CPU, both built-in models loaded on both
    serve(**env)    a server of the test's own, with these variables; ended with the test
    hub             a hub of models, empty, that can be made to fail (tests/hub_process.py, tests/hub_repositories.py)
    asks_hub        this process asks that hub
    hub_server      one for the session whose models come from that hub

The first two check at their end that no process is left behind.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import hub_process
import huggingface_hub
import psutil
import pytest
from data_folders import ROOT as ROOT
from data_folders import environment as environment
from data_folders import furnish
from django.db import connections
from pytest_django import Settings

from registry import fetch
from registry import hub as hubs

# A run in the background inherits an ignored SIGINT, and so would every server that is to be stopped by Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# httpx reads the certificates of the world for each call, one of plain HTTP too: 20 ms of CPU, and tests poll.
pytest.MonkeyPatch().setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))

READY_S = 60.0
STOP_S = 25.0
LAST_LINES = 40
"""Of a server's log, where a test failed."""
LOOPS = ("auto", "selector")


@dataclass
class RunningServer:
    """`manage.py serve` in a process of its own; `url`, `port` and `grpc` are known once it is ready."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    log_path: Path
    url: str = ""
    port: int = 0
    grpc: str = ""
    """Host and port; '' where that door is closed."""

    def log(self) -> str:
        """All it has printed so far."""
        return self.log_path.read_text("utf-8", errors="replace")

    def wait_until_ready(self, timeout_s: float = READY_S) -> RunningServer:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.fail(f"the server ended with {self.process.returncode}:\n{self.log()}")
            address = self.address()
            if address and address["pid"] == self.process.pid:
                self.url = str(address["url"])
                self.port = int(self.url.rpartition(":")[2])
                self.grpc = str(address["grpc"])
                return self
            time.sleep(0.02)
        pytest.fail(f"the server was not ready after {timeout_s} s:\n{self.log()}")

    def address(self) -> dict[str, object] | None:
        try:
            found: dict[str, object] = json.loads((self.data_dir / "server.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def descendants(self) -> list[psutil.Process]:
        """Every process it has started, and theirs."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def request_stop(self) -> None:
        """What Ctrl-C does, or a service manager."""
        if sys.platform == "win32":
            self.process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Stop it as a user would and check that nothing is left. Returns the exit code."""
        family = self.descendants()
        if self.process.poll() is None:
            self.request_stop()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the server did not stop within {STOP_S} s:\n{self.log()[-4000:]}")
        finally:
            check_all_gone(family, self.log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Behind the words of a test that failed stand the last lines of every server that it had."""
    report = yield
    if report.failed:
        given: dict[str, object] = getattr(item, "funcargs", {})
        logs = {value.log_path for value in given.values() if isinstance(value, RunningServer)}
        if isinstance(folder := given.get("tmp_path"), Path):
            logs |= set(folder.glob("*/server.log"))
        for path in sorted(logs):
            last = path.read_text("utf-8", errors="replace").splitlines()[-LAST_LINES:]
            report.sections.append((f"{path.parent.name}/{path.name}", "\n".join(last)))
    return report


def check_all_gone(
    family: Sequence[psutil.Process], log: Callable[[], str] = str, within_s: float = 5.0
) -> None:
    """Fails, and ends them, when processes of a dead server live on."""
    _, alive = psutil.wait_procs(family, timeout=within_s)
    for process in alive:
        process.kill()
    assert not alive, f"processes left behind: {alive}\n{log()[-4000:]}"


def free_port() -> int:
    """Nobody listens there now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def start_server(
    folder: Path, arguments: Sequence[str] = (), python: str = sys.executable, **variables: str
) -> RunningServer:
    """As `start_first`, with a data folder whose tables are there already, as from the second start on."""
    if "DATABASE_URL" not in variables:
        furnish(data_folder(folder, variables))
    return start_first(folder, arguments, python, **variables)


def start_first(
    folder: Path, arguments: Sequence[str] = (), python: str = sys.executable, **variables: str
) -> RunningServer:
    """Start it with its own data folder, on any free port, without gRPC; does not wait. `variables` go before both."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    data_dir = data_folder(folder, variables)
    settings = {
        "NPU_PROXY_DATA_DIR": str(data_dir),
        "NPU_PROXY_PORT": "0",
        "NPU_PROXY_GRPC_PORT": "0",
        **variables,
    }
    log_path = folder / "server.log"
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows: so that Ctrl-Break reaches it alone
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [python, "manage.py", "serve", *arguments],
            cwd=ROOT,
            env=environment(home, **settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            creationflags=flags,
        )
    return RunningServer(process, data_dir, log_path)


def data_folder(folder: Path, variables: Mapping[str, str]) -> Path:
    return Path(variables.get("NPU_PROXY_DATA_DIR") or folder / "data")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The tests' database is a file, as the product's: threads that share one in memory get "table is locked"
    at once, where a file makes them wait. Nobody needs it after a power cut, so it is never flushed.
    """
    settings = connections["default"].settings_dict
    settings["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    settings["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "event_loop" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("loop") is not None
        metafunc.parametrize("event_loop", LOOPS if both else LOOPS[:1], scope="session")


@pytest.fixture(scope="session")
def event_loop(request: pytest.FixtureRequest) -> str:
    """'auto' or 'selector': how NPU_PROXY_EVENT_LOOP is set for the servers of this test."""
    return str(request.param)


@pytest.fixture(scope="session")
def server(event_loop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A ready server that the tests share: leave it as it was found. It has made all it needs by itself."""
    folder = tmp_path_factory.mktemp(f"server-{event_loop}")
    grpc = str(free_port())
    running = start_first(folder, NPU_PROXY_EVENT_LOOP=event_loop, NPU_PROXY_GRPC_PORT=grpc)
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


NPU_PROMPT = 256
"""Prompt tokens that the emulated NPU of `npu_server` is compiled for."""
NPU_CONTEXT = 1024
"""Tokens of a prompt and its answer, on any device of it."""
NPU_QUEUE = 40
"""Requests that may wait for a device of it."""


@pytest.fixture(scope="session")
def npu_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A ready server that the tests share: leave it as it was found. The NPU is preferred, and has one slot."""
    running = start_server(
        tmp_path_factory.mktemp("server-npu"),
        NPU_PROXY_NPU_EMULATION="true",
        NPU_PROXY_MAX_PROMPT_LEN=str(NPU_PROMPT),
        OLLAMA_CONTEXT_LENGTH=str(NPU_CONTEXT),
        OLLAMA_MAX_QUEUE=str(NPU_QUEUE),
        NPU_PROXY_GRPC_PORT=str(free_port()),
        OLLAMA_KEEP_ALIVE="-1",
    )
    try:
        running.wait_until_ready()
        for device in ("CPU", "NPU"):
            for path, body in (("embed", {"model": "all-minilm"}), ("generate", {"model": "demo"})):
                load(f"{running.url}/api/{path}", body, device)
        yield running
    finally:
        running.stop()


def load(url: str, body: dict[str, str], device: str) -> None:
    """Loads a model on this device and no other."""
    headers = {"Content-Type": "application/json", "X-Target-Backend": device, "X-Target-Strict": "true"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status == 200


Serve = Callable[..., RunningServer]


@pytest.fixture
def serve(event_loop: str, tmp_path: Path) -> Iterator[Serve]:
    """serve(arguments=(), ready=True, first=False, **variables): a server of the test's own, as many as it wants."""
    started: list[RunningServer] = []

    def start(
        arguments: Sequence[str] = (), ready: bool = True, first: bool = False, **variables: str
    ) -> RunningServer:
        folder = tmp_path / f"server{len(started)}"
        begin = start_first if first else start_server
        running = begin(folder, arguments, **{"NPU_PROXY_EVENT_LOOP": event_loop, **variables})
        started.append(running)
        return running.wait_until_ready() if ready else running

    try:
        yield start
    finally:
        for running in started:
            running.stop()


@pytest.fixture(scope="session")
def hub_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub_process.Hub]:
    with hub_process.running(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture
def hub(hub_of_all: hub_process.Hub) -> Iterator[hub_process.Hub]:
    """Without repositories, faults and memory; repositories are written by `hub_repositories`."""
    for folder in hub_of_all.root.iterdir():
        shutil.rmtree(folder)
    hub_of_all.reset()
    yield hub_of_all
    hub_of_all.reset()


@pytest.fixture
def asks_hub(hub: hub_process.Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process asks the hub, and tries again at once."""
    settings.HF_ENDPOINT, settings.HF_TOKEN = hub.url, ""
    monkeypatch.setattr(fetch, "BACKOFF_S", 0.01)
    monkeypatch.setattr(hubs, "BACKOFF_S", 0.01)
    yield
    huggingface_hub.close_session()


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """Where the files of a pull arrive."""
    return tmp_path / "models" / ".staging" / "one"


@pytest.fixture(scope="session")
def hub_server(
    hub_of_all: hub_process.Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A ready server that pulls from the hub. Tests share it: they make models of their own, and remove them."""
    running = start_server(tmp_path_factory.mktemp("hub-server"), HF_ENDPOINT=hub_of_all.url)
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def get(url: str, timeout_s: float = 10.0) -> bytes:
    """The body of a GET that succeeds."""
    with urllib.request.urlopen(url, timeout=timeout_s) as response:
        body: bytes = response.read()
    return body
