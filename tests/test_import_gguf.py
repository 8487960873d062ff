"""GGUF files become IR that answers as their weights do; one that is not whole, or would be misread, is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf_models
import gguf_random
import pytest
from engines import BUILTIN, GREEDY, ask, events_of, run, running_engine, spec_of, text_of
from imports import QUESTION, answer, left_in
from msgspec import structs
from tokenizers import Tokenizer

from inference.errors import ModelDamaged
from registry import gguf, importer
from registry.models import Model
from registry.refusals import ImportRefused

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = 12
PROMPT = "The quick brown fox, 42 times"


@pytest.fixture(autouse=True)
def own_models(settings: Any, tmp_path: Path) -> Path:
    settings.MODEL_PATH = tmp_path / "models"
    return tmp_path / "models"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file that is good."""
    return gguf_random.write(tmp_path_factory.mktemp("gguf") / "small.gguf", "qwen3")


def refused(path: Path, words: str, models: Path) -> None:
    with pytest.raises(ImportRefused, match=words) as caught:
        importer.adopt(path)
    assert str(path.parent) not in str(caught.value)
    assert not Model.objects.exists()
    assert left_in(models) == []


@pytest.mark.parametrize("architecture", gguf_random.ARCHITECTURES)
def test_it_says_what_numpy_computes_of_its_weights(
    tmp_path: Path, architecture: str, own_models: Path
) -> None:
    file = gguf_random.write(tmp_path / f"{architecture}.gguf", architecture)
    row = importer.adopt(file)
    assert (row.format, row.family, row.context_length) == ("gguf", architecture, 256)
    assert file.stat().st_size > 0, "the file is only read"
    assert left_in(own_models) == [Path(row.path).name]
    tokenizer = Tokenizer.from_file(str(BUILTIN / "demo" / "tokenizer.json"))
    prompt = tokenizer.encode(PROMPT, add_special_tokens=False).ids
    wanted = tokenizer.decode(gguf_random.greedy(architecture, prompt, COUNT))
    said: list[str] = []

    async def scenario() -> None:
        sampling = structs.replace(GREEDY, max_tokens=COUNT)
        async with running_engine() as engine:
            spec = structs.replace(row.spec(), exact=True)
            said.append(text_of(await events_of(engine, spec, ask(PROMPT, sampling=sampling, think=None))))

    run(scenario, 120)
    assert said == [wanted]


def test_demo_s_weights_answer_as_demo(tmp_path: Path) -> None:
    row = importer.adopt(gguf_models.write_demo(tmp_path / "Demo-F16.gguf"))
    assert (row.name, row.licence) == ("demo-f16:latest", "mit")
    demo = spec_of(BUILTIN / "demo")
    texts: list[str] = []

    async def scenario() -> None:
        async with running_engine() as engine:
            texts.append(text_of(await events_of(engine, demo, ask(QUESTION))))

    run(scenario)
    assert answer(row) == texts[0] != ""


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.6, 0.9999])
def test_a_truncated_file_is_refused(whole: Path, tmp_path: Path, own_models: Path, share: float) -> None:
    data = whole.read_bytes()
    short = tmp_path / "short.gguf"
    short.write_bytes(data[: int(len(data) * share)])
    refused(short, "'short.gguf' (is truncated|claims)", own_models)


def test_a_file_that_goes_on_after_its_last_tensor_is_refused(
    whole: Path, tmp_path: Path, own_models: Path
) -> None:
    long = tmp_path / "long.gguf"
    long.write_bytes(whole.read_bytes() + bytes(4096))
    refused(long, "goes on for 4096 bytes after its last tensor; download it again", own_models)


def patched(whole: Path, path: Path, at: int, code: str, value: int) -> Path:
    data = bytearray(whole.read_bytes())
    struct.pack_into(code, data, at, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("at", "code", "value", "words"),
    [
        (0, "<I", 0x46554746, "is not a GGUF file"),
        (4, "<I", 1, "has GGUF version 1, 2 and 3 are read"),
        (4, ">I", 3, r"\(it is big-endian\)"),
        (8, "<Q", 2**62, "claims 4611686018427387904 tensors"),
        (16, "<Q", 2**40, "claims 1099511627776 metadata entries"),
        (24, "<Q", 2**63, "claims a text of 9223372036854775808 bytes"),
    ],
)
def test_a_head_that_lies_is_refused_before_anything_is_made_of_it(
    whole: Path, tmp_path: Path, own_models: Path, at: int, code: str, value: int, words: str
) -> None:
    refused(patched(whole, tmp_path / "m.gguf", at, code, value), words, own_models)


def value_of(data: bytes, key: str) -> int:
    """Where the value of a metadata key begins."""
    return data.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key) + 4


def test_an_array_longer_than_the_file_is_refused(whole: Path, tmp_path: Path, own_models: Path) -> None:
    at = value_of(whole.read_bytes(), "tokenizer.ggml.tokens") + 4
    refused(
        patched(whole, tmp_path / "m.gguf", at, "<Q", 2**60),
        "claims 1152921504606846976 elements",
        own_models,
    )


@pytest.mark.parametrize(
    ("back", "code", "value", "words"),
    [
        (0, "<Q", 2**40, r"is truncated: the tensor 'blk\.0\.attn_q\.weight' ends at byte"),
        (0, "<Q", 8, "at an unaligned place"),
        (0, "<Q", 0, "on top of another"),
        (4, "<I", 99, "the unknown type 99"),
        (12, "<Q", 2**50, "the shape"),
        (24, "<I", 9, "9 dimensions"),
    ],
)
def test_a_tensor_that_lies_is_refused(
    whole: Path, tmp_path: Path, own_models: Path, back: int, code: str, value: int, words: str
) -> None:
    """An entry: name, count of dimensions (4 bytes), two dimensions (8 each), type (4), offset (8)."""
    name = b"blk.0.attn_q.weight"
    offset = whole.read_bytes().index(name) + len(name) + 4 + 16 + 4
    refused(patched(whole, tmp_path / "m.gguf", offset - back, code, value), words, own_models)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "mamba"}, "has the architecture 'mamba'; llama, qwen2, qwen3 run here"),
        ({"tokenizer__ggml__model": "llama"}, "only 'gpt2', byte-level BPE, runs from GGUF"),
        ({"tokenizer__ggml__pre": "tekken"}, r"tokenizer\.ggml\.pre 'tekken'"),
        ({"tokenizer__ggml__tokens": None}, r"no usable tokenizer\.ggml\.tokens"),
        ({"qwen3__rope__scaling__type": "yarn"}, r"scales its positions \(yarn\)"),
        ({"split__count": ("uint16", 2)}, "is one part of several; merge them"),
        ({"qwen3__block_count": ("uint32", 100_000)}, "claims 100000 layers"),
        ({"qwen3__block_count": ("uint32", 7)}, r"lacks \d+ tensors, the first is blk\.4\.attn_k"),
        ({"qwen3__block_count": ("uint32", 2)}, r"tensors that would be left out, the first is blk\.2"),
        ({"qwen3__context_length": None}, r"no usable qwen3\.context_length"),
        ({"tokenizer__ggml__eos_token_id": ("uint32", 10**6)}, "names a token that it does not have"),
        ({"quantization": "F32"}, r"in F32, which does not run here; take the file in one of F16"),
        ({"quantization": "Q5_0"}, r"in Q5_0, which does not run here"),
    ],
)  # fmt: skip
def test_what_the_runtime_would_misread_is_refused_with_the_way_out(
    tmp_path: Path, own_models: Path, changes: dict[str, Any], words: str
) -> None:
    refused(gguf_models.write_demo(tmp_path / "m.gguf", **changes), words, own_models)


def test_a_chat_template_that_makes_text_without_end_is_refused(tmp_path: Path, own_models: Path) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{{ messages }}{% endfor %}{% endfor %}"
    file = gguf_models.write_demo(tmp_path / "m.gguf", tokenizer__chat_template=endless)
    with pytest.raises(ModelDamaged, match=r"chat_template\.jinja cannot be used: the chat template"):
        importer.adopt(file)
    assert not Model.objects.exists()
    assert left_in(own_models) == []


def test_a_head_is_read_without_its_tensors(whole: Path) -> None:
    head = gguf.read(whole)
    assert head.metadata["general.architecture"] == "qwen3"
    assert head.tensors["blk.0.attn_q.weight"].shape == (
        gguf_random.WIDTH,
        gguf_random.HEADS * gguf_random.HEAD,
    )


@pytest.mark.parametrize("quantization", ["Q4_0", "Q4_1", "Q4_K", "Q6_K"])
def test_quantised_weights_still_know_what_they_learned(tmp_path: Path, quantization: str) -> None:
    row = importer.adopt(gguf_models.write_demo(tmp_path / "m.gguf", quantization))
    assert "pullmodel" in answer(row)
