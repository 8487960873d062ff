"""`bench embeddings`, `bench tokenizer` and `bench compare`: their options, and what they print."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from inference import bench
from inference.bench_sides import BenchError
from npuproxy import bench_artefact, bench_compare, own_server
from registry import tables

GUARDRAILS: Final = ("digest", "tokens", "rate")


def add(parser: CommandParser) -> None:
    artefacts = parser.add_subparsers(dest="artefact", metavar="embeddings | tokenizer | compare")
    embeddings = artefacts.add_parser(
        "embeddings", help="an artefact of latencies and vectors by size of batch"
    )
    embeddings.add_argument("--model", default="all-minilm")
    embeddings.add_argument("--batches", nargs="+", type=_count, default=[1, 2, 4, 8], metavar="N")
    embeddings.add_argument("--repeat", type=_count, default=3, metavar="N")
    embeddings.add_argument(
        "--device", default="", type=str.upper, help="default: the one that requests prefer; it is named"
    )
    tokenizer = artefacts.add_parser("tokenizer", help="an artefact of the tokenizer's rate over a corpus")
    tokenizer.add_argument("--model", default="all-minilm")
    tokenizer.add_argument("--repeat", type=_count, default=5, metavar="N")
    tokenizer.add_argument(
        "--corpus", type=Path, metavar="FILE", help="a text a line; default: eight sentences of ours"
    )
    for made in (embeddings, tokenizer):
        made.add_argument(
            "--output",
            type=Path,
            default=bench_artefact.RESULTS,
            metavar="PATH",
            help="where it is written: a folder, under a name with its time, or a .json that is not there yet",
        )
    compare = artefacts.add_parser(
        "compare", help="an old artefact and a new one; exit status 1 outside the guardrails"
    )
    compare.add_argument("old", type=Path, metavar="OLD")
    compare.add_argument("new", type=Path, metavar="NEW")
    compare.add_argument("--only", nargs="+", choices=GUARDRAILS, default=GUARDRAILS, help="these guardrails")
    for one in (embeddings, tokenizer, compare):
        one.add_argument("--json", action="store_true", dest="as_json", help="print JSON")


def _count(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 1000")
    return int(text)


def run(command: BaseCommand, options: dict[str, Any]) -> None:
    """Raises BenchError and InferenceError."""
    try:
        if options["artefact"] != "compare":
            tables.prepare()  # any command may be the first to run
        _RUN[options["artefact"]](command, options)
    except (own_server.NotStarted, OSError, UnicodeDecodeError) as error:
        raise BenchError(str(error)) from error


def _embeddings(command: BaseCommand, options: dict[str, Any]) -> None:
    bench_artefact.place(options["output"])
    made = bench_artefact.embeddings(
        options["model"], options["batches"], options["repeat"], options["device"], bench.say
    )
    _keep(command, options, made)
    if not options["as_json"]:
        for row in made["batches"]:
            times = row["latency_ms"]
            command.stdout.write(
                f"{row['batch']:>4} at once   {times['mean']:>8.2f} ms  p50 {times['p50']:.2f}  p95 {times['p95']:.2f}"
                f"{row['texts_per_sec']:>11.1f} texts/s   {row['tokens_per_sec']:>9.1f} tokens/s"
            )
        command.stdout.write(f"on {made['device']}; digest {made['digest']}")


def _tokenizer(command: BaseCommand, options: dict[str, Any]) -> None:
    bench_artefact.place(options["output"])
    made = bench_artefact.tokenizer(options["model"], options["repeat"], options["corpus"], bench.say)
    _keep(command, options, made)
    if not options["as_json"]:
        command.stdout.write(f"{made['total_tokens']} tokens, {made['tokens_per_sec']:,.0f} tokens/s")


def _keep(command: BaseCommand, options: dict[str, Any], made: dict[str, Any]) -> None:
    path = bench_artefact.path_of(made, options["output"])
    text = json.dumps(made, indent=2, ensure_ascii=False)
    with path.open("x", encoding="utf-8") as file:  # no earlier one is ever lost
        file.write(text + "\n")
    command.stdout.write(text if options["as_json"] else f"written: {path}")


def _compare(command: BaseCommand, options: dict[str, Any]) -> None:
    pair = (bench_compare.read(options["old"]), bench_compare.read(options["new"]))
    wanted = {*options["only"], bench_compare.BATCHES}
    found = [row for row in bench_compare.compare(*pair) if row.guardrail in wanted]
    if options["as_json"]:
        command.stdout.write(json.dumps([row._asdict() for row in found], indent=2, ensure_ascii=False))
    else:
        shown = {True: command.style.SUCCESS("holds"), False: command.style.ERROR("FAILS"), None: " note"}
        for name, holds, words in found:
            command.stdout.write(f"{shown[holds]}  {name:<7} {words}")
    if any(row.holds is False for row in found):
        sys.exit(1)


_RUN: Final[dict[str, Callable[[BaseCommand, dict[str, Any]], None]]] = {
    "embeddings": _embeddings,
    "tokenizer": _tokenizer,
    "compare": _compare,
}
