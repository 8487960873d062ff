"""A model that looks at images, in the registry: its files, its facts, a pull of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import hub_repositories
import pytest
import vision_models
import wire_clients
from conftest import RunningServer
from hub_process import Hub
from pictures import ABOUT, QUESTION, picture

from inference.errors import ModelDamaged
from registry import folder, ir, repository_files, sources
from registry.hub_errors import NoModelFiles
from registry.refusals import ImportRefused
from registry.repository_files import Entry

REPO = "tiny/eyes"


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision_models.make(tmp_path_factory.mktemp("models") / "eyes")


def test_the_facts_are_those_of_its_language(eyes: Path) -> None:
    found = folder.read(eyes)
    assert (found.kind, found.family) == ("chat", "llava")
    assert found.capabilities == ["completion", "tools", "vision", "thinking"]
    assert (found.context_length, found.quantization) == (4096, "INT8")
    assert (found.block_count, found.head_count_kv, found.head_length) == (4, 2, 64)
    assert found.parameter_count > 2_600_000


def test_the_shape_of_the_cache_is_read_where_the_configuration_leaves_it_out(
    eyes: Path, tmp_path: Path
) -> None:
    """LLaVA's names no more of its language than its kind and its vocabulary."""
    copy = shutil.copytree(eyes, tmp_path / "eyes")
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["text_config"] = {"model_type": "qwen2", "vocab_size": 2560}
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    found = folder.read(copy)
    assert (found.block_count, found.head_count_kv, found.head_length) == (4, 2, 64)
    assert found.context_length == 32_768


def test_a_part_that_is_missing_is_named(eyes: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(eyes, tmp_path / "eyes")
    part = "openvino_vision_embeddings_model.xml"
    (copy / part).unlink()
    with pytest.raises(ImportRefused, match=f"lacks {part}"):
        sources.check_ir(copy, [path.name for path in copy.iterdir()])
    with pytest.raises(ModelDamaged, match=part):
        folder.read(copy)


def entries(*names: str) -> list[Entry]:
    return [Entry(name=name, size=10, sha256="a" * 64, blob_id="") for name in names]


def chosen(*names: str) -> list[str]:
    _, found = repository_files.choose("org/repo", entries(*names), variant="", limit_bytes=10**9)
    return [entry.name for entry in found]


PARTS = tuple(ir.files({"openvino_language_model.xml"}))
TOKENIZERS = tuple(
    f"openvino_{kind}.{end}" for kind in ("tokenizer", "detokenizer") for end in ("xml", "bin")
)
BESIDE = ("config.json", "preprocessor_config.json", "chat_template.jinja")


def test_every_part_of_such_a_repository_is_fetched_and_no_other_file() -> None:
    more = ("openvino_vision_embeddings_merger_model.xml", "openvino_vision_embeddings_merger_model.bin")
    others = ("pytorch_model.bin", "processing_eyes.py", "openvino_model.onnx", "pictures/cat.png")
    wanted = (*PARTS, *TOKENIZERS, *BESIDE, *more)
    assert chosen(*wanted, *others) == sorted(wanted)


def test_half_of_such_a_repository_is_refused() -> None:
    for name in PARTS[1:]:
        with pytest.raises(NoModelFiles, match=rf"openvino_language_model\.xml without {name}"):
            chosen(*(part for part in PARTS if part != name), *TOKENIZERS, *BESIDE)


def test_it_is_pulled_and_sees(hub_server: RunningServer, hub: Hub, eyes: Path) -> None:
    files: dict[str, Path | bytes] = {
        path.name: path for path in sorted(eyes.iterdir()) if path.name != "SHA256SUMS"
    }
    hub_repositories.publish(hub.root, REPO, files)
    client = wire_clients.native(hub_server.url)
    client.pull(REPO)
    assert "vision" in (client.show(REPO).capabilities or [])
    answer = client.generate(
        REPO, QUESTION, images=[picture("blue")], think=False, options={"temperature": 0}
    )
    assert ABOUT["blue"] in (answer.response or "")
