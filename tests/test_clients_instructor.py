"""Instructor, unmodified, over OpenAI's client and Anthropic's: tests/clients/instructor/."""

from __future__ import annotations

from typing import Any

import client_scenarios
import pytest
from client_scenarios import ScenarioError, Scenarios
from conftest import RunningServer


@pytest.fixture(scope="module")
def instructor(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Scenarios:
    home = tmp_path_factory.mktemp("instructor")
    return client_scenarios.run("instructor", "instructor_scenarios.py", server.url, home)


def check(weather: dict[str, Any]) -> None:
    assert weather["city"] in ("Paris", "Rome")
    assert -50 <= weather["degrees"] <= 50


@pytest.mark.parametrize("mode", ["json_schema", "awaited", "tools", "anthropic_tools"])
def test_an_answer_becomes_an_object_of_the_class(instructor: Scenarios, mode: str) -> None:
    check(instructor[mode])


def test_json_mode_gets_an_object(instructor: Scenarios) -> None:
    assert isinstance(instructor["json"], dict)


def test_the_object_grows_while_the_answer_streams(instructor: Scenarios) -> None:
    parts = instructor["partial"]
    assert len(parts) > 5
    assert parts[0] == {"city": None, "degrees": None}
    check(parts[-1])
    assert parts[-1] == instructor["json_schema"]


def test_the_completion_comes_beside_the_object(instructor: Scenarios) -> None:
    weather, tokens = instructor["with_completion"]
    check(weather)
    assert tokens > 5


def test_an_unknown_model_is_told_in_the_server_s_words(instructor: Scenarios) -> None:
    with pytest.raises(ScenarioError, match=r"404.*model 'nope' not found"):
        instructor["unknown_model"]
