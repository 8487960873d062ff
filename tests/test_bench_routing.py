"""`bench --routing` measures the choice of a device, and what forwarding and frames cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_command import run
from msgspec import structs

from inference.modes import MODES, Mode
from inference.routing import choose
from inference.scoring import Cost, Readings, score, terms, weighing
from npuproxy.bench_routing import ASKED, CANDIDATES, CHOOSE


def test_choices_among_twenty_and_the_plan_around_them_are_measured(tmp_path: Path) -> None:
    done = run(tmp_path, "--routing", "--quick", "--json", "--rows", "choose", "plan")
    assert done.returncode == 0, done.stderr[-3000:]
    whole = json.loads(done.stdout)
    assert whole["failures"] == []
    choices = [row for row in whole["rows"] if row["name"] == "choose"]
    assert [row["what"] for row in choices] == [quantity.what for quantity in CHOOSE.values()]
    assert {row["aim"] for row in choices} == {"≤ 50 µs"}
    assert all(0 < row["min"] <= row["median"] for row in whole["rows"])
    assert not (tmp_path / "data" / "npuproxy.sqlite3").exists(), "the user's data folder was left alone"


@pytest.mark.slow
def test_forwarding_and_frames_are_measured_beside_asking_directly(tmp_path: Path) -> None:
    rows = ["forward", "forward-cpu", "forward-translated", "frames"]
    done = run(tmp_path, "--routing", "--quick", "--json", "--rows", *rows)
    assert done.returncode == 0, done.stderr[-3000:]
    whole = json.loads(done.stdout)
    assert whole["failures"] == []
    assert list(dict.fromkeys(row["name"] for row in whole["rows"])) == rows
    assert all(row["median"] > 0 for row in whole["rows"] if row["name"] in ("forward-cpu", "frames"))


@pytest.mark.parametrize("case", ASKED)
def test_each_measured_choice_is_one_among_all_twenty(case: str) -> None:
    assert len(CANDIDATES) == 20
    answer = choose(ASKED[case], CANDIDATES)
    fitting = [one for one in CANDIDATES if one.limit_tokens > ASKED[case].prompt_tokens]
    assert {choice.device for choice in answer.choices} == {one.device for one in fitting}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize(("urgent", "sparing"), [(False, False), (True, False), (False, True)])
def test_the_score_is_the_sum_of_the_terms_that_people_are_shown(
    mode: Mode, urgent: bool, sparing: bool
) -> None:
    weights = weighing(mode, urgent=urgent, sparing=sparing)
    readings = Readings(celsius=80.0, fan_percent=35.0, utilization_percent=95.0)
    for kind in ("npu", "igpu", "dgpu", "cpu"):
        cost = Cost(
            kind=kind, local=True, delay_s=0.5, latency_s=0.7, watts=21.0, priority=5, queue=3, readings=readings
        )  # fmt: skip
        assert score(cost, weights) == pytest.approx(sum(structs.astuple(terms(cost, weights))))
