"""`manage.py pullmodel NAME…`: fetch models, with or without a running server.

The command claims the pull's row and does the work itself; where a server or another command is at it already, it shows
how that goes. Exit codes: 0 all are there, 1 a pull failed, 130 interrupted (the next pull goes on from there).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from inference.errors import InferenceError
from registry import pull_plan, pull_run, pull_state, pulls, tables
from registry.models import Download
from registry.pull_bars import Bars
from registry.pull_state import PullState
from registry.repository_files import human_size

LOOK_S = 0.1
CLAIM_EVERY_S = 1.0
AWAY_S = 60.0
"""A database that does not answer for so long ends the command; the pull is kept."""
DEVICES = ("NPU", "GPU", "CPU")


class Command(BaseCommand):
    help = "Fetch models from the hub, by short name, org/repo or hf.co/org/repo, each also with @revision."
    requires_system_checks = ()  # they would import the server

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "names", nargs="+", metavar="NAME", help="qwen3:4b, org/repo, hf.co/org/repo, org/repo@rev"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="size, licence, files and verdict; fetches nothing"
        )
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print JSON on standard output"
        )
        parser.add_argument(
            "--device", default="", type=str.upper, choices=DEVICES, help="take the build that is made for it"
        )
        parser.add_argument(
            "--token", default="", help="for gated repositories; HF_TOKEN is not seen by other users"
        )
        parser.add_argument("--revision", default="", help="branch, tag or commit of a repository")
        parser.add_argument(
            "--cancel", action="store_true", help="end the pulls of these names and remove their files"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("registry").setLevel(
            logging.ERROR
        )  # what the log says, the bars and messages say too
        tables.prepare()
        if options["cancel"]:
            self._each(options, self._cancel)
        elif options["dry_run"]:
            self._each(options, self._plan)
        else:
            with _signals() as self._interrupted:
                self._each(options, self._pull)

    def _each(self, options: dict[str, Any], work: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        """Every name in turn, whatever becomes of those before it."""
        results = []
        for name in options["names"]:
            try:
                results.append(work(name, options))
            except InferenceError as error:
                results.append({"name": name, "state": "failed", "error": str(error)})
                self.stderr.write(f"{name}: {error}")
        if options["as_json"]:
            self.stdout.write(json.dumps(results, indent=2, ensure_ascii=False))
        failed = sum(bool(result.get("error")) for result in results)
        if failed:
            raise CommandError(f"{failed} of {len(results)} did not succeed")

    def _plan(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        wish = {field: options[field] for field in ("token", "device", "revision")}
        found = pull_plan.plan(name, **wish)
        if not options["as_json"]:
            self.stdout.write("\n".join(pull_plan.lines(found)))
        return found.json()

    def _cancel(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        download = pulls.active_of_text(name)
        if download is None:
            raise InferenceError(f"no pull of '{name}' is active")
        pulls.cancel(download)
        if not options["as_json"]:
            self.stdout.write(f"{download.name}: cancelled")
        return {"name": download.name, "state": "cancelled"}

    def _pull(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        wish = {field: options[field] for field in ("token", "device", "revision")}
        download = pulls.request(name, **wish)
        state = (
            pull_state.of(download) if download.pk is None else Follower(download, self._interrupted).follow()
        )
        if state.state != "done":
            error = state.error or f"the pull was {state.state}"
            self.stderr.write(f"{state.name}: {error}")
            return _result(state) | {"error": error}
        if not options["as_json"]:
            what = (
                "ships with the program"
                if download.pk is None
                else f"{human_size(state.total_bytes)} from {state.repo}"
            )
            self.stdout.write(f"{state.name} is installed: {what}")
        return _result(state)


class Follower:
    """Sees one pull to its end: works on it if nobody does, shows how far it is."""

    def __init__(self, download: Download, interrupted: threading.Event) -> None:
        self._download = download
        self._owner = pulls.owner_name()
        self._stop = interrupted
        self._thread: threading.Thread | None = None
        self._tried_at = 0.0
        self._away_since = 0.0

    def follow(self) -> PullState:
        """The state it ended in. Raises KeyboardInterrupt after the work has stopped in good order."""
        state = pull_state.of(self._download)
        with Bars() as bars:
            while True:
                state = self._look(state)
                bars.show(state)
                if not state.is_active or self._stop.wait(LOOK_S):
                    break
        if self._thread is not None:
            self._thread.join()
        state = pull_state.read(self._download.pk)
        if self._stop.is_set() and state.state != "done":
            _say_how_to_go_on(state, self._thread is not None)
            raise KeyboardInterrupt
        return state

    def _look(self, before: PullState) -> PullState:
        """What the row says; as before while the database is locked or away."""
        try:
            self._claim()
            state = pull_state.read(self._download.pk)
        except DatabaseError:
            connection.close()
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since > AWAY_S:
                raise
            return before
        self._away_since = 0.0
        return state

    def _claim(self) -> None:
        """Also when its owner died while we looked on, or when this process slept past its own lease."""
        now = time.monotonic()
        at_work = self._thread is not None and self._thread.is_alive()
        if at_work or (self._tried_at and now - self._tried_at < CLAIM_EVERY_S):
            return
        self._tried_at = now
        claimed = pulls.claim(self._owner, self._download.pk)
        if claimed is not None:
            self._thread = threading.Thread(target=self._work, args=(claimed,), daemon=True)
            self._thread.start()

    def _work(self, claimed: Download) -> None:
        try:
            pull_run.work(claimed, self._stop, on_stop=pull_run.interrupt)
        finally:
            connection.close()


def _say_how_to_go_on(state: PullState, mine: bool) -> None:
    if mine:
        said = f"stopped at {state.share:.0%}; what is here is kept: `manage.py pullmodel {state.name}` goes on from it"
    else:
        said = f"no longer shown; another process goes on with it ({state.share:.0%})"
    sys.stderr.write(f"\n{state.name}: {said}\n")


def _result(state: PullState) -> dict[str, Any]:
    return {
        "name": state.name,
        "repo": state.repo,
        "commit": state.commit,
        "state": state.state,
        "size_bytes": state.total_bytes,
        "elapsed_s": round(state.elapsed_s, 3),
    }


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set by Ctrl-C and SIGTERM; asked a second time the process ends at once, and the lease with it.

    An exception would not do: raised in a finaliser, of a bar say, it is printed and forgotten.
    """
    wanted = threading.Event()

    def stop(*_: object) -> None:
        if wanted.is_set():
            os._exit(130)
        wanted.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wanted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
