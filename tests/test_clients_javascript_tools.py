"""The helpers of OpenAI's and Anthropic's JavaScript clients that call tools by themselves, unmodified."""

from __future__ import annotations

import json
import subprocess

import javascript_clients
import pytest
from conftest import RunningServer


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_the_helper_calls_the_tool_and_streams_what_it_said(server: RunningServer, client: str) -> None:
    done = subprocess.run(
        [*javascript_clients.installed(), "run_tools.mjs", client, server.url],
        cwd=javascript_clients.FOLDER,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout)
    assert outcome["called"] == ["Paris"]
    assert "sunny" in outcome["said"]
    assert outcome["streamed"] == outcome["said"]
