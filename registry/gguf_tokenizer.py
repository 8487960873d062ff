"""A GGUF's tokenizer and chat template as the files of Hugging Face: the server counts and decodes with these.

Byte-level BPE alone, since the runtime reads no other kind from GGUF. Text is split by the expression that
`tokenizer.ggml.pre` names, in the words of llama.cpp's list; a name that is not here is refused, since a wrong split
gives wrong tokens without a word.
"""

from __future__ import annotations

import json
from typing import Any, Final

from registry.gguf import Gguf, Value
from registry.refusals import ImportRefused

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LETTERS = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_QWEN2: Final = [f"{_CONTRACTIONS}{_LETTERS}|\\p{{N}}{_REST}"]
_LLAMA3: Final = [f"{_CONTRACTIONS}{_LETTERS}|\\p{{N}}{{1,3}}{_REST}"]
_GPT2: Final = [r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"]
SPLITS: Final[dict[str, list[str]]] = {
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "smollm": [r"\p{N}", *_GPT2],
    "gpt-2": _GPT2,
}
RUNTIME_SPLITS: Final = ("qwen2", "llama-bpe", "smollm")
"""Those that the runtime's own tokenizer knows; it takes any other for its default, wrongly."""
_WHOLE_WORDS_FIRST: Final = ("llama-bpe", "llama3", "llama-v3")
"""A piece that is in the vocabulary is one token, whatever the merges say."""
ENDS: Final = ("<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<|eom_id|>", "<|end|>")
"""Control tokens that end an answer wherever they stand in a vocabulary; many files name only one of theirs."""
_WAY_OUT = "import the model's safetensors folder instead, which is converted"


def tokenizer_files(gguf: Gguf) -> dict[str, Any]:
    """Name -> text or JSON value. Raises ImportRefused."""
    tokens, types, merges = _tables(gguf)
    added = [
        {
            "id": id, "content": tokens[id], "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": kind == _CONTROL,
        }
        for id, kind in enumerate(types)
        if kind in (_CONTROL, _USER_DEFINED)
    ]  # fmt: skip
    named = _named(gguf, tokens)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    config |= {f"{name}_token": tokens[id] for name, id in named.items()}
    files: dict[str, Any] = {
        "tokenizer.json": _tokenizer(gguf, tokens, merges, added),
        "generation_config.json": _generation(named, added),
        "tokenizer_config.json": config,
    }
    return files | _templates(gguf, config)


def _tables(gguf: Gguf) -> tuple[list[str], list[int], list[tuple[str, str]]]:
    model = gguf.metadata.get("tokenizer.ggml.model")
    if model != "gpt2":
        fault = f"has a tokenizer of kind {str(model)[:40]!r}; only 'gpt2', byte-level BPE, runs from GGUF"
        raise ImportRefused(gguf.file, fault, _WAY_OUT)
    tokens = _list(gguf, "tokens", str)
    types = _list(gguf, "token_type", int)
    if len(types) != len(tokens):
        raise ImportRefused(gguf.file, f"has {len(types)} token types for {len(tokens)} tokens", _WAY_OUT)
    if len(set(tokens)) != len(tokens):
        raise ImportRefused(gguf.file, "has a token twice in its vocabulary", _WAY_OUT)
    if len(tokens) > gguf.tensors["token_embd.weight"].shape[-1]:
        raise ImportRefused(gguf.file, "has more tokens than rows in token_embd.weight", _WAY_OUT)
    vocabulary = set(tokens)
    merges = []
    for merge in _list(gguf, "merges", str):
        left, _, right = merge.partition(" ")
        if left + right not in vocabulary or left not in vocabulary or right not in vocabulary:
            raise ImportRefused(gguf.file, f"has a merge outside of its vocabulary: {merge[:80]!r}", _WAY_OUT)
        merges.append((left, right))
    return tokens, types, merges


def _list(gguf: Gguf, key: str, kind: type) -> list[Any]:
    value = gguf.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(value, list) or not value or not all(type(entry) is kind for entry in value):
        raise ImportRefused(gguf.file, f"has no usable tokenizer.ggml.{key}", _WAY_OUT)
    return value


def _tokenizer(
    gguf: Gguf, tokens: list[str], merges: list[tuple[str, str]], added: list[dict[str, Any]]
) -> dict[str, Any]:
    pre = gguf.metadata.get("tokenizer.ggml.pre")
    if pre not in SPLITS:
        fault = f"splits text in a way that is not known here (tokenizer.ggml.pre {str(pre)[:40]!r})"
        raise ImportRefused(gguf.file, fault, _WAY_OUT)
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in SPLITS[pre]
    ]
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, bytes_]},
        "post_processor": None, "decoder": bytes_,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": pre in _WHOLE_WORDS_FIRST,
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": merges,
        },
    }  # fmt: skip


def _named(gguf: Gguf, tokens: list[str]) -> dict[str, int]:
    """bos, eos, pad, unk, and eot: the ids that the metadata names."""
    keys = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown", "eot": "eot"}
    found = {}
    for name, key in keys.items():
        id = gguf.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if id is None:
            continue
        if not isinstance(id, int) or not 0 <= id < len(tokens):
            fault = f"names a token that it does not have (tokenizer.ggml.{key}_token_id {str(id)[:40]})"
            raise ImportRefused(gguf.file, fault, _WAY_OUT)
        found[name] = id
    return found


def _generation(named: dict[str, int], added: list[dict[str, Any]]) -> dict[str, Any]:
    ends = [named[name] for name in ("eos", "eot") if name in named]
    ends += [entry["id"] for entry in added if entry["special"] and entry["content"] in ENDS]
    found: dict[str, Any] = {"eos_token_id": list(dict.fromkeys(ends))}
    if "bos" in named:
        found["bos_token_id"] = named["bos"]
    if "pad" in named:
        found["pad_token_id"] = named["pad"]
    return found


def _templates(gguf: Gguf, config: dict[str, Any]) -> dict[str, Any]:
    """chat_template.jinja; with further templates (`tokenizer.chat_template.tool_use`) all in tokenizer_config.json."""
    default = _text(gguf.metadata.get("tokenizer.chat_template"))
    if not default:
        return {}
    prefix = "tokenizer.chat_template."
    others = {
        key.removeprefix(prefix): _text(value)
        for key, value in gguf.metadata.items()
        if key.startswith(prefix)
    }
    if not any(others.values()):
        return {"chat_template.jinja": default}
    named = {"default": default, **{name: text for name, text in others.items() if text}}
    entries = [{"name": name, "template": text} for name, text in named.items()]
    return {
        "tokenizer_config.json": json.dumps(
            {**config, "chat_template": entries}, ensure_ascii=False, indent=1
        )
    }


def _text(value: Value | None) -> str:
    return value if isinstance(value, str) else ""
