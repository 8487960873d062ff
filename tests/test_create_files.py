"""POST /api/create of files that were sent: IR is taken as it is, GGUF becomes IR, and what is no model is refused."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import gguf_models
import httpx
import ollama
import pytest
from conftest import RunningServer
from modelfiles import MINILM, create, delete, digests, files_of, manage, refused, said_by, send, show
from server_rows import eventually
from wire_clients import native

from compat_api import creating
from inference.errors import InferenceTimeout, QueueFull
from registry.creation import Recipe


def test_a_model_of_files_that_were_sent_answers_as_the_files_do(server: RunningServer) -> None:
    lines = create(server, model="shown-files", files=files_of(server, MINILM, "mark"))
    assert any(line["status"].startswith("using existing layer sha256:") for line in lines)
    client = native(server.url)
    assert client.embed("shown-files", "text").embeddings == client.embed("all-minilm", "text").embeddings
    shown = show(server, "shown-files")
    assert (shown["capabilities"], shown["details"]["parent_model"]) == (["embedding"], "")
    damaged = manage(server, "models", "verify", "shown-files")
    assert damaged.returncode == 0, damaged.stdout
    delete(server, "shown-files")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config.json": "sha256:" + "0" * 64}, "was not sent; POST it to /api/blobs/sha256:000"),
        ({"config.json": "nonsense"}, "invalid digest format"),
        ({"../evil": "sha256:" + "0" * 64}, "'../evil' is no name of a file in a model's folder"),
        ({"/etc/evil": "sha256:" + "0" * 64}, "is no name of a file"),
        ({"a/b/c": "sha256:" + "0" * 64}, "is no name of a file"),
        ({".hidden": "sha256:" + "0" * 64}, "is no name of a file"),
        ({"C:\\evil": "sha256:" + "0" * 64}, "is no name of a file"),
        ({"openvino_model.bin": None}, "'files' lacks openvino_model.bin"),
        ({"config.json": None}, "'files' has no config.json"),
    ],
)
def test_files_that_are_no_model_are_refused_by_name(
    server: RunningServer, change: dict[str, str | None], words: str
) -> None:
    files = {**files_of(server, MINILM, "mark"), **change}
    status, error = refused(
        server, model="shown-bad", files={name: digest for name, digest in files.items() if digest}
    )
    assert (status, words in error) == (400, True), error
    assert "shown-bad:latest" not in digests(server)
    assert not list((server.data_dir / "models").glob("shown-bad*"))
    assert not list((server.data_dir / "models" / ".staging").glob("create-*"))
    assert not list(server.data_dir.rglob("evil"))


def test_a_gguf_file_becomes_a_model_that_answers_as_it_would(server: RunningServer, tmp_path: Path) -> None:
    content = gguf_models.write_demo(tmp_path / "Demo-F16.gguf").read_bytes()
    digest = send(server, content)
    lines = create(server, model="shown-gguf", files={"Demo-F16.gguf": digest}, system="Be brief.")
    assert {"status": "converting: checking"} in lines
    shown = show(server, "shown-gguf")
    assert (shown["details"]["format"], shown["system"]) == ("gguf", "Be brief.")
    assert said_by(server, "shown-gguf")
    create(server, model="shown-gguf-2", files={"Demo-F16.gguf": digest})
    assert httpx.head(f"{server.url}/api/blobs/{digest}").status_code == 200, (
        "another client may be about to use it"
    )
    blob = server.data_dir / "models" / ".blobs" / digest.replace(":", "-")
    os.utime(blob, (0, 0))
    create(server, model="shown-gguf-2", **{"from": "demo"})
    assert not blob.exists(), "what nobody asked for in an hour is not kept"
    delete(server, "shown-gguf")
    delete(server, "shown-gguf-2")


def test_a_truncated_gguf_file_is_no_model(server: RunningServer, tmp_path: Path) -> None:
    content = gguf_models.write_demo(tmp_path / "Demo-F16.gguf").read_bytes()
    body = {"model": "shown-half", "files": {"half.gguf": send(server, content[: len(content) // 2])}}
    answer = httpx.post(f"{server.url}/api/create", json=body, timeout=120)
    assert "half.gguf" in json.loads(answer.text.splitlines()[-1])["error"]
    assert "shown-half:latest" not in digests(server)
    assert not list((server.data_dir / "models" / ".staging").glob("create-*"))


def test_a_precision_that_files_cannot_have_is_refused(server: RunningServer, tmp_path: Path) -> None:
    digest = send(server, gguf_models.write_demo(tmp_path / "Demo-F16.gguf").read_bytes())
    status, error = refused(server, model="shown-bad", files={"a.gguf": digest}, quantize="q4_K_M")
    assert (status, "gguf files keep their precision" in error) == (400, True), error


def test_a_client_that_leaves_a_conversion_stops_it(server: RunningServer, tmp_path: Path) -> None:
    digest = send(server, gguf_models.write_demo(tmp_path / "Demo-F16.gguf").read_bytes())
    body = {"model": "shown-left", "files": {"a.gguf": digest}}
    staging = server.data_dir / "models" / ".staging"
    with httpx.stream("POST", f"{server.url}/api/create", json=body, timeout=120) as stream:
        assert "using existing layer" in next(stream.iter_lines())
        assert list(staging.glob("create-*"))
    eventually(lambda: not list(staging.glob("create-*")))
    assert "shown-left:latest" not in digests(server)
    assert httpx.head(f"{server.url}/api/blobs/{digest}").status_code == 200, "for the next try"


def test_the_official_client_sends_files_and_makes_a_model_of_them(
    server: RunningServer, tmp_path: Path
) -> None:
    client = native(server.url)
    (tmp_path / "NOTES.md").write_text("sent by the official client")
    digest = client.create_blob(tmp_path / "NOTES.md")
    files = {**files_of(server, MINILM, "x"), "NOTES.md": digest}
    assert client.create(model="shown-sent", files=files).status == "success"
    assert client.embed("shown-sent", "text").embeddings == client.embed("all-minilm", "text").embeddings
    assert "shown-sent:latest" in {model.model for model in client.ps().models}
    assert client.delete("shown-sent").status == "success"
    with pytest.raises(ollama.ResponseError, match="model 'shown-sent' not found") as caught:
        client.delete("shown-sent")
    assert caught.value.status_code == 404


def test_one_more_than_the_line_takes_is_asked_to_come_again_and_the_deadline_ends_a_wait() -> None:
    async def first(line: creating.Line) -> str:
        async with asyncio.timeout(30), aclosing(creating.statuses(recipe, line)) as said:
            return await anext(said)

    recipe = Recipe(name="never", source="demo")
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(QueueFull):
            asyncio.run(first(creating.Line(threads, deadline_s=60.0, most=0)))
        held = threading.Event()
        threads.submit(held.wait)
        with pytest.raises(InferenceTimeout, match=r"'never' was not made within 0\.05 s"):
            asyncio.run(first(creating.Line(threads, deadline_s=0.05, most=1)))
        held.set()
