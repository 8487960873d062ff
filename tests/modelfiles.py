"""What the tests of created models share: the endpoints, files that are sent, a LoRA for the built-in model."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy
import server_rows
from conftest import RunningServer
from engines import BUILTIN
from wire_clients import native

QUESTION = [{"role": "user", "content": "How do I pull a model?"}]
GREEDY = {"temperature": 0, "num_predict": 40}


def create(server: RunningServer, **body: Any) -> list[dict[str, Any]]:
    """The lines of a create that succeeds."""
    answer = httpx.post(f"{server.url}/api/create", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1] == {"status": "success"}, lines
    return lines


def refused(server: RunningServer, **body: Any) -> tuple[int, str]:
    """Status and words of a create that fails before it began."""
    answer = httpx.post(f"{server.url}/api/create", json=body, timeout=120)
    return answer.status_code, answer.json()["error"]


def delete(server: RunningServer, *names: str) -> None:
    for name in names:
        answer = httpx.request("DELETE", f"{server.url}/api/delete", json={"model": name}, timeout=90)
        assert answer.status_code == 200, answer.text


def show(server: RunningServer, name: str, **body: Any) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}/api/show", json={"model": name, **body}, timeout=30)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def chat(
    server: RunningServer, model: str, messages: list[dict[str, str]] = QUESTION, **body: Any
) -> dict[str, Any]:
    wish = {"model": model, "messages": messages, "stream": False, "think": False, "options": GREEDY, **body}
    answer = httpx.post(f"{server.url}/api/chat", json=wish, timeout=120)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def said_by(server: RunningServer, model: str, messages: list[dict[str, str]] = QUESTION) -> str:
    content: str = chat(server, model, messages)["message"]["content"]
    return content


def loaded(server: RunningServer) -> set[str]:
    return {entry["name"] for entry in httpx.get(f"{server.url}/api/ps", timeout=30).json()["models"]}


def send(server: RunningServer, content: bytes) -> str:
    """The digest under which it is there now."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    answer = httpx.post(f"{server.url}/api/blobs/{digest}", content=content, timeout=120)
    assert answer.status_code in (200, 201), answer.text
    return digest


def files_of(server: RunningServer, folder: Path, mark: str) -> dict[str, str]:
    """The files of a built-in model and one more, so that the model has a digest and a worker of its own."""
    lines = (folder / "SHA256SUMS").read_text("utf-8").splitlines()
    digests = {line[66:]: f"sha256:{line[:64]}" for line in lines}
    return {**digests, "NOTES.md": send(server, mark.encode())}


def manage(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`manage.py …` on the data of this server."""
    return server_rows.manage(server.data_dir, *arguments)


def digests(server: RunningServer) -> dict[str, str]:
    return {model.model or "": model.digest or "" for model in native(server.url).list().models}


DEMO_LAYERS = {
    f"base_model.model.model.layers.{layer}.self_attn.{name}": (256, out)
    for layer in range(4)
    for name, out in {"q_proj": 256, "v_proj": 128, "o_proj": 256}.items()
}
"""Of the built-in chat model: columns and rows of the weights."""


def lora(layers: dict[str, tuple[int, int]] = DEMO_LAYERS, strength: float = 0.3, rank: int = 4) -> bytes:
    """A safetensors file as PEFT writes it, of noise."""
    noise = numpy.random.default_rng(0)
    head: dict[str, Any] = {}
    tensors: list[bytes] = []
    at = 0
    for layer, (columns, rows) in layers.items():
        for side, shape in (("A", (rank, columns)), ("B", (rows, rank))):
            data = noise.normal(0, strength, shape).astype("<f4").tobytes()
            head[f"{layer}.lora_{side}.weight"] = {
                "dtype": "F32",
                "shape": list(shape),
                "data_offsets": [at, at + len(data)],
            }
            at += len(data)
            tensors.append(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensors)


DEMO, MINILM = BUILTIN / "demo", BUILTIN / "all-minilm"
