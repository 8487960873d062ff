"""What is read from a model's folder, for chat and for embedding models, good and broken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from inference.errors import ModelDamaged
from registry import folder, weights

IR = """<?xml version="1.0"?>
<net name="m" version="11"><layers>
<layer id="0" name="ids" type="Parameter"><data shape="?,?" element_type="i64"/></layer>
<layer id="1" name="embed.weight" type="Const"><data element_type="i8" shape="100, 64"/></layer>
<layer id="2" name="embed.weight/zero_point" type="Const"><data element_type="i8" shape="100, 1"/></layer>
<layer id="3" name="embed.weight/scale" type="Const"><data element_type="f16" shape="100, 1"/></layer>
<layer id="4" name="norm.weight" type="Const"><data element_type="f32" shape="64"/></layer>
<layer id="5" name="Constant_5" type="Const"><data element_type="i64" shape="2"/></layer>
<layer id="6" name="Constant_6" type="Const"><data element_type="f32" shape="1, 1"/></layer>
<layer id="7" name="Constant_7" type="Const"><data element_type="f32" shape=""/></layer>
</layers></net>"""
TOKENIZER = {"model": {"type": "BPE"}, "added_tokens": []}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "vocab_size": 128256,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008],
}
BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}


def model_folder(path: Path, config: dict[str, Any], **more: object) -> Path:
    """A folder with that config.json, a small IR, more files by name (`/` is `__`), and its SHA256SUMS."""
    files: dict[str, object] = {
        "config.json": config,
        "tokenizer.json": TOKENIZER,
        "openvino_model.xml": IR,
        "openvino_model.bin": "w" * 64,
    }
    files |= {name.replace("__", "/"): content for name, content in more.items()}
    lines = []
    for name, content in files.items():
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    (path / "SHA256SUMS").write_text("".join(lines))
    return path


def test_a_chat_model_s_sizes_come_from_its_config_and_its_weights(tmp_path: Path) -> None:
    found = folder.read(model_folder(tmp_path, LLAMA))
    assert (found.kind, found.architecture, found.family) == ("chat", "LlamaForCausalLM", "llama")
    assert (found.context_length, found.embedding_length) == (131072, 2048)
    assert (found.block_count, found.head_count, found.head_count_kv, found.head_length) == (16, 32, 8, 64)
    assert (found.parameter_count, found.quantization) == (100 * 64 + 64, "INT8")
    assert found.tokenizer == {
        "model": "gpt2",
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "vocab_size": 128256,
    }


def test_the_size_is_that_of_all_listed_files_and_the_digest_is_over_their_sorted_lines(
    tmp_path: Path,
) -> None:
    found = folder.read(model_folder(tmp_path, LLAMA))
    lines = sorted((tmp_path / "SHA256SUMS").read_text().splitlines(keepends=True))
    assert found.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert found.size_bytes == sum((tmp_path / name).stat().st_size for name in found.files)
    assert set(found.files) == {
        "config.json",
        "tokenizer.json",
        "openvino_model.xml",
        "openvino_model.bin",
    }
    (tmp_path / "SHA256SUMS").write_text("".join(reversed(lines)))
    assert folder.read(tmp_path).digest == found.digest


CAPABILITIES = [
    ("{{ messages[0].content }}", ["completion"]),
    ("{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}", ["completion", "tools"]),
    ("{% if enable_thinking %}<think>{% endif %}", ["completion", "thinking"]),
    ("{% if tools %}{{ tools }}{% endif %}{% if enable_thinking %}<think>{% endif %}", None),
    ("{# tools #}{{ mytools }}", ["completion"]),
    ("{% if false %}{{ tools }}<think>{% endif %}", ["completion"]),
]


@pytest.mark.parametrize(("template", "expected"), CAPABILITIES)
def test_a_chat_model_can_do_what_its_template_does_when_tried(
    tmp_path: Path, template: str, expected: list[str] | None
) -> None:
    found = folder.read(model_folder(tmp_path, LLAMA, **{"chat_template.jinja": template}))
    assert found.capabilities == (expected or ["completion", "tools", "thinking"])
    assert found.chat_template == template


def test_a_template_that_does_not_compile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged, match=r"chat_template\.jinja cannot be used: .*Unexpected end"):
        folder.read(model_folder(tmp_path, LLAMA, **{"chat_template.jinja": "{% if tools %}"}))


TOKENIZER_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"chat_template": "{{ a }}"}, "{{ a }}"),
    ({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]}, "d"),
]


@pytest.mark.parametrize(("config", "expected"), TOKENIZER_CONFIGS)
def test_an_older_folder_keeps_its_template_in_the_tokenizer_s_config(
    tmp_path: Path, config: dict[str, Any], expected: str
) -> None:
    found = folder.read(model_folder(tmp_path, LLAMA, **{"tokenizer_config.json": config}))
    assert found.chat_template == expected


POOLINGS = [
    ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
    ({"word_embedding_dimension": 384, "pooling_mode_cls_token": True}, "cls"),
    ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last_token"),
]


@pytest.mark.parametrize(("config", "expected"), POOLINGS)
def test_an_embedding_model_says_itself_how_it_pools(
    tmp_path: Path, config: dict[str, Any], expected: str
) -> None:
    found = folder.read(model_folder(tmp_path, BERT, **{"1_Pooling__config.json": config}))
    assert (found.kind, found.pooling, found.capabilities) == ("embedding", expected, ["embedding"])
    assert (found.embedding_length, found.head_length, found.head_count_kv) == (384, 32, 12)


@pytest.mark.parametrize("modes", [{"pooling_mode_max_tokens": True}, {}])
def test_a_pooling_that_does_not_run_here_is_refused(tmp_path: Path, modes: dict[str, Any]) -> None:
    with pytest.raises(
        ModelDamaged, match=r"1_Pooling/config\.json asks for a pooling that does not run here"
    ):
        folder.read(model_folder(tmp_path, BERT, **{"1_Pooling__config.json": modes}))


def test_the_sentence_length_bounds_an_embedding_model_s_context(tmp_path: Path) -> None:
    assert folder.read(model_folder(tmp_path, BERT)).context_length == 512
    shorter = {"sentence_bert_config.json": {"max_seq_length": 256}}
    assert folder.read(model_folder(tmp_path, BERT, **shorter)).context_length == 256
    longer = {"sentence_bert_config.json": {"max_seq_length": 1024}}
    assert folder.read(model_folder(tmp_path, BERT, **longer)).context_length == 512


def test_a_decoder_with_a_pooling_layer_embeds(tmp_path: Path) -> None:
    pooling = {"1_Pooling__config.json": {"pooling_mode_lasttoken": True}}
    assert folder.read(model_folder(tmp_path, LLAMA, **pooling)).kind == "embedding"


def test_the_licence_is_the_file_s_text_or_what_the_card_names(tmp_path: Path) -> None:
    card = {"README.md": "---\nlanguage: en\nlicense: apache-2.0\n---\n# Card\n"}
    assert folder.read(model_folder(tmp_path, LLAMA, **card)).licence == "apache-2.0"
    assert folder.read(model_folder(tmp_path, LLAMA, LICENSE="MIT License\n…")).licence == "MIT License\n…"


BROKEN: list[tuple[str, str, str]] = [
    ("config.json", "{", "config.json is not JSON"),
    ("config.json", "[]", "config.json is not a JSON object"),
    ("config.json", "{}", "config.json names an architecture that does not run here"),
    ("config.json", '{"architectures": ["LlamaForCausalLM"]}', "config.json has no max_position_embeddings"),
    ("openvino_model.xml", "<net><layers>", "openvino_model.xml is not XML"),
    ("SHA256SUMS", "abc  config.json\n", "SHA256SUMS has a line that is not 'sha256  name'"),
    ("SHA256SUMS", "", "SHA256SUMS lists no file"),
    ("SHA256SUMS", "0" * 64 + "  ../../etc/passwd\n", "SHA256SUMS names a file outside of the folder"),
    ("SHA256SUMS", "0" * 64 + "  /etc/passwd\n", "SHA256SUMS names a file outside of the folder"),
    ("SHA256SUMS", "0" * 64 + "  gone.bin\n", "gone.bin is missing"),
]


@pytest.mark.parametrize(("file", "content", "message"), BROKEN, ids=[row[2] for row in BROKEN])
def test_a_broken_folder_is_refused_by_the_name_of_its_file(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    (model_folder(tmp_path, LLAMA) / file).write_text(content)
    with pytest.raises(ModelDamaged, match=message) as damage:
        folder.read(tmp_path)
    assert str(tmp_path) not in str(damage.value)


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "openvino_model.xml", "openvino_model.bin", "SHA256SUMS"]
)
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    (model_folder(tmp_path, LLAMA) / file).unlink()
    with pytest.raises(ModelDamaged, match=f"{file} is missing") as damage:
        folder.read(tmp_path)
    assert damage.value.file == file


COUNTS = [
    (999, "999"),
    (3_968_384, "4M"),
    (3_100_000, "3.1M"),
    (22_713_216, "22.7M"),
    (8_030_261_248, "8B"),
    (596_049_920, "596M"),
    (1_235_814_400, "1.2B"),
    (12_345, "12.3K"),
    (999_949, "999.9K"),
    (999_950, "1M"),
]


@pytest.mark.parametrize(("count", "text"), COUNTS)
def test_a_parameter_count_is_shown_short(count: int, text: str) -> None:
    assert weights.human(count) == text
