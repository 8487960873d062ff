"""The models that ship with the program: their files, and the rows that are made of them."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry import folder, model_info
from registry.builtin import ROOT, sync_builtin_models
from registry.models import Model, change
from registry.verification import check_files

BOTH = ["all-minilm", "demo"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the built-in folders that a test may change."""
    for name in BOTH:
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def relist(path: Path) -> None:
    """Write SHA256SUMS anew, as the script that makes the model does."""
    names = [line[66:] for line in (path / "SHA256SUMS").read_text().splitlines()]
    lines = [f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (path / "SHA256SUMS").write_text("".join(lines))


@pytest.mark.parametrize("name", BOTH)
def test_every_file_of_a_built_in_model_is_listed_with_its_true_digest(name: str) -> None:
    on_disk = {
        path.relative_to(ROOT / name).as_posix() for path in (ROOT / name).rglob("*") if path.is_file()
    }
    facts = folder.read(ROOT / name)
    assert set(facts.files) == on_disk - {"SHA256SUMS"}
    row = Model(name=f"{name}:latest", path=facts.path, files=facts.files, context_length=1)
    assert [check for check in check_files(row.spec()) if not check.good] == []


@pytest.mark.django_db
def test_the_first_start_makes_a_row_of_each_folder_and_the_next_writes_nothing() -> None:
    assert sync_builtin_models() == ["all-minilm:latest", "demo:latest"]
    stamps = change.stamps()
    with CaptureQueriesContext(connection) as queries:
        assert sync_builtin_models() == []
    assert change.stamps() == stamps
    assert len([query for query in queries if "SELECT" in query["sql"]]) == 1


@pytest.mark.django_db
def test_demo_is_an_exact_chat_model_that_calls_tools_thinks_and_answers_greedily() -> None:
    sync_builtin_models()
    row = Model.objects.get(name="demo:latest")
    spec = row.spec()
    assert (spec.kind, spec.architecture, spec.quantization) == ("chat", "Qwen3ForCausalLM", "INT8")
    assert (spec.context_length, spec.exact) == (4096, True)
    assert spec.capabilities == {"completion", "tools", "thinking"}
    assert spec.parameters.temperature == 0
    assert 2_000_000 <= spec.parameter_count <= 6_000_000
    assert spec.size_bytes <= 8_000_000
    assert spec.kv_bytes_per_token == 2 * 4 * row.block_count * row.head_count_kv * row.head_length > 0


@pytest.mark.django_db
def test_all_minilm_embeds_as_its_own_files_say() -> None:
    sync_builtin_models()
    spec = Model.objects.get(name="all-minilm:latest").spec()
    assert (spec.kind, spec.architecture, spec.quantization) == ("embedding", "BertModel", "INT8")
    assert (spec.pooling, spec.context_length, spec.embedding_length) == ("mean", 256, 384)
    assert spec.capabilities == {"embedding"}
    assert (spec.kv_bytes_per_token, spec.exact) == (0, False)
    assert 22_000_000 <= spec.parameter_count <= 23_000_000


@pytest.mark.django_db
def test_show_has_what_clients_read_of_demo() -> None:
    sync_builtin_models()
    info = model_info.of(Model.objects.get(name="demo:latest"))
    assert (info.format, info.family, info.families, info.quantization_level) == (
        "openvino",
        "qwen3",
        ("qwen3",),
        "INT8",
    )
    assert info.capabilities == ("completion", "tools", "thinking")
    assert info.parameters_text == "temperature                    0"
    assert info.model_info["general.architecture"] == "qwen3"
    assert info.model_info["general.basename"] == "demo"
    assert info.model_info["qwen3.context_length"] == 4096
    assert info.model_info["tokenizer.ggml.model"] == "gpt2"
    for key in (
        "general.parameter_count",
        "qwen3.embedding_length",
        "qwen3.block_count",
        "qwen3.attention.head_count",
    ):
        assert info.model_info[key] > 0
    assert all(isinstance(value, int | str) for value in info.model_info.values())
    assert "tools" in info.template
    assert info.template in info.modelfile
    assert "PARAMETER temperature 0\n" in info.modelfile
    assert str(ROOT) not in info.modelfile


@pytest.mark.django_db
def test_a_row_s_own_template_and_num_ctx_stand_before_the_folder_s() -> None:
    sync_builtin_models()
    row = Model.objects.get(name="demo:latest")
    row.template, row.parameters = "{{ messages[0].content }}", {"num_ctx": 512}
    info = model_info.of(row)
    assert info.template == info.spec.template == "{{ messages[0].content }}"
    assert info.spec.context_length == 512
    row.parameters = {"num_ctx": 1_000_000}
    assert row.spec().context_length == 4096


@pytest.mark.django_db
def test_a_model_that_is_not_exact_keeps_a_u8_cache() -> None:
    # What the runtime reported for five layers with two heads of 64, at its default precision and in f32.
    row = Model(kind="chat", block_count=5, head_count_kv=2, head_length=64)
    assert row.kv_bytes_per_token == 1520
    row.exact = True
    assert row.kv_bytes_per_token == 5120


@pytest.mark.django_db
def test_a_changed_folder_is_read_again(root: Path) -> None:
    sync_builtin_models(root)
    before = Model.objects.get(name="demo:latest")
    (root / "demo" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    relist(root / "demo")
    assert sync_builtin_models(root) == ["demo:latest"]
    after = Model.objects.get(name="demo:latest")
    assert after.pk == before.pk
    assert after.digest != before.digest
    assert after.capabilities == ["completion"]
    assert after.modified_at > before.modified_at


@pytest.mark.django_db
@pytest.mark.parametrize("field", ["reader_version", "path"])
def test_a_row_of_an_older_reader_or_another_place_is_read_again(root: Path, field: str) -> None:
    sync_builtin_models(root)
    Model.objects.filter(name="demo:latest").update(capabilities=[], **{field: "0"})
    assert sync_builtin_models(root) == ["demo:latest"]
    assert Model.objects.get(name="demo:latest").capabilities


@pytest.mark.django_db
def test_a_built_in_model_that_no_longer_ships_loses_its_row(root: Path) -> None:
    sync_builtin_models(root)
    shutil.rmtree(root / "demo")
    assert sync_builtin_models(root) == ["demo:latest"]
    assert [row.name for row in Model.objects.all()] == ["all-minilm:latest"]


@pytest.mark.django_db
def test_a_model_that_a_user_made_under_a_built_in_name_stays(root: Path) -> None:
    Model.objects.create(name="Demo:latest", path="/mine", digest="a" * 64, kind="chat", context_length=1)
    assert sync_builtin_models(root) == ["all-minilm:latest"]
    assert Model.objects.get(name="Demo:latest").path == "/mine"


@pytest.fixture
def registry_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the registry logs, wherever the settings send it."""
    logger = logging.getLogger("registry.builtin")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.django_db
def test_a_folder_that_cannot_be_read_is_logged_and_the_others_get_their_rows(
    root: Path, registry_log: pytest.LogCaptureFixture
) -> None:
    (root / "demo" / "config.json").unlink()
    assert sync_builtin_models(root) == ["all-minilm:latest"]
    assert "model 'demo' is damaged: config.json is missing" in registry_log.text


@pytest.mark.django_db
def test_a_folder_that_breaks_later_keeps_its_row(root: Path, registry_log: pytest.LogCaptureFixture) -> None:
    sync_builtin_models(root)
    (root / "demo" / "SHA256SUMS").write_text("nonsense\n")
    assert sync_builtin_models(root) == []
    assert Model.objects.filter(name="demo:latest").exists()
    assert "SHA256SUMS has a line" in registry_log.text
