"""The rows of models that come and go: load, swap, and the next answer after a worker was killed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from inference.bench_models import Subject
from inference.bench_rows import QUESTION, Stage
from inference.bench_sides import BenchError, Call, Trace
from inference.bench_table import Aim, Quantity, Result, of_rounds
from inference.errors import LoadFailed
from inference.memory import default_budget

LOAD = Quantity(name="load", what="load of `demo` with the spare worker", unit="s", aim=Aim(0.5))
KILL = Quantity(name="kill", what="next answer after a worker was killed (`demo`)", unit="s", aim=Aim(1))
SWAP = Quantity(
    name="swap", what="swap of two models that do not fit together − bare load", unit="s", aim=Aim(0.3)
)
ANSWER_TOKENS = 16
GIVE_UP_S = 20.0


def _bare_load_s(subject: Subject) -> float:
    side = subject.bare("step")
    side.close()
    return side.load_s


def load(stage: Stage) -> list[Result]:
    """The first round is on a fresh server, which has not read the tokenizer yet."""
    stage.clear()
    stage.target.start()
    ours: list[float] = []
    theirs: list[float] = []
    for index in range(stage.sizes.rounds):
        stage.say(f"load: round {index + 1} of {stage.sizes.rounds}")
        stage.target.settle()
        ours.append(stage.target.load("demo"))
        stage.target.unload("demo")
        theirs.append(_bare_load_s(stage.demo))
    sides = f"{statistics.median(ours):.3f} / {statistics.median(theirs):.3f} s"
    return [of_rounds(LOAD, ours, sides, [f"the first one {ours[0]:.3f} s"])]


def kill(stage: Stage) -> list[Result]:
    """From the kill to the end of the next whole answer; a request that fails is sent again at once."""
    stage.clear()
    stage.target.load("demo")
    call = stage.demo.call(QUESTION, ANSWER_TOKENS)
    times: list[float] = []
    failed: list[str] = []
    for index in range(stage.sizes.rounds):
        stage.say(f"kill: round {index + 1} of {stage.sizes.rounds}")
        stage.run([call])
        stage.target.settle()
        began = time.perf_counter()
        stage.target.kill_worker("demo")
        answer, errors = _next_answer(stage, call)
        times.append(time.perf_counter() - began)
        failed += errors
        if not answer.tokens:
            raise BenchError("the answer after the kill is empty")
    notes = [f"{len(failed)} requests failed before it, the first with: {failed[0]}"] if failed else []
    return [of_rounds(KILL, times, notes=notes)]


def _next_answer(stage: Stage, call: Call) -> tuple[Trace, list[str]]:
    """The first request that succeeds, and how the others failed."""
    errors: list[str] = []
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        (trace,) = stage.target.run([call])
        if not trace.error:
            return trace, errors
        errors.append(trace.error)
        time.sleep(0.01)
    raise BenchError(f"no answer within {GIVE_UP_S:g} s after the kill: {errors[-1]}")


def swap(stage: Stage) -> list[Result]:
    """Both directions; the line shows the one that costs more."""
    stage.clear()
    budget = _tight_budget(stage.bench, stage.demo)
    stage.target.start(budget)
    stage.target.load(stage.demo.name)
    extra: dict[str, list[float]] = {stage.bench.name: [], stage.demo.name: []}
    sides: dict[str, list[str]] = {name: [] for name in extra}
    for index in range(stage.sizes.rounds):
        stage.say(f"swap: round {index + 1} of {stage.sizes.rounds}")
        for subject in (stage.bench, stage.demo):
            bare_s = _bare_load_s(subject)
            stage.target.settle()
            ours_s = stage.target.load(subject.name)
            extra[subject.name].append(ours_s - bare_s)
            sides[subject.name].append(f"{ours_s:.3f} / {bare_s:.3f} s")
    stage.target.start()
    name = max(extra, key=lambda key: statistics.median(extra[key]))
    middle = sorted(range(len(extra[name])), key=lambda index: extra[name][index])[len(extra[name]) // 2]
    medians = ", ".join(f"{statistics.median(values):.3f} s to {key}" for key, values in extra.items())
    return [of_rounds(SWAP, extra[name], f"to {name}: {sides[name][middle]}", [f"medians: {medians}"])]


def _tight_budget(larger: Subject, smaller: Subject) -> int:
    """Bytes that hold either model, and not both. Raises BenchError."""
    for budget in _steps(default_budget()):
        try:
            costs = [subject.plan(budget).cost_bytes for subject in (larger, smaller)]
        except LoadFailed:
            continue
        if sum(costs) > budget:
            return budget
        break
    raise BenchError("there is no memory budget that holds either model and not both")


def _steps(most: int) -> Iterator[int]:
    step = 16 * 2**20
    return iter(range(step, most, step))
