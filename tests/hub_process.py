"""The tests' hub, started and steered: `Hub` is what the fixture `hub` gives."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from piped import piped

SCRIPT = Path(__file__).with_name("hub_server.py")


class Hub:
    """`url` is what HF_ENDPOINT names; repositories are made in `root` by hub_repositories."""

    def __init__(self, root: Path, url: str, cdn_url: str) -> None:
        self.root = root
        self.url = url
        self.cdn_url = cdn_url

    def fault(self, kind: str, path: str = "", on: str = "any", times: int = -1, **how: Any) -> None:
        """Plan one (hub_server.Faults), for `times` requests whose path has this regular expression in it."""
        self._post({"fault": {"kind": kind, "path": path, "on": on, "times": times, **how}})

    def page(self, size: int) -> None:
        self._post({"page": size})

    def reset(self) -> None:
        """No faults, no requests seen; whoever stalls goes on."""
        self._post({"reset": True})

    def requests(self, path: str = "", on: str = "") -> list[dict[str, Any]]:
        """What it was asked since the last reset: on, method, path, proxied, bytes sent and a few headers."""
        with urllib.request.urlopen(self.url + "/__requests__", timeout=10) as response:
            seen: list[dict[str, Any]] = json.load(response)
        return [one for one in seen if path in one["path"] and on in ("", one["on"])]

    def _post(self, wish: dict[str, Any]) -> None:
        request = urllib.request.Request(self.url + "/__control__", json.dumps(wish).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            response.read()


@contextmanager
def running(root: Path) -> Iterator[Hub]:
    """The process; it ends with this one, whatever happens."""
    with piped([sys.executable, str(SCRIPT), str(root)]) as process:
        assert process.stdout
        yield Hub(root, **json.loads(process.stdout.readline()))
