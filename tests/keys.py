"""Keys for tests: made by the command in a server's data folder, and held in memory for the gate alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from conftest import ROOT, RunningServer, environment

from registry.key import Key, hashed

SECRETS = {scope: f"npk_{scope:x<43}" for scope in ("infer", "manage", "admin")}


class Ring:
    """These keys and no database: (secret, key)."""

    def __init__(self, *keys: tuple[str, Key]) -> None:
        self._keys = {hashed(secret.encode()): key for secret, key in keys}

    def find(self, secret: bytes) -> Key | None:
        return self._keys.get(hashed(secret))

    async def refresh(self) -> None:
        pass


def ring_of_scopes() -> Ring:
    """A key for each scope, its secret in SECRETS."""
    named = enumerate(SECRETS.items())
    return Ring(*((secret, Key(id=i, name=scope, scope=scope)) for i, (scope, secret) in named))


def apikey(server: RunningServer, *arguments: str) -> Any:
    """`manage.py apikey … --json` beside the running server."""
    variables = {"NPU_PROXY_DATA_DIR": str(server.data_dir)}
    command = [sys.executable, "manage.py", "apikey", *arguments, "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(server.data_dir.parent / "home", **variables),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
