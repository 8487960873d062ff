"""An embedding model in ONNX becomes IR that gives its vectors; a language model is refused with the way out."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import openvino_genai
import pytest
from engines import MINILM, run, running_engine
from imports import left_in
from tokenizers import Tokenizer

from inference.errors import InferenceError
from inference.types import EmbedRequest, ModelSpec
from registry import importer
from registry.models import Model
from registry.refusals import ConversionFailed, ImportRefused

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = (
    "Hello, world!",
    "It's 3.14159 and 1234567 dollars; they'll say I'VE won.",
    "  two  spaces\tand\na line\r\n\r\n  and a blank one \n",
    "Zürich, naïve façade – “quotes” … ½ ∑",
    "日本語のテキスト、中文文本，한국어",
    "Привет мир, ёлка и й! مرحبا بالعالم नमस्ते ไทย ภาษา",
    "emoji 😀🎉👩‍👩‍👧 and \U0001f1e9\U0001f1ea",
    "def f(x):\n    return {'a': [x**2, x!=3]}  # comment\n",
    "https://example.org/a?b=c&d=%20#e @user #tag $100 50% <p>&amp;</p>",
    "A" * 150, "y" * 100, "word" * 60, "", " ", "\n", "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "\x07bell and \x7f delete", "\u200bzero\u00adwidth\ufeff", "İstanbul ß ẞ Ω ǅ ﬁ", "a\u0301e\u0308 combined",
    "\u3000ＡＢＣ full width", "__init__ --flag -x", "٣٤٥ ১২৩", "𝒜𝒷𝒸 letters", "no\u00a0break\u2028line\u2029paragraph",
)  # fmt: skip


def hundred_texts() -> list[str]:
    """Those above, and words of them in any order with any space between."""
    draw = random.Random(4711)
    words = [word for text in TEXTS for word in text.split(" ") if word]
    mixed = ["".join(draw.choice(words) + draw.choice(" \t.-'") for _ in range(12)) for _ in range(80)]
    return [*TEXTS, *mixed]


@pytest.fixture(autouse=True)
def own_models(settings: Any, tmp_path: Path) -> Path:
    settings.MODEL_PATH = tmp_path / "models"
    return tmp_path / "models"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_models.write_repository(tmp_path_factory.mktemp("onnx") / "Mini LM")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository whose model nobody reads before it is refused."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(onnx_models.MINILM / name, folder / name)
    (folder / "model.onnx").write_bytes(b"not ONNX")
    return folder


def changed(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def vectors(spec: ModelSpec, texts: tuple[str, ...]) -> Any:
    found: list[Any] = []

    async def scenario() -> None:
        async with running_engine() as engine:
            embedded = await engine.embed(spec, EmbedRequest(model="m", texts=texts))
            found.append(np.array([np.frombuffer(vector, "<f4") for vector in embedded.vectors]))

    run(scenario, 120)
    return found[0]


def test_it_gives_the_vectors_of_its_weights_and_the_ids_of_its_tokenizer(
    repository: Path, own_models: Path
) -> None:
    row = importer.adopt(repository)
    assert (row.name, row.kind, row.pooling) == ("mini-lm:latest", "embedding", "mean")
    assert (row.embedding_length, row.context_length) == (384, 256)
    assert left_in(own_models) == [Path(row.path).name]
    texts = (*TEXTS, "a long text about models " * 200)
    alike = (vectors(row.spec(), texts) * vectors(MINILM, texts)).sum(axis=1)
    assert alike.min() > 0.995, dict(zip(texts, alike.tolist(), strict=True))
    ours = Tokenizer.from_file(str(Path(row.path) / "tokenizer.json"))
    ours.no_truncation()
    ours.no_padding()
    theirs = openvino_genai.Tokenizer(row.path)
    for text in hundred_texts():
        assert theirs.encode(text).input_ids.data[0].tolist() == ours.encode(text).ids, repr(text)


def refused(path: Path, words: str, models: Path, kind: type[InferenceError] = ImportRefused) -> None:
    with pytest.raises(kind, match=words) as caught:
        importer.adopt(path)
    assert str(path.parent) not in str(caught.value)
    assert not Model.objects.exists()
    assert left_in(models) == []


def test_a_language_model_is_refused_with_the_way_out(small: Path, own_models: Path) -> None:
    changed(small / "config.json", architectures=["LlamaForCausalLM"])
    words = (
        r"language model in ONNX \(LlamaForCausalLM\), which does not run here; import its safetensors folder"
    )
    refused(small / "model.onnx", words, own_models)
    refused(small, words, own_models)


def test_an_architecture_that_embeds_nothing_is_refused(small: Path, own_models: Path) -> None:
    changed(small / "config.json", architectures=["BertForSequenceClassification"])
    refused(small, "'BertForSequenceClassification', no embedding model's", own_models)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_file_alone_is_refused_by_what_it_lacks(small: Path, own_models: Path, missing: str) -> None:
    (small / missing).unlink()
    refused(small / "model.onnx", f"has no {missing} beside it", own_models)


def test_a_folder_of_several_models_asks_for_one(small: Path, own_models: Path) -> None:
    (small / "model.onnx").rename(small / "model_a.onnx")
    (small / "model_b.onnx").write_bytes(b"")
    refused(small, r"holds 2 models \(model_a\.onnx, model_b\.onnx\); give the path of one", own_models)


def test_bytes_that_are_no_onnx_end_the_child_not_the_caller(small: Path, own_models: Path) -> None:
    refused(small, "the conversion of 'model.onnx' failed", own_models, ConversionFailed)


def test_a_tokenizer_that_is_not_bert_s_is_refused_with_the_way_out(small: Path, own_models: Path) -> None:
    content = json.loads((small / "tokenizer.json").read_text())
    changed(small / "tokenizer.json", model={**content["model"], "type": "Unigram"})
    words = "of kind Unigram; WordPiece, BERT's, is converted here; import its safetensors folder instead"
    refused(small, words, own_models, ConversionFailed)


def test_a_decoder_in_an_encoder_s_clothes_is_refused(small: Path, own_models: Path) -> None:
    helper = onnx.helper
    names = ("input_ids", "past_key_values.0.key")
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 384]) for name in names]
    output = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 1, 384])
    graph = helper.make_graph([helper.make_node("Add", list(names), ["logits"])], "g", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), small / "model.onnx")
    refused(small, "it is no encoder: its inputs are", own_models, ConversionFailed)
