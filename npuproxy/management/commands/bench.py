"""`manage.py bench`: the server beside the bare openvino_genai pipeline, in one run.

It starts a server of its own with its own data folder and a free port. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from msgspec import structs

from inference import bench, bench_embedding, bench_table
from inference.bench import Row
from inference.bench_models import BENCH_NAME, Subject
from inference.bench_rows import Stage
from inference.bench_sides import BenchError
from inference.errors import InferenceError
from npuproxy import (
    bench_arguments,
    bench_bare,
    bench_forward,
    bench_frames,
    bench_grpc,
    bench_litellm,
    bench_memory,
    bench_page,
    bench_profile,
    bench_registry,
    bench_routing,
    bench_seed,
    bench_stream,
    bench_upstream,
    bench_waiting,
    bench_wire,
    running_server,
    startup,
)
from npuproxy.bench_server import ServerTarget
from registry import folder, names
from registry.models import Model

ROWS: tuple[Row, ...] = (
    Row((bench_memory.IDLE_MEMORY, bench_memory.IDLE_CPU), bench_memory.idle),
    *bench.ROWS,
    Row((bench_embedding.BATCHES_FLOAT, bench_embedding.BATCHES_BASE64), bench_embedding.batches_openai),
    Row((bench_memory.UNREAD,), bench_memory.unread),
    Row((bench_memory.UNREAD_STREAM,), bench_memory.unread_stream),
)
TABLES = {
    "": ROWS,
    "--registry": bench_registry.ROWS,
    "--wire": (*bench_wire.ROWS, bench_grpc.ROW),
    "--page": bench_page.ROWS,
    "--routing": (
        *bench_routing.ROWS,
        *bench_forward.ROWS,
        bench_litellm.ROW,
        bench_frames.ROW,
        *bench_waiting.ROWS,
    ),
}
"""By the flag that asks for it."""
README = Path(__file__).resolve().parents[3] / "README.md"


class Command(BaseCommand):
    help = "Measure the server side by side with the bare openvino_genai pipeline."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        bench.add_arguments(parser, [row for rows in TABLES.values() for row in rows])
        other = parser.add_mutually_exclusive_group()
        other.add_argument(
            "--registry",
            action="store_true",
            help=f"instead: a registry of {bench_registry.MODELS:,} models and {bench_registry.DOWNLOADS:,} downloads "
            "beside one of two models",
        )
        other.add_argument(
            "--wire", action="store_true", help="instead: what each dialect adds to a token of a stream"
        )
        other.add_argument("--page", action="store_true", help="instead: what open status pages cost")
        other.add_argument(
            "--routing", action="store_true", help="instead: what the choice of a device and forwarding cost"
        )
        parser.add_argument(
            "--litellm",
            type=Path,
            metavar="COMMAND",
            help="with --routing: its proxy is measured beside ours",
        )
        parser.add_argument(
            "--write", type=Path, metavar="README.md", help="put the table there, between its markers"
        )
        parser.add_argument(
            "--check", action="store_true", help="only: is the README's table one of this command"
        )
        other.add_argument(
            "--profile",
            metavar="MODEL",
            help="instead: requests of several lengths to the running server, on each --device or on all, so that it "
            "knows what to expect of them",
        )
        bench_arguments.add(parser)
        parser.add_argument("--register", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
        parser.add_argument("--seed", nargs=2, type=int, help=argparse.SUPPRESS)
        parser.add_argument("--serve-counted", type=Path, help=argparse.SUPPRESS)
        parser.add_argument("--serve-stream", action="store_true", help=argparse.SUPPRESS)
        parser.add_argument("--serve-upstream", action="store_true", help=argparse.SUPPRESS)
        parser.add_argument("--serve-bare", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--serve-frames", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--serve-grpc", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--serve-wire", type=int, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["artefact"]:
                bench_arguments.run(self, options)
            elif options["register"]:
                name, path = options["register"]
                register(name, Path(path))
            elif options["seed"]:
                self.stdout.write(seed(*options["seed"]))
            elif options["serve_counted"]:
                bench_registry.serve_counted(
                    options["serve_counted"], lambda: startup.serve(time.monotonic())
                )
            elif options["serve_stream"]:
                bench_stream.serve()
            elif options["serve_frames"]:
                bench_stream.serve(bench_frames.application(options["serve_frames"]))
            elif options["serve_upstream"]:
                bench_upstream.serve()
            elif options["serve_bare"]:
                bench_bare.serve(options["serve_bare"])
            elif options["serve_grpc"]:
                bench_grpc.serve(options["serve_grpc"])
            elif options["serve_wire"]:
                bench_stream.serve(bench_wire.application(options["serve_wire"]))
            elif options["profile"]:
                self._profile(options)
            elif options["check"]:
                self._check()
            else:
                self._measure(options)
        except (BenchError, InferenceError) as error:
            raise CommandError(str(error)) from error

    def _profile(self, options: dict[str, Any]) -> None:
        server = running_server.find(settings.DATA_DIR)
        if server is None:
            raise BenchError("no server is running: start one with `manage.py serve`, its figures are wanted")
        done = bench_profile.profile(server, options["profile"], options["device"])
        if options["as_json"]:
            self.stdout.write(msgspec.json.format(msgspec.json.encode(done), indent=2).decode())
        else:
            rows = [bench_profile.HEAD, *(bench_profile.row(one) for one in done)]
            widths = [max(len(row[column]) for row in rows) for column in range(len(bench_profile.HEAD))]
            for row in rows:
                cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
                self.stdout.write("  ".join(cells).rstrip())
        if all(one.fault for one in done):
            sys.exit(1)

    def _measure(self, options: dict[str, Any]) -> None:
        table = next((flag for flag in TABLES if flag and options[flag[2:]]), "")
        rows = TABLES[table]
        for name in set(options["rows"] or ()) - {row.name for row in rows}:
            (home,) = (other for other, found in TABLES.items() if name in {row.name for row in found})
            hint = f"with {home}" if home else f"without {table}"
            raise CommandError(f"measured {hint} only: {name}")
        whole = not (options["rows"] or table)
        if options["write"] and (not whole or options["quick"]):
            raise CommandError(
                "--write wants the whole table: without --rows, --registry, --wire, --page, --routing and --quick"
            )
        report = bench.measure(self._stage(options), bench.chosen(rows, options["rows"]))
        if options["write"]:
            bench_table.write(options["write"], report)
        self.stdout.write(bench_table.json_of(report) if options["as_json"] else bench_table.text(report))
        if report.failures:
            sys.exit(1)

    def _stage(self, options: dict[str, Any]) -> Stage:
        device, quick = bench.device_of(options["device"]), options["quick"]
        if options["registry"]:
            share = bench_registry.QUICK if quick else 1
            sizes = (bench_registry.MODELS // share, bench_registry.DOWNLOADS // share)
            full = bench_registry.FullServer(device, *sizes)
            return Stage(full, [], quick, bench.say)
        if options["routing"]:
            return Stage(bench_forward.ForwardServer(device, options["litellm"]), [], quick, bench.say)
        if options["page"]:
            return Stage(ServerTarget({}, device), [], quick, bench.say)
        if options["wire"]:
            return Stage(bench_wire.NoServer({}, device), [], quick, bench.say)
        folders = bench.folders(options["cache"])
        subjects = [Subject(name, spec_row(name, path).spec(), device) for name, path in folders.items()]
        return Stage(ServerTarget({BENCH_NAME: folders[BENCH_NAME]}, device), subjects, quick, bench.say)

    def _check(self) -> None:
        quantities = [quantity for row in ROWS for quantity in row.quantities]
        if faults := bench_table.check(README, quantities):
            raise CommandError(
                "\n".join([f"{README.name}: the benchmark's table is not the command's", *faults])
            )


def spec_row(name: str, path: Path) -> Model:
    """The row that a folder makes, not saved."""
    facts = structs.asdict(folder.read(path))
    return Model(name=names.parse(name).display, exact=name == "demo", **facts)


def register(name: str, path: Path) -> None:
    """Adds a model's folder to the database of this data folder."""
    call_command("migrate", verbosity=0, interactive=False)
    Model.by_name(names.parse(name)).delete()
    spec_row(name, path).save()


def seed(models: int, downloads: int) -> str:
    """Fills the tables of this data folder; the session of its admin."""
    call_command("migrate", verbosity=0, interactive=False)
    bench_seed.seed(models, downloads)
    return bench_seed.admin_session()
