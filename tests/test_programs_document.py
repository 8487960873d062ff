"""docs/programs.md: what people are told to enter can be read by the programs, and each of them is replayed."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from conftest import ROOT
from replaying import FOLDER, load

PAGE = (ROOT / "docs" / "programs.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
READERS: dict[str, Callable[[str], Any]] = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
HEADINGS = re.findall(r"^## ([\w ]+\w)", PAGE, re.MULTILINE)
CLIENTS = [load(path)["client"] for path in sorted(FOLDER.glob("*.yaml"))]


@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[text.splitlines()[0][:30] for _, text in BLOCKS])
def test_settings_are_readable_and_name_this_server(language: str, text: str) -> None:
    assert "http://127.0.0.1:11435" in text
    if language != "sh":
        assert READERS[language](text)


def test_every_program_is_replayed_and_every_replay_has_its_settings() -> None:
    for heading in HEADINGS:
        assert any(heading in client for client in CLIENTS), f"no replay of {heading}"
    for client in CLIENTS:
        assert any(heading in client for heading in HEADINGS), f"no settings for {client}"
