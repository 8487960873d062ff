"""`manage.py routes explain --prompt-file F --model M [--header 'X-Priority: high']…`: where a request would run now.

The running server is asked; nothing runs and nothing is loaded by it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from npuproxy import running_server
from registry.management.verb_command import VerbCommand

TIMEOUT_S = 60.0
TERMS = ("priority", "time", "power", "queue", "place", "heat", "quiet")
HEAD = ("", "DEVICE", "SCORE", *(term.upper() for term in TERMS), "BEGINS IN", "ANSWER", "WATTS", "FAULT")
Answer = dict[str, Any]


class Command(VerbCommand):
    help = "Where a request would run now, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(required=True, metavar="VERB")
        explain = verbs.add_parser(
            "explain", help="the candidates with each term of the score, and why the winner won"
        )
        explain.add_argument(
            "--prompt-file", type=Path, required=True, metavar="FILE", help="a text; - reads standard input"
        )
        explain.add_argument("--model", required=True)
        explain.add_argument(
            "--header",
            action="append",
            default=[],
            metavar="'NAME: VALUE'",
            help="of the request; may be repeated",
        )
        self.add_verb(explain, self.explain)

    def explain(self, *, prompt_file: Path, model: str, header: list[str], as_json: bool, **_: Any) -> None:
        answer = _ask({"model": model, "prompt": _text(prompt_file)}, _headers(header))
        if as_json:
            self.print_json(answer)
            return
        why = answer["why"] if answer["why"].endswith((".", "?")) else f"{answer['why']}."
        self.stdout.write(f"{answer['winner'] or 'Nobody'}: {why}")
        self.stdout.write(", ".join(_circumstances(answer)))
        if answer["load_in_background"]:
            self.stdout.write(f"{answer['load_in_background']} would load meanwhile")
        self.stdout.write("")
        self.print_table(HEAD, [_row(answer, one) for one in answer["candidates"]])


def _ask(body: Answer, headers: dict[str, str]) -> Answer:
    server = running_server.find(settings.DATA_DIR)
    if server is None:
        raise CommandError("no server is running: start one with `manage.py serve`, it knows its devices")
    try:
        with server.client(TIMEOUT_S) as client:
            answer = client.post("/routes/explain", json=body, headers=headers)
            found: Answer = answer.json()
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise CommandError(f"the server did not answer: {error}") from error
    if not answer.is_success:
        raise CommandError(str(found.get("error", answer.text)))
    return found


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--prompt-file: {path} cannot be read: {error}") from error


def _headers(given: list[str]) -> dict[str, str]:
    headers = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon or not name.strip().lower().startswith("x-"):
            raise CommandError(f"--header: {one!r} is not 'X-Name: value'")
        headers[name.strip()] = value.strip()
    return headers


def _circumstances(answer: Answer) -> list[str]:
    tokens, mode = answer["prompt_tokens"], answer["mode"]
    counted = "prompt not counted, as only other servers have the model" if tokens is None else ""
    by_chain = f"by the chain {' → '.join(answer['chain'])}" if answer["chain"] else ""
    if answer["target"] and answer["target"] == answer["winner"]:
        by_chain = "as asked for"
    stands_for = "" if mode == answer["effective_mode"] else f" (now {answer['effective_mode']})"
    return [
        counted or f"{tokens} prompt token{'' if tokens == 1 else 's'}",
        *filter(None, ["by score" if answer["rule"] == "score" else by_chain]),
        f"mode {mode}{stands_for}",
        *([f"reason {answer['reason']}"] if answer["reason"] else []),
    ]


def _row(answer: Answer, one: Answer) -> list[str]:
    terms = one["terms"] or {}
    points = [f"{terms[name]:+.0f}" if terms else "-" for name in TERMS]
    over = one["exceeds"]
    fault = ": ".join(filter(None, [one["fault"], one["fault_words"]]))
    if over and not fault:
        fault = f"over its limit: {over['limit']}, {over['figures']}"
    return [
        "→" if one["device"] == answer["winner"] else "",
        one["device"],
        "-" if one["score"] is None else f"{one['score']:.0f}",
        *points,
        "-" if one["fault"] else f"{(one['wait_ms'] + one['load_ms']) / 1000:.1f} s",
        "-" if one["latency_ms"] is None else f"{one['latency_ms'] / 1000:.2f} s {one['latency_from']}",
        "-" if one["watts"] is None else f"{one['watts']:.1f} {one['watts_from']}",
        fault,
    ]
