"""Calls every public function of a script that takes just a url; prints what each returned, or raised, as JSON.

    python run_scenarios.py SCRIPT URL

Runs in the environment of the client that SCRIPT is written for, so it imports nothing but Python. Coroutines run on
one event loop, as in a program of one's own (LangChain keeps connections that are bound to it). The last line of output
is one object: {name: {"value": …} or {"raised": {"class", "message", "status", "traceback"}}}.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import runpy
import sys
import traceback
from typing import Any


def main() -> None:
    script, url = sys.argv[1:]
    scenarios = {
        name: found
        for name, found in runpy.run_path(script).items()
        if inspect.isfunction(found)
        and list(inspect.signature(found).parameters) == ["url"]
        and not name.startswith("_")
    }
    with asyncio.Runner() as runner:
        outcomes = {name: outcome(runner, scenario, url) for name, scenario in scenarios.items()}
    print(json.dumps(outcomes))


def outcome(runner: asyncio.Runner, scenario: Any, url: str) -> dict[str, Any]:
    try:
        value = scenario(url)
        return {"value": runner.run(value) if inspect.iscoroutine(value) else value}
    except Exception as error:
        raised = {
            "class": type(error).__name__,
            "message": str(error),
            "status": getattr(error, "status_code", None),
            "traceback": traceback.format_exc(),
        }
        return {"raised": raised}


if __name__ == "__main__":
    main()
