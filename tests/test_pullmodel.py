"""`manage.py pullmodel` as people run it: on a terminal, in a script, interrupted, beside a server and without one."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import hub_repositories as repositories
import pytest
from conftest import RunningServer
from data_folders import ROOT, environment, furnish
from hub_process import Hub
from pull_streams import frames, models, opened, until, until_bytes, until_ended, until_row

WEIGHTS = "openvino_model.bin"
SIZE = 16 * 1024**2
BLOCK = 1024**2
SLOW = 8 * 1024**2
LINUX = pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals and SIGINT are not on Windows")


class Home:
    """A user's data folder and hub, and the command in it."""

    def __init__(self, data_dir: Path, hub: Hub, **variables: str) -> None:
        self.data_dir = data_dir
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._variables = {"NPU_PROXY_DATA_DIR": str(data_dir), "HF_ENDPOINT": hub.url, **variables}

    def start(self, *arguments: str, **how: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how
        command = [sys.executable, "manage.py", "pullmodel", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(self.data_dir.parent, **self._variables), **pipes
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What it printed on both streams."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        assert process.returncode == code, err
        return out, err

    def rows(self, table: str) -> list[dict[str, Any]]:
        try:
            with closing(
                sqlite3.connect(f"file:{self.data_dir}/npuproxy.sqlite3?mode=ro", timeout=10, uri=True)
            ) as database:
                database.row_factory = sqlite3.Row
                return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY id")]
        except sqlite3.OperationalError:  # not made yet
            return []

    def models(self) -> set[str]:
        return {row["name"] for row in self.rows("registry_model") if not row["builtin"]}

    def until_completed(self, at_least: int) -> int:
        """How many bytes the last pull has come to."""

        def look() -> int:
            done = [row["completed_bytes"] for row in self.rows("registry_download")]
            return done[-1] if done and done[-1] >= at_least else 0

        return until(look)


@pytest.fixture
def home(tmp_path: Path, hub: Hub) -> Home:
    furnish(tmp_path / "data")
    return Home(tmp_path / "data", hub)


def interrupted(process: subprocess.Popen[str]) -> str:
    """What it said after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    return err


# --- Alone --------------------------------------------------------------------------------------------------


def test_a_script_gets_json_and_lines_that_say_how_far_it_is(tmp_path: Path, hub: Hub) -> None:
    """The first thing that ever runs for this user."""
    home = Home(tmp_path / "data", hub)
    commit = repositories.chat(hub.root, "cli/chat")
    out, err = home.run("cli/chat", "all-minilm", "--json")
    pulled, shipped = json.loads(out)
    assert pulled["name"] == "cli/chat:latest"
    assert (pulled["repo"], pulled["commit"], pulled["state"]) == ("cli/chat", commit, "done")
    assert pulled["size_bytes"] > 3_000_000
    assert (shipped["name"], shipped["state"]) == ("all-minilm:latest", "done")
    assert "\x1b" not in err
    assert "\r" not in err
    assert home.models() == {"cli/chat:latest"}


@LINUX
def test_a_terminal_shows_a_bar_for_each_file_and_in_total(home: Home, hub: Hub) -> None:
    repositories.big(hub.root, "cli/bars")
    hub.fault("slow", WEIGHTS, on="cdn", rate=SLOW)
    code, shown = _on_a_terminal(home, "cli/bars", columns=120)
    assert code == 0, shown
    for label in ("cli/bars:latest", f"  {WEIGHTS}", "  openvino_tokenizer.bin"):
        assert re.search(rf"{re.escape(label)}:\s+\d+%\|", shown), label
    shares = {int(share) for share in re.findall(rf"{WEIGHTS}:\s+(\d+)%", shown)}
    assert len(shares) > 5
    assert max(shares) == 100
    assert re.search(r"\[\d\d:\d\d<\d\d:\d\d, +[\d.]+[kM]B/s\]", shown)  # time gone, time left, rate
    assert "cli/bars:latest is installed: 16.7 MB from cli/bars" in shown


@LINUX
def test_a_terminal_without_a_width_gets_lines(home: Home, hub: Hub) -> None:
    """As some containers give: bars of no width would be nothing at all."""
    repositories.chat(hub.root, "cli/narrow")
    hub.fault("slow", WEIGHTS, on="cdn", rate=SLOW // 4)
    code, shown = _on_a_terminal(home, "cli/narrow", columns=0)
    assert code == 0, shown
    assert "cli/narrow:latest: fetches, " in shown
    assert "cli/narrow:latest is installed" in shown


def _on_a_terminal(home: Home, *arguments: str, columns: int) -> tuple[int, str]:
    """The exit code, and all that the terminal was sent."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    process = home.start(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, text=False)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(ours)
    return process.wait(60), shown.decode()


def test_a_dry_run_tells_what_would_come_and_fetches_nothing(home: Home, hub: Hub) -> None:
    repositories.chat(hub.root, "cli/dry", licence="mit")
    out, _ = home.run("--dry-run", "cli/dry")
    for said in ("cli/dry:latest", "3.3 MB in 13 files", "licence   mit", "NPU", "GPU", "CPU", WEIGHTS):
        assert said in out
    (told,) = json.loads(home.run("--dry-run", "--json", "cli/dry")[0])
    assert (told["licence"], told["format"], len(told["files"])) == ("mit", "openvino", 13)
    assert told["verdicts"].keys() == {"NPU", "GPU", "CPU"}
    assert not hub.requests(on="cdn")
    assert not home.rows("registry_download")


def test_names_that_fail_do_not_stop_the_others(home: Home, hub: Hub) -> None:
    repositories.chat(hub.root, "cli/good")
    repositories.without_openvino(hub.root, "cli/pickle")
    out, err = home.run("no-such-model", "cli/pickle", "cli/good", "--json", code=1)
    assert [result["state"] for result in json.loads(out)] == ["failed", "failed", "done"]
    assert "no-such-model" in err
    assert "cli/pickle:latest: cli/pickle has no openvino_model.xml" in err
    assert "2 of 3 did not succeed" in err
    assert home.models() == {"cli/good:latest"}


# --- Interrupted --------------------------------------------------------------------------------------------


@LINUX
def test_an_interrupt_keeps_what_is_here_and_the_next_run_goes_on(home: Home, hub: Hub) -> None:
    repositories.big(hub.root, "cli/stopped")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=6 * BLOCK)
    process = home.start("cli/stopped")
    home.until_completed(6 * BLOCK)
    said = interrupted(process)
    assert re.search(r"cli/stopped:latest: stopped at \d+%; what is here is kept", said)
    assert "`manage.py pullmodel cli/stopped:latest` goes on from it" in said
    (row,) = home.rows("registry_download")
    assert (row["state"], row["error_code"]) == ("failed", "interrupted")
    assert home.models() == set()
    home.run("cli/stopped:latest")
    first, second = hub.requests(WEIGHTS, on="cdn")
    assert 4 * BLOCK <= int(second["Range"].removeprefix("bytes=").removesuffix("-")) < SIZE
    assert SIZE <= first["sent"] + second["sent"] <= SIZE + BLOCK
    assert home.models() == {"cli/stopped:latest"}


@LINUX
def test_an_interrupt_does_not_wait_for_a_hub_that_says_nothing(home: Home, hub: Hub) -> None:
    repositories.big(hub.root, "cli/silent")
    hub.fault("silence", "cli/silent", on="api")
    process = home.start("cli/silent")
    until(lambda: hub.requests("cli/silent", on="api"))
    assert "what is here is kept" in interrupted(process)
    (row,) = home.rows("registry_download")
    assert (row["state"], row["error_code"]) == ("failed", "interrupted")


@LINUX
def test_a_killed_command_is_gone_on_with_when_its_lease_has_ended(tmp_path: Path, hub: Hub) -> None:
    home = Home(tmp_path / "data", hub, NPU_PROXY_PULL_LEASE="1")
    repositories.big(hub.root, "cli/killed")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=6 * BLOCK)
    process = home.start("cli/killed")
    home.until_completed(6 * BLOCK)
    process.kill()
    process.communicate()
    home.run("cli/killed")
    (row,) = home.rows("registry_download")
    assert (row["state"], row["attempts"]) == ("done", 2)
    assert "Range" in hub.requests(WEIGHTS, on="cdn")[-1]


@LINUX
def test_a_command_that_slept_past_its_lease_takes_its_pull_up_again(tmp_path: Path, hub: Hub) -> None:
    home = Home(tmp_path / "data", hub, NPU_PROXY_PULL_LEASE="1")
    repositories.big(hub.root, "cli/asleep")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=6 * BLOCK)
    process = home.start("cli/asleep")
    home.until_completed(6 * BLOCK)
    process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=90)
    assert process.returncode == 0
    assert home.models() == {"cli/asleep:latest"}


# --- Beside a server ----------------------------------------------------------------------------------------


@LINUX
def test_beside_a_server_it_shows_the_servers_pull_and_may_leave(hub_server: RunningServer, hub: Hub) -> None:
    beside = Home(hub_server.data_dir, hub)
    repositories.big(hub.root, "cli/beside")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=6 * BLOCK)
    with opened(hub_server, "cli/beside") as response:
        until_bytes(response, 6 * BLOCK)
        leaving, staying = beside.start("cli/beside"), beside.start("cli/beside", "--json")
        told = threading.Thread(target=lambda: list(frames(response)))
        told.start()
        for process in (leaving, staying):
            assert process.stderr
            assert "cli/beside:latest: fetches" in process.stderr.readline()
        assert "another process goes on with it" in interrupted(leaving)
        hub.reset()
        out, err = staying.communicate(timeout=60)
        told.join()
    assert staying.returncode == 0, err
    assert json.loads(out)[0]["state"] == "done"
    assert until_ended(hub_server, "cli/beside")["attempts"] == 1
    assert len(hub.requests(WEIGHTS, on="cdn")) == 1


@LINUX
def test_a_server_follows_the_commands_pull(hub_server: RunningServer, hub: Hub) -> None:
    beside = Home(hub_server.data_dir, hub)
    repositories.big(hub.root, "cli/first")
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=6 * BLOCK)
    process = beside.start("cli/first")
    owner = until_row(hub_server, "cli/first", lambda row: row["completed_bytes"] > 6 * BLOCK)["owner"]
    with opened(hub_server, "cli/first") as response:
        until_bytes(response, 6 * BLOCK)
        hub.reset()
        assert list(frames(response))[-1] == {"status": "success"}
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "cli/first:latest is installed" in out
    assert until_ended(hub_server, "cli/first")["owner"] == owner
    assert "cli/first:latest" in models(hub_server)
