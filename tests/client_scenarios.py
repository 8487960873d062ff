"""Client libraries in environments of their own, since their versions exclude ours: `make test-clients` installs them.

A script of ordinary user code for one of them stands in tests/clients/<name>/; run_scenarios.py calls its functions
in that environment. Where the environment is missing or older than its lock file, the tests are skipped and say so;
with CI set, they fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import environment
from wire_clients import native

FOLDER = Path(__file__).with_name("clients")
SCRIPT_S = 240
_BINARIES, _SUFFIX = ("Scripts", ".exe") if sys.platform == "win32" else ("bin", "")
_OWN_SETTINGS = ("OPENAI_", "ANTHROPIC_", "LANGCHAIN_", "LANGSMITH_", "LITELLM_", "LLM_")
"""Prefixes of variables that would send a client elsewhere."""


class ScenarioError(Exception):
    """What a scenario raised: its class, its words, the HTTP status if there was one."""

    def __init__(self, raised: dict[str, Any]) -> None:
        super().__init__(raised["traceback"])
        self.name: str = raised["class"]
        self.message: str = raised["message"]
        self.status: int | None = raised["status"]


@dataclass(frozen=True)
class Scenarios:
    """What the functions of one script came to."""

    outcomes: dict[str, dict[str, Any]]

    def __getitem__(self, name: str) -> Any:
        """What that function returned, as JSON has it; raises ScenarioError if it raised."""
        outcome = self.outcomes[name]
        if "raised" in outcome:
            raise ScenarioError(outcome["raised"])
        return outcome["value"]


def run(client: str, script: str, url: str, home: Path, **variables: str) -> Scenarios:
    """Run a script of tests/clients/<client>/ against the server at `url`."""
    files = (Path(__file__).with_name("run_scenarios.py"), FOLDER / client / script)
    command = [str(part) for part in (command_of(client, "python"), *files, url)]
    done = subprocess.run(
        command,
        env=user_environment(home, **variables),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SCRIPT_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Scenarios(json.loads(done.stdout.splitlines()[-1]))


def user_environment(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a user who has told no client anything but `variables`."""
    kept = environment(home, **variables)
    return {
        name: value for name, value in kept.items() if name in variables or not name.startswith(_OWN_SETTINGS)
    }


def command_of(client: str, name: str) -> Path:
    """A command in the client's environment. Skips the test where that is not installed, except with CI set."""
    venv = FOLDER / ".venvs" / client
    stamp = venv / "requirements.txt.sha256"
    wanted = hashlib.sha256((FOLDER / client / "requirements.txt").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        words = f"{client} is not as tests/clients/{client}/requirements.txt has it; `make test-clients` installs it"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return venv / _BINARIES / f"{name}{_SUFFIX}"


def told(url: str, question: list[dict[str, str]]) -> str:
    """What Ollama's own client is told, with which the others' answers are compared."""
    said = native(url).chat("demo", question, think=False, options={"temperature": 0, "num_predict": 60})
    assert said.message.content
    return said.message.content
