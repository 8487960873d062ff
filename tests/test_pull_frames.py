"""The frames of /api/pull while nothing new happens."""

from __future__ import annotations

from typing import Any

import pytest

from compat_api.ollama.pull import Frames
from registry.pull_state import FileState, PullState

DIGEST = "ab" * 32


def state(phase: str, *files: FileState) -> PullState:
    return PullState(
        id=1,
        name="m:latest",
        repo="a/m",
        commit="",
        state="running",
        phase=phase,
        files=files,
        total_bytes=sum(file.size_bytes for file in files),
        completed_bytes=sum(file.completed_bytes for file in files),
        rate=None,
        elapsed_s=9.0,
        error="",
        error_code="",
    )


@pytest.mark.parametrize(
    ("look", "frame"),
    [
        (state("manifest"), {"status": "pulling manifest"}),
        (state("convert"), {"status": "converting to OpenVINO IR"}),
        (state("verify"), {"status": "verifying sha256 digest"}),
        (
            state("files", FileState("a", 4, "cd" * 32, 4), FileState("b", 9, DIGEST, 3)),
            {"status": "pulling abababababab", "digest": f"sha256:{DIGEST}", "total": 9, "completed": 3},
        ),
        (state("files", FileState("b", 9, "", 3)), {"status": "pulling manifest"}),
    ],
)
def test_the_last_word_is_said_again_in_every_phase(look: PullState, frame: dict[str, Any]) -> None:
    frames = Frames()
    frames.of(look)
    assert frames.of(look) == []
    assert frames.still(look) == frame
