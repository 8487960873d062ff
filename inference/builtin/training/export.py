"""Turn the trained folder into the shipped one: int8 OpenVINO IR, tokenizer IR, checksums."""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "demo"
SHIPPED = [
    "openvino_model.xml",
    "openvino_model.bin",
    "openvino_tokenizer.xml",
    "openvino_tokenizer.bin",
    "openvino_detokenizer.xml",
    "openvino_detokenizer.bin",
    "tokenizer.json",
    "tokenizer_config.json",
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
]
LIMIT_BYTES = 8 * 1024 * 1024
TEXTS = [
    "How do I start the server?",
    "  two  spaces\n\n\tand a tab ",
    "naïve café, Straße, 東京, 🙂 e\u0301",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "port 11435, 127.0.0.1:11435/v1/chat/completions don't I'LL",
    "",
]


def convert(source: Path, target: Path) -> None:
    """Run optimum's exporter with weights of eight bits."""
    command = [
        sys.executable,
        "-m",
        "optimum.commands.optimum_cli",
        "export",
        "openvino",
        "--model",
        str(source),
    ]
    command += ["--task", "text-generation-with-past", "--weight-format", "int8", str(target)]
    subprocess.run(
        command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    )


def ship(source: Path, exported: Path, target: Path) -> None:
    """Copy what the server needs; tokenizer and template come from training, untouched by transformers."""
    target.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        own = name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
        shutil.copyfile((source if own else exported) / name, target / name)


def check_tokens(folder: Path) -> int:
    """Both tokenizers must give the same ids; the number of texts compared."""
    import openvino_genai

    exact = Tokenizer.from_file(str(folder / "tokenizer.json"))
    other = openvino_genai.Tokenizer(str(folder))
    for text in TEXTS[:-1]:
        mine = exact.encode(text).ids
        theirs = other.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
        if mine != theirs:
            raise SystemExit(f"tokenizers disagree on {text!r}: {mine} and {theirs}")
        if other.decode(mine, skip_special_tokens=False) != exact.decode(mine, skip_special_tokens=False):
            raise SystemExit(f"detokenizers disagree on {text!r}")
    return len(TEXTS) - 1


def checksums(folder: Path) -> int:
    """Write SHA256SUMS over every other file; the folder's size in bytes."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != "SHA256SUMS")
    rows = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(rows))
    total = sum(path.stat().st_size for path in folder.iterdir())
    if total > LIMIT_BYTES:
        raise SystemExit(f"{folder.name} has {total} bytes, the limit is {LIMIT_BYTES}")
    return total


def main() -> None:
    """Export, compare the tokenizers, write the checksums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--source",
        type=Path,
        help="the folder hf of a training run; without it only the checksums are written",
    )
    parser.add_argument("--target", type=Path, default=DEMO)
    given = parser.parse_args()
    if given.source:
        with tempfile.TemporaryDirectory() as scratch:
            convert(given.source, Path(scratch) / "ir")
            ship(given.source, Path(scratch) / "ir", given.target)
        print(json.dumps({"texts_with_equal_tokens": check_tokens(given.target)}))
    print(json.dumps({"bytes": checksums(given.target)}))


if __name__ == "__main__":
    main()
