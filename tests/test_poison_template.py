"""A chat template that never ends or fills the memory: its own requests fail, the others do not notice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ROOT, RunningServer, environment, start_server

_COPIES = """
import hashlib, json, sys
from registry.models import Model
row = Model.objects.get(name="demo:latest")
for name, template in json.load(sys.stdin).items():
    row.pk, row.builtin, row.name, row.template = None, False, f"{name}:latest", template
    row.digest = hashlib.sha256(name.encode()).hexdigest()
    row.save(force_insert=True)
"""

POISON = {
    "endless": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "huge": "{{ 'a' * 10**9 }}",
    "raising": "{{ raise_exception('no') }}",
    "broken": "{% for a in %}",
    "escaping": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
}


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that has, beside `demo`, copies of it with these templates, as a pull or a create would write them."""
    server = start_server(tmp_path_factory.mktemp("poisoned"))
    try:
        server.wait_until_ready()
        variables = environment(server.data_dir.parent / "home", NPU_PROXY_DATA_DIR=str(server.data_dir))
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", _COPIES]
        subprocess.run(
            command, cwd=ROOT, env=variables, input=json.dumps(POISON).encode(), check=True, timeout=60
        )
        yield server
    finally:
        server.stop()


def chat(server: RunningServer, model: str) -> tuple[int, dict[str, Any]]:
    body = {
        "model": model,
        "stream": False,
        "think": False,
        "messages": [{"role": "user", "content": "How do I pull a model?"}],
    }
    request = urllib.request.Request(server.url + "/api/chat", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("name", POISON)
def test_a_poisonous_template_fails_alone(poisoned: RunningServer, name: str) -> None:
    assert chat(poisoned, "demo")[0] == 200
    refused: list[tuple[int, dict[str, Any]]] = []
    threads = [threading.Thread(target=lambda: refused.append(chat(poisoned, name))) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    status, body = chat(poisoned, "demo")
    assert (status, bool(body["message"]["content"])) == (200, True)
    for thread in threads:
        thread.join()
    assert {status for status, _ in refused} == {400}, refused
    assert all("template" in body["error"] for _, body in refused)
    assert chat(poisoned, "demo")[0] == 200
