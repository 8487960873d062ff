"""`python -m inference.bench`: the engine beside the bare openvino_genai pipeline, in one run.

`manage.py bench` runs the same rows through HTTP and adds those of the server. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import platformdirs
import psutil
from msgspec import Struct

from inference import bench_embedding, bench_loads, bench_rows, bench_table
from inference.bench_models import BENCH_NAME, DEMO, Subject, spec_of
from inference.bench_rows import Stage
from inference.bench_sides import BenchError, Target
from inference.bench_table import Failure, Quantity, Report, Result
from inference.errors import InferenceError


class Row(Struct, frozen=True):
    """Something that is measured in one go: one line of the table or two."""

    quantities: tuple[Quantity, ...]
    measure: Callable[[Stage], list[Result]]

    @property
    def name(self) -> str:
        return self.quantities[0].name


ROWS: tuple[Row, ...] = (
    Row((bench_loads.LOAD,), bench_loads.load),
    Row((bench_loads.KILL,), bench_loads.kill),
    Row((bench_rows.DECODE,), bench_rows.decode),
    Row((bench_rows.DECODE_DEMO,), bench_rows.decode_demo),
    Row((bench_rows.TTFT_P50, bench_rows.TTFT_P99), bench_rows.ttft),
    Row((bench_rows.TTFT_DEMO_P50, bench_rows.TTFT_DEMO_P99), bench_rows.ttft_demo),
    Row((bench_rows.STREAMS_16,), bench_rows.streams),
    Row((bench_rows.PREFIX,), bench_rows.prefix),
    Row((bench_rows.NEIGHBOUR,), bench_rows.neighbour),
    Row((bench_loads.SWAP,), bench_loads.swap),
    Row((bench_embedding.BATCHES,), bench_embedding.batches),
    Row((bench_embedding.MANY,), bench_embedding.many),
    Row((bench_embedding.ONE,), bench_embedding.one),
)


def add_arguments(parser: argparse.ArgumentParser, rows: Iterable[Row]) -> None:
    names = [row.name for row in rows]
    parser.add_argument(
        "--rows", nargs="+", choices=names, metavar="NAME", help=f"only these: {', '.join(names)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds: shows that it works, measures little"
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    parser.add_argument(
        "--device", nargs="+", default=[], help="CPU (the default), GPU, GPU.1…; both sides run there"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=platformdirs.user_cache_path("npuproxy-bench", appauthor=False),
        help="where the generated model is kept",
    )


def device_of(named: Sequence[str]) -> str:
    """The one that is measured. Raises BenchError for several."""
    if len(named) > 1:
        raise BenchError("--device: one device is measured at a time")
    return named[0] if named else "CPU"


def subjects_of(folders: dict[str, Path], device: str) -> list[Subject]:
    """`demo` and the generated model, as the engine takes them."""
    return [
        Subject(name, spec_of(folder, name, exact=name == "demo"), device) for name, folder in folders.items()
    ]


def folders(cache: Path) -> dict[str, Path]:
    """Model name -> folder; generates the large one if it is not there yet."""
    from inference.builtin.generate_bench_model import ensure_bench_model

    say(f"the generated model is kept in {cache}")
    return {"demo": DEMO, BENCH_NAME: ensure_bench_model(cache)}


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def measure(stage: Stage, rows: Sequence[Row]) -> Report:
    """Every row, one after the other; one that cannot be measured does not stop the others."""
    busy = psutil.cpu_percent(2.0) / 100
    results: list[Result] = []
    failures: list[Failure] = []
    try:
        stage.target.start()
        for row in rows:
            try:
                measured = row.measure(stage)
            except (BenchError, InferenceError) as error:
                say(f"{row.name}: not measured: {error}")
                failures.append(Failure(row.name, str(error)))
                continue
            for result in measured:
                say(f"{result.quantity.what}: {result.quantity.shown(result.value)}")
            results += measured
    finally:
        stage.clear()
        stage.target.stop()
    return Report(
        results=tuple(results),
        failures=tuple(failures),
        machine=bench_table.machine(),
        versions=bench_table.versions(),
        date=bench_table.today(),
        busy=busy,
        quick=stage.quick,
    )


def chosen(rows: Iterable[Row], names: Sequence[str] | None) -> list[Row]:
    return [row for row in rows if not names or row.name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.bench", description=__doc__)
    add_arguments(parser, ROWS)
    options = parser.parse_args(arguments)
    try:
        device = device_of(options.device)
        subjects = subjects_of(folders(options.cache), device)
        target: Target = _engine_target(subjects, device)
        report = measure(Stage(target, subjects, options.quick, say), chosen(ROWS, options.rows))
    except BenchError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    print(bench_table.json_of(report) if options.as_json else bench_table.text(report))
    return 1 if report.failures else 0


def _engine_target(subjects: Sequence[Subject], device: str) -> Target:
    from inference.bench_engine import EngineTarget

    return EngineTarget(subjects, device)


if __name__ == "__main__":
    sys.exit(main())
