"""Who starts next on a device, as a table and under any arrivals; and as requests see it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from conftest import RunningServer
from hypothesis import given
from hypothesis import strategies as st
from server_rows import eventually

from inference.waiting_line import Line, level

BEST_EFFORT, NORMAL, HIGH, CRITICAL = range(4)


@dataclass
class Someone:
    name: str
    priority: int
    since: float = 0.0


def order(*waiting: Someone, now: float) -> str:
    line: Line[Someone] = Line()
    for someone in waiting:
        line.add(someone)
    return "".join(line.take(now).name for _ in waiting)


@pytest.mark.parametrize(
    ("priority", "waited_s", "risen"),
    [
        (BEST_EFFORT, 0, BEST_EFFORT),
        (BEST_EFFORT, 4.9, BEST_EFFORT),
        (BEST_EFFORT, 5, NORMAL),
        (BEST_EFFORT, 10, HIGH),
        (BEST_EFFORT, 1000, HIGH),
        (NORMAL, 5, HIGH),
        (HIGH, 1000, HIGH),
        (CRITICAL, 0, CRITICAL),
        (CRITICAL, 1000, CRITICAL),
    ],
)
def test_waiting_lifts_by_a_level_each_five_seconds_and_never_to_critical(
    priority: int, waited_s: float, risen: int
) -> None:
    assert level(Someone("a", priority), waited_s) == risen


@pytest.mark.parametrize(
    ("case", "waiting", "now", "wanted"),
    [
        ("one level: who came first", [("a", NORMAL, 0), ("b", NORMAL, 1), ("c", NORMAL, 2)], 3, "abc"),
        ("the urgent first", [("a", BEST_EFFORT, 0), ("b", NORMAL, 1), ("c", CRITICAL, 2)], 3, "cba"),
        ("an aged one has caught up, and came first", [("a", NORMAL, 0), ("b", HIGH, 6)], 6, "ab"),
        ("an aged one has not caught up yet", [("a", BEST_EFFORT, 0), ("b", HIGH, 6)], 6, "ba"),
        ("age never passes a critical one", [("a", BEST_EFFORT, 0), ("b", CRITICAL, 50)], 50, "ba"),
        (
            "an old one has every fourth start",
            [("a", BEST_EFFORT, 0), ("b", BEST_EFFORT, 1), *((name, CRITICAL, 61) for name in "cdefgh")],
            61,
            "cdeafghb",
        ),
    ],
)
def test_the_order_of_starts(
    case: str, waiting: list[tuple[str, int, float]], now: float, wanted: str
) -> None:
    assert order(*(Someone(*one) for one in waiting), now=now) == wanted, case


def test_who_leaves_is_not_started() -> None:
    line: Line[Someone] = Line()
    stays, leaves = Someone("a", NORMAL), Someone("b", CRITICAL)
    line.add(stays)
    line.add(leaves)
    assert line.remove(leaves)
    assert not line.remove(leaves)
    assert line.take(1.0) is stays
    assert len(line) == 0


@given(st.lists(st.integers(BEST_EFFORT, CRITICAL), max_size=40))
def test_nobody_waits_for_ever_beside_a_stream_of_critical_ones(priorities: list[int]) -> None:
    """One start a second, and each second another critical request."""
    line: Line[Someone] = Line()
    for priority in priorities:
        line.add(Someone("first", priority))
    left = len(priorities)
    for second in range(60 + 4 * len(priorities) + 4):
        line.add(Someone("later", CRITICAL, float(second)))
        left -= line.take(float(second)).name == "first"
    assert left == 0


# --- over HTTP --------------------------------------------------------------------------------------------


@dataclass
class Answered:
    priority: str
    first_byte_at: float
    asked_at: float
    queue_ms: float


def ask(server: RunningServer, **headers: str) -> Answered:
    """An answer of some hundred tokens on the NPU."""
    body: dict[str, Any] = {
        "model": "demo",
        "prompt": "count",
        "think": False,
        "options": {"temperature": 1000, "top_k": 0, "top_p": 1, "num_predict": 200},
    }
    wishes = {"X-NPU-Proxy-Device": "NPU", "X-Target-Strict": "true", **headers}
    asked_at = time.monotonic()
    with httpx.stream("POST", f"{server.url}/api/generate", json=body, headers=wishes, timeout=120) as answer:
        first_byte_at = time.monotonic()
        assert answer.status_code == 200, answer.read()
        assert [*answer.iter_lines()][-1].endswith("}")
    name = headers.get("X-Priority", headers.get("X-Media-Type", "normal"))
    return Answered(name, first_byte_at, asked_at, float(answer.headers["X-NPU-Proxy-Queue-Ms"]))


def test_a_critical_request_starts_next_and_all_the_others_are_answered(npu_server: RunningServer) -> None:
    ask(npu_server)
    with ThreadPoolExecutor(24) as pool:
        crowd = [pool.submit(ask, npu_server, **{"X-Priority": "best-effort"}) for _ in range(20)]
        eventually(lambda: any(one.done() for one in crowd))
        urgent = pool.submit(ask, npu_server, **{"X-Priority": "critical"})
        live = pool.submit(ask, npu_server, **{"X-Media-Type": "realtime"})
        answers = [one.result(120) for one in (*crowd, urgent, live)]
    asked_at = min(answers[-1].asked_at, answers[-2].asked_at)
    after = sorted(
        (one for one in answers if one.first_byte_at > asked_at), key=lambda one: one.first_byte_at
    )
    assert {"critical", "realtime"} <= {one.priority for one in after[:4]}, [one.priority for one in after]
    assert len(after) > 6, "the crowd was still waiting"
    assert len(answers) == 22


def test_the_time_in_line_is_told_truly(npu_server: RunningServer) -> None:
    ask(npu_server)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(npu_server), range(6)))
    assert min(one.queue_ms for one in answers) == 0
    assert max(one.queue_ms for one in answers) > 0
    for one in answers:
        assert one.queue_ms / 1000 <= one.first_byte_at - one.asked_at
