"""How `manage.py serve` starts, and when it does not."""

from __future__ import annotations

import json
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, RunningServer, Serve, environment, get
from streams import chat

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and modes are not on Windows")


def run_to_its_end(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` with these arguments, which is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(
            tmp_path,
            **{"NPU_PROXY_DATA_DIR": str(tmp_path / "data"), "NPU_PROXY_GRPC_PORT": "0", **variables},
        ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def only_line(result: subprocess.CompletedProcess[str]) -> str:
    """The one line with which a start gave up."""
    assert result.returncode != 0
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line]
    assert len(lines) == 1, lines
    return lines[0]


# --- Starting -------------------------------------------------------------------------------------------


@pytest.mark.loop
def test_the_first_start_tells_a_new_user_everything_and_the_second_keeps_the_secret(serve: Serve) -> None:
    first = serve(first=True)
    said = _banner(first)
    for part in (
        first.url,
        f"{first.url}/v1",
        f"{first.url}/status",
        f"{first.url}/admin/",
        "demo",
        "curl",
        "user admin",
    ):
        assert part in said
    for part in ("demo", "curl", "user admin", "password"):
        assert part in said
    first.stop()
    second = serve(NPU_PROXY_DATA_DIR=str(first.data_dir))
    assert "password" not in _banner(second)


def _banner(server: RunningServer) -> str:
    """What it has said with the last line of its banner; it answers a moment before it prints that."""
    deadline = time.monotonic() + 30
    while "user admin" not in server.log():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)
    return server.log()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl: the banner's line was not tried")
def test_the_curl_line_of_the_banner_works(server: RunningServer) -> None:
    line = next(line.strip() for line in server.log().splitlines() if line.strip().startswith("curl "))
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
    assert json.loads(answer.stdout)["message"]["role"] == "assistant"


def test_the_password_of_the_banner_opens_the_admin(serve: Serve) -> None:
    server = serve()
    password = server.log().partition("password ")[2].split()[0]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    page = opener.open(f"{server.url}/admin/login/", timeout=10).read().decode()
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    form = f"csrfmiddlewaretoken={token}&username=admin&password={password}&next=/admin/"
    request = urllib.request.Request(f"{server.url}/admin/login/", form.encode(), {"Origin": server.url})
    assert "What this server knows" in opener.open(request, timeout=10).read().decode()


@POSIX
def test_the_data_folder_is_private(server: RunningServer) -> None:
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    for name in ("secret_key", "server.json", "npuproxy.sqlite3"):
        assert stat.S_IMODE((server.data_dir / name).stat().st_mode) == 0o600


def test_the_address_file_is_there_while_the_server_is(serve: Serve) -> None:
    server = serve()
    assert server.address() == {"url": server.url, "pid": server.process.pid, "grpc": ""}
    server.stop()
    assert server.address() is None


def test_it_listens_on_both_loopback_addresses_and_nowhere_else(server: RunningServer) -> None:
    addresses = {
        connection.laddr.ip
        for connection in psutil.Process(server.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == server.port
    }
    assert addresses <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in addresses


def test_neither_numpy_nor_openvino_is_in_the_server_process() -> None:
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'npuproxy.settings';"
        "import django; django.setup();"
        "from npuproxy import event_loop; event_loop.install('auto');"
        "import npuproxy.startup, npuproxy.asgi, npuproxy.server, npuproxy.urls;"
        "print(sorted({'numpy', 'openvino', 'openvino_genai', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_flags_go_before_the_environment(serve: Serve) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = serve(
        ["--port", str(port), "--log-level", "error"], NPU_PROXY_PORT="1", NPU_PROXY_LOG_LEVEL="DEBUG"
    )
    assert server.port == port
    assert " INFO " not in server.log()


def test_the_log_file_gets_the_lines_too(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "npuproxy.log"
    server = serve(["--log-file", str(file)])
    get(f"{server.url}/api/version")
    assert "/api/version" in file.read_text("utf-8")


def test_the_version_is_printed() -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "serve", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout.startswith("npuproxy 0.")


def test_warm_up_loads_what_it_names(serve: Serve) -> None:
    server = serve(NPU_PROXY_WARMUP="demo,embedding", NPU_PROXY_WARMUP_DEVICES="cpu")
    deadline = time.monotonic() + 30
    names: set[str] = set()
    while time.monotonic() < deadline and len(names) < 2:
        names = {model["name"] for model in json.loads(get(f"{server.url}/api/ps"))["models"]}
        time.sleep(0.1)
    assert names == {"demo:latest", "all-minilm:latest"}


def test_a_warm_up_that_fails_is_logged_and_nothing_else(serve: Serve) -> None:
    server = serve(NPU_PROXY_WARMUP="nothing-like-it")
    deadline = time.monotonic() + 10
    while "warm-up: nothing-like-it" not in server.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "warm-up: nothing-like-it: model 'nothing-like-it' not found" in server.log()
    assert get(f"{server.url}/") == b"Ollama is running"


def test_a_wish_for_invented_answers_is_warned_about(serve: Serve) -> None:
    server = serve(NPU_PROXY_REAL_INFERENCE="0")
    assert server.log().count("NPU_PROXY_REAL_INFERENCE=0 is ignored") == 1


# --- Not starting ---------------------------------------------------------------------------------------


def test_a_taken_port_is_one_line(tmp_path: Path, event_loop: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        line = only_line(run_to_its_end(tmp_path, "serve", "--port", port, NPU_PROXY_EVENT_LOOP=event_loop))
    assert f"port {port} on 127.0.0.1 is taken" in line


def test_a_taken_port_for_grpc_is_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        variables = {"NPU_PROXY_PORT": "0", "NPU_PROXY_GRPC_PORT": port}
        line = only_line(run_to_its_end(tmp_path, "serve", **variables))
    assert f"gRPC: port {port} on 127.0.0.1 is taken" in line
    assert "NPU_PROXY_GRPC_PORT" in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NPU_PROXY_PORT", "eleven"),
        ("NPU_PROXY_PORT", "70000"),
        ("NPU_PROXY_HOST", "no.such.host.invalid"),
        ("NPU_PROXY_HOST", "192.0.2.1"),
        ("NPU_PROXY_DEVICE", "TPU"),
        ("OLLAMA_KEEP_ALIVE", "soon"),
        ("NPU_PROXY_TRUSTED_NETWORKS", "here"),
    ],
)
def test_nonsense_in_a_variable_is_one_line_that_names_it(tmp_path: Path, variable: str, value: str) -> None:
    line = only_line(run_to_its_end(tmp_path, "serve", **{"NPU_PROXY_PORT": "0", variable: value}))
    assert variable in line
    assert value in line


def test_nonsense_in_a_flag_is_one_line_that_names_the_flag(tmp_path: Path) -> None:
    assert "--token-limit: 'many'" in only_line(run_to_its_end(tmp_path, "serve", "--token-limit", "many"))


@POSIX
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for folder in ("/proc/npuproxy", "/dev/null/npuproxy"):
        line = only_line(run_to_its_end(tmp_path, "serve", NPU_PROXY_DATA_DIR=folder))
        assert folder in line
        assert "NPU_PROXY_DATA_DIR" in line


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    line = only_line(run_to_its_end(tmp_path, "serve", "--log-file", str(tmp_path), NPU_PROXY_PORT="0"))
    assert "NPU_PROXY_LOG_FILE" in line


def test_a_data_folder_inside_the_checkout_is_refused(tmp_path: Path) -> None:
    inside = ROOT / "data"
    line = only_line(run_to_its_end(tmp_path, "serve", NPU_PROXY_DATA_DIR=str(inside)))
    assert "NPU_PROXY_DATA_DIR" in line
    assert not inside.exists()


def test_a_second_server_on_the_same_folder_is_told_where_the_first_is(
    server: RunningServer, tmp_path: Path
) -> None:
    second = run_to_its_end(tmp_path, "serve", NPU_PROXY_PORT="0", NPU_PROXY_DATA_DIR=str(server.data_dir))
    line = only_line(second)
    assert server.url in line
    assert get(f"{server.url}/") == b"Ollama is running"


def test_two_servers_with_folders_and_ports_of_their_own_live_side_by_side(serve: Serve) -> None:
    first, second = serve(), serve()
    assert first.port != second.port
    for server in (first, second):
        with chat(server, stream=False) as response:
            assert json.load(response)["done"]
