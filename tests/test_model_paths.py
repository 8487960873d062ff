"""CHAT_MODEL_PATH and EMBEDDING_MODEL_PATH: folders that are models of the server from its start, where they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Serve
from engines import BUILTIN

from registry import folder, in_place
from registry.models import Model


def copied(name: str, target: Path) -> Path:
    """A built-in model as somebody else has it: without SHA256SUMS."""
    shutil.copytree(BUILTIN / name, target)
    (target / folder.SUMS).unlink()
    return target


def test_both_answer_under_the_names_of_their_folders(serve: Serve, tmp_path: Path) -> None:
    chat, embedding = copied("demo", tmp_path / "My Chat"), copied("all-minilm", tmp_path / "vectors")
    server = serve(NPU_PROXY_DEVICE="CPU", CHAT_MODEL_PATH=str(chat), EMBEDDING_MODEL_PATH=str(embedding))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        listed = {model["name"] for model in client.get("/api/tags").json()["models"]}
        assert {"my-chat:latest", "vectors:latest"} <= listed
        wish = {
            "prompt": "How do I pull a model?",
            "think": False,
            "stream": False,
            "options": {"temperature": 0},
        }
        said = [
            client.post("/api/generate", json={"model": model, **wish}).json()["response"]
            for model in ("my-chat", "demo")
        ]
        assert said[0] == said[1] != ""
        given = [
            client.post("/api/embed", json={"model": model, "input": "one text"}).json()["embeddings"]
            for model in ("vectors", "all-minilm")
        ]
        assert given[0] == given[1]
        client.request("DELETE", "/api/delete", json={"model": "vectors"})
    assert (embedding / "openvino_model.bin").is_file()


def test_what_a_model_s_modules_say_of_normalising_does_not_count(serve: Serve, tmp_path: Path) -> None:
    plain = copied("all-minilm", tmp_path / "plain")
    modules = json.loads((plain / "modules.json").read_text("utf-8"))
    kept = [module for module in modules if not module["type"].endswith("Normalize")]
    assert len(kept) == len(modules) - 1
    (plain / "modules.json").write_text(json.dumps(kept), "utf-8")
    server = serve(NPU_PROXY_DEVICE="CPU", EMBEDDING_MODEL_PATH=str(plain))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for path, text, name in (
            ("/api/embed", "input", "embeddings"),
            ("/v1/embeddings", "input", "data"),
            ("/api/embeddings", "prompt", "embedding"),
        ):
            given = [
                client.post(path, json={"model": model, text: "one text"}).raise_for_status().json()[name]
                for model in ("plain", "all-minilm")
            ]
            assert given[0] == given[1] != []


def test_a_path_that_is_no_model_is_named_and_the_server_starts_without_it(
    serve: Serve, tmp_path: Path
) -> None:
    half = copied("demo", tmp_path / "half")
    (half / "openvino_tokenizer.bin").unlink()
    server = serve(CHAT_MODEL_PATH=str(half), EMBEDDING_MODEL_PATH=str(tmp_path / "nowhere"))
    log = server.log()
    assert f"CHAT_MODEL_PATH={half} is not used: 'half' lacks openvino_tokenizer.bin; export it again" in log
    assert f"EMBEDDING_MODEL_PATH={tmp_path / 'nowhere'} is not used: 'nowhere' does not exist" in log
    listed = httpx.get(f"{server.url}/api/tags").json()["models"]
    assert {model["name"] for model in listed} == {"demo:latest", "all-minilm:latest"}


@pytest.fixture
def given(settings: Any, tmp_path: Path) -> Path:
    """What CHAT_MODEL_PATH names."""
    settings.MODEL_PATH = tmp_path / "models"
    settings.CHAT_MODEL_PATH = copied("demo", tmp_path / "mine")
    settings.EMBEDDING_MODEL_PATH = None
    return Path(settings.CHAT_MODEL_PATH)


@pytest.mark.django_db(transaction=True)
def test_at_later_starts_nothing_is_read_again_until_it_changed(given: Path) -> None:
    assert in_place.sync_folders() == ["mine:latest"]
    before = Model.objects.get().modified_at
    assert in_place.sync_folders() == []
    assert Model.objects.get().modified_at == before
    (given / "generation_config.json").write_text('{"eos_token_id": 2, "top_k": 3}')
    (given / folder.SUMS).unlink()
    assert in_place.sync_folders() == ["mine:latest"]
    assert Model.objects.get().modified_at > before


@pytest.mark.django_db(transaction=True)
def test_a_folder_that_moved_is_followed_and_one_that_shares_a_name_is_not(
    given: Path, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_place.sync_folders()
    other = tmp_path / "elsewhere" / "mine"
    shutil.copytree(given, other)
    settings.CHAT_MODEL_PATH = other
    assert in_place.sync_folders() == []
    assert "has the name of the model 'mine:latest'; rename the folder" in caplog.text
    assert Model.objects.get().path == str(given)
    shutil.rmtree(given)
    assert in_place.sync_folders() == ["mine:latest"]
    assert Model.objects.get().path == str(other)


@pytest.mark.django_db(transaction=True)
def test_a_gguf_file_is_refused_with_the_way_out(
    given: Path, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHAT_MODEL_PATH = tmp_path / "m.gguf"
    settings.CHAT_MODEL_PATH.write_bytes(b"GGUF")
    assert in_place.sync_folders() == []
    assert 'is no folder of OpenVINO IR; make one of it with "manage.py models import"' in caplog.text
