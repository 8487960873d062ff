"""`python -P -m inference.worker.gguf_to_ir FOLDER PARENT_PID [--own-split]`: FOLDER/model.gguf becomes IR beside it.

The file was checked before (`registry.gguf`): the runtime believes every length in it. Prints one JSON object a line:
{"phase": …} as it goes on. Ends with 0 only if the saved IR loads and its tokenizer gives the ids of the server's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import openvino_genai as genai
from tokenizers import Tokenizer

from inference.worker.parent import end_with_parent

PROBES = (
    "Hello, world!",
    "It's 3.14159 and 1234567 dollars; they'll say I'VE won.",
    "  two  spaces\tand\na line\r\n\r\n  and a blank one \n",
    "Zürich, naïve façade – “quotes” … ½ ∑",
    "日本語のテキスト、中文文本，한국어",
    "Привет мир! مرحبا بالعالم नमस्ते",
    "emoji 😀🎉👩‍👩‍👧 and \U0001f1e9\U0001f1ea",
    "def f(x):\n    return {'a': [x**2, x!=3]}  # comment\n",
    "https://example.org/a?b=c&d=%20#e @user #tag $100 50% <p>&amp;</p>",
    "A" * 70 + " " * 9 + "!?!?!?" + "0" * 31,
)


def say(phase: str) -> None:
    print(json.dumps({"phase": phase}), flush=True)


def different_probe(folder: Path) -> str | None:
    """The first text that the runtime's tokenizer splits otherwise than tokenizer.json does."""
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs = genai.Tokenizer(str(folder))
    for probe in PROBES:
        ids = ours.encode(probe, add_special_tokens=False).ids
        if theirs.encode(probe, add_special_tokens=False).input_ids.data[0].tolist() != ids:
            return probe
    return None


def main() -> None:
    folder = Path(sys.argv[1])
    end_with_parent(int(sys.argv[2]))
    say("reading")
    genai.LLMPipeline(str(folder / "model.gguf"), "CPU", enable_save_ov_model=True)
    say("checking")
    config = genai.GenerationConfig(max_new_tokens=2, apply_chat_template=False)
    genai.LLMPipeline(str(folder), "CPU").generate("Hello", config)
    if "--own-split" not in sys.argv and (probe := different_probe(folder)) is not None:
        sys.exit(f"the runtime's tokenizer and the one made from the metadata disagree on {probe!r}")
    say("done")


if __name__ == "__main__":
    main()
