"""The benchmark's results: as a table to read, as JSON, and as the table of a README that can be checked."""

from __future__ import annotations

import datetime
import os
import platform
import re
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
import psutil
from msgspec import Struct

from inference.bench_sides import BenchError

BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
HEAD = ("what", "aim", "measured", "spread", "sides", "holds")
_PRECISION = {"": 3, "µs": 1, "ms": 2, "s": 3, "MB": 1, "%": 2, "tok/s": 0}
_NUMBER = r"-?\d+(?:\.\d+)?"


class Aim(Struct, frozen=True):
    bound: float
    at_most: bool = True


class Quantity(Struct, frozen=True, kw_only=True):
    """One line of the table: what is measured, in which unit, and what is wanted of it (None: nothing)."""

    name: str
    what: str
    unit: Literal["", "µs", "ms", "s", "MB", "%"] = ""
    aim: Aim | None = None

    def shown(self, value: float) -> str:
        return f"{value:.{_PRECISION[self.unit]}f}" + (f" {self.unit}" if self.unit else "")

    def aim_shown(self) -> str:
        if self.aim is None:
            return "–"
        return f"{'≤' if self.aim.at_most else '≥'} {self.aim.bound:g}" + (
            f" {self.unit}" if self.unit else ""
        )

    def holds(self, value: float) -> bool | None:
        """Of the value as shown, so that a reader of the table comes to the same end."""
        if self.aim is None:
            return None
        rounded = round(value, _PRECISION[self.unit])
        return rounded <= self.aim.bound if self.aim.at_most else rounded >= self.aim.bound


class Result(Struct, frozen=True, kw_only=True):
    """`value` is the median (or the difference of percentiles that `what` names); `low`, `high`: spread."""

    quantity: Quantity
    value: float
    low: float
    high: float
    rounds: int
    sides: str = ""
    """What the two sides measured by themselves."""
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool | None:
        return self.quantity.holds(self.value)


class Failure(Struct, frozen=True):
    """A row that could not be measured."""

    row: str
    reason: str


class Report(Struct, frozen=True, kw_only=True):
    results: tuple[Result, ...]
    failures: tuple[Failure, ...]
    machine: str
    versions: str
    date: str
    busy: float
    """Share of the cores that other processes took before the start."""
    quick: bool


def of_rounds(
    quantity: Quantity, values: Sequence[float], sides: str = "", notes: Sequence[str] = ()
) -> Result:
    """The median of the rounds with their extremes. Raises BenchError when there is none."""
    if not values:
        raise BenchError("; ".join(notes) or "no round could be measured")
    return Result(
        quantity=quantity,
        value=statistics.median(values),
        low=min(values),
        high=max(values),
        rounds=len(values),
        sides=sides,
        notes=tuple(notes),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: one of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """Processor, cores, memory and system; never the machine's name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {cores} cores, {memory:.0f} GB, {platform.system()}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def versions() -> str:
    packages = ("openvino-genai", "daphne", "twisted")
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    )


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


# --- to read ------------------------------------------------------------------------------------------------


def text(report: Report) -> str:
    rows = [HEAD, *(_cells(result) for result in report.results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [f"  {result.quantity.name}: {note}" for result in report.results for note in result.notes]
    lines += [f"  {failure.row}: not measured: {failure.reason}" for failure in report.failures]
    return "\n".join([*lines, "", _footer(report)])


def json_of(report: Report) -> str:
    rows = [
        {
            "name": result.quantity.name,
            "what": result.quantity.what,
            "unit": result.quantity.unit,
            "aim": result.quantity.aim_shown() if result.quantity.aim else None,
            "median": result.value,
            "min": result.low,
            "max": result.high,
            "rounds": result.rounds,
            "sides": result.sides,
            "holds": result.holds,
            "notes": list(result.notes),
        }
        for result in report.results
    ]
    whole = {
        "rows": rows,
        "failures": [msgspec.to_builtins(failure) for failure in report.failures],
        "machine": report.machine,
        "versions": report.versions,
        "date": report.date,
        "busy": report.busy,
        "quick": report.quick,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()


def _cells(result: Result) -> tuple[str, ...]:
    quantity = result.quantity
    spread = f"{quantity.shown(result.low)} … {quantity.shown(result.high)} ({result.rounds})"
    holds = {True: "yes", False: "no", None: "–"}[result.holds]
    return (
        quantity.what,
        quantity.aim_shown(),
        quantity.shown(result.value),
        spread,
        result.sides or "–",
        holds,
    )


def _footer(report: Report) -> str:
    busy = (
        f" Other processes took {report.busy:.0%} of the cores at the start." if report.busy >= 0.02 else ""
    )
    return (
        f"Medians, with extremes and the number of rounds in brackets. {report.machine}; {report.versions}; "
        f"{report.date}.{busy}"
    )


# --- in a README --------------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, ("---",) * len(HEAD))]
    lines += [f"| {' | '.join(_cells(result))} |" for result in report.results]
    return "\n".join([*lines, "", _footer(report)])


def write(path: Path, report: Report) -> None:
    """Puts the table between the markers. Raises BenchError when they are not there."""
    before, _, after = _parts(path)
    path.write_text(f"{before}{BEGIN}\n{markdown(report)}\n{END}{after}", "utf-8")


def check(path: Path, quantities: Sequence[Quantity]) -> list[str]:
    """What could not come from the command: other rows, aims, units, or a verdict that its figure denies."""
    _, table, _ = _parts(path)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    if len(rows) < 3 or rows[0] != HEAD:
        return [f"{path.name} has no table between {BEGIN} and {END}"]
    faults: list[str] = []
    found = {row[0]: row for row in rows[2:]}
    for quantity in quantities:
        row = found.pop(quantity.what, None)
        if row is None:
            faults.append(f"row missing: {quantity.what}")
        elif fault := _fault(quantity, row):
            faults.append(f"{quantity.what}: {fault}")
    return faults + [f"row not of the benchmark: {what}" for what in found]


def _fault(quantity: Quantity, row: tuple[str, ...]) -> str:
    if len(row) != len(HEAD):
        return "not six cells"
    _, aim, measured, spread, _, holds = row
    unit = f" {quantity.unit}" if quantity.unit else ""
    value = re.fullmatch(f"({_NUMBER}){re.escape(unit)}", measured)
    bounds = re.fullmatch(f"({_NUMBER}){re.escape(unit)} … ({_NUMBER}){re.escape(unit)} \\(\\d+\\)", spread)
    if aim != quantity.aim_shown():
        return f"the aim is {quantity.aim_shown()}, not {aim}"
    if value is None or bounds is None:
        return f"'{measured}' and '{spread}' are no measurement in this unit"
    expected = {True: "yes", False: "no", None: "–"}[quantity.holds(float(value[1]))]
    return "" if holds == expected else f"'{holds}' where {measured} means '{expected}'"


def _parts(path: Path) -> tuple[str, str, str]:
    try:
        whole = path.read_text("utf-8")
    except OSError as error:
        raise BenchError(f"{path.name} cannot be read ({error.strerror})") from None
    found = re.fullmatch(f"(.*){BEGIN}(.*?){END}(.*)", whole, re.DOTALL)
    if found is None:
        raise BenchError(f"{path.name} has no {BEGIN} … {END}")
    return found[1], found[2], found[3]
