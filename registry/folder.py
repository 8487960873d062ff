"""A model's folder on disk -> the facts a row keeps of it.

The folder holds OpenVINO IR and the files that Hugging Face puts beside a model, and `SHA256SUMS` over all of
them in the form of sha256sum(1). Nothing here hashes: the digests are believed here and checked by
`registry.verification` and by the engine at load.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final
from xml.etree import ElementTree

from msgspec import Struct

from inference import infill
from inference.chat_template import ChatTemplate
from inference.errors import BadRequest, ModelDamaged
from inference.types import Kind, Message, ModelSpec, Pooling
from registry import ir, weights

READER_VERSION: Final = 2
"""Raised whenever `read` finds something new or otherwise in the same files: rows of older readers are read
again."""

SUMS: Final = "SHA256SUMS"
CAPABILITIES: Final = ("completion", "tools", "insert", "vision", "embedding", "thinking", "image", "audio")
"""Everything a model can be capable of, in the order in which clients are told."""

_POSITIONS: Final = {
    "llama": 2048, "mistral": 131_072, "qwen2": 32_768, "gemma": 8192, "gemma2": 8192, "gemma3_text": 131_072,
    "phi3": 4096,
}  # fmt: skip
"""max_position_embeddings that Hugging Face's own classes mean where a configuration leaves it out, as that of the
language in a model that looks at images may."""

_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_TOKENIZERS = {"BPE": "gpt2", "WordPiece": "bert", "Unigram": "t5", "WordLevel": "wordlevel"}
"""`model.type` of tokenizer.json -> tokenizer.ggml.model, as llama.cpp names them."""


class Folder(Struct, frozen=True, kw_only=True):
    """The facts, under the names of the row's fields."""

    path: str
    files: dict[str, tuple[int, str]]
    digest: str
    size_bytes: int
    kind: Kind
    architecture: str
    family: str
    parameter_count: int
    quantization: str
    context_length: int
    embedding_length: int
    block_count: int
    head_count: int
    head_count_kv: int
    head_length: int
    tokenizer: dict[str, Any]
    capabilities: list[str]
    pooling: Pooling
    chat_template: str
    licence: str
    reader_version: int = READER_VERSION


def sums(folder: Path) -> dict[str, str]:
    """Relative name -> sha256, as `SHA256SUMS` lists them. Raises ModelDamaged."""
    found: dict[str, str] = {}
    for line in _text(folder, SUMS).splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ModelDamaged(folder.name, SUMS, f"has a line that is not 'sha256  name': {line[:80]!r}")
        name = match[2]
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise ModelDamaged(folder.name, SUMS, f"names a file outside of the folder: {name!r}")
        found[name] = match[1]
    if not found:
        raise ModelDamaged(folder.name, SUMS, "lists no file")
    return found


def digest(files: Mapping[str, str]) -> str:
    """The model's digest: sha256 over the sorted `sha256  name` lines, each ended by a line feed."""
    lines = sorted(f"{sha256}  {name}\n" for name, sha256 in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read(folder: Path) -> Folder:
    """Everything a row wants to know. Raises ModelDamaged, which names the file that is at fault."""
    listed = sums(folder)
    files = {name: (_size(folder, name), sha256) for name, sha256 in sorted(listed.items())}
    config = _json(folder, "config.json")
    text_config = config.get("text_config") or config.get("llm_config") or config
    seeing = frozenset({"vision"}) if ir.looks(files) else frozenset[str]()
    kind = "chat" if seeing else _kind(folder, config)
    template = _template(folder, seeing) if kind == "chat" else None
    can = {"completion", *template.capabilities, *seeing} if template else {"embedding"}
    if template and infill_tokens(folder):
        can.add("insert")
    graph = _weights(folder, files)
    shape = _shape(folder, text_config, seeing=bool(seeing))
    return Folder(
        path=str(folder),
        files=files,
        digest=digest(listed),
        size_bytes=sum(size for size, _ in files.values()),
        kind=kind,
        architecture=str((config.get("architectures") or [""])[0]),
        family=str(config.get("model_type") or ""),
        parameter_count=graph.count,
        quantization=graph.quantization,
        context_length=_context_length(folder, text_config),
        embedding_length=int(text_config.get("hidden_size") or 0),
        block_count=shape.layers,
        head_count=int(text_config.get("num_attention_heads") or 0),
        head_count_kv=shape.heads,
        head_length=shape.width,
        tokenizer=_tokenizer(folder, text_config),
        capabilities=[capability for capability in CAPABILITIES if capability in can],
        pooling=_pooling(folder),
        chat_template=template.source if template else "",
        licence=_licence(folder),
    )


def _kind(folder: Path, config: Mapping[str, Any]) -> Kind:
    """A chat model generates; one with a pooling layer, or an encoder alone, embeds."""
    architecture = str((config.get("architectures") or [""])[0])
    if (folder / "1_Pooling" / "config.json").exists():
        return "embedding"
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        return "chat"
    if architecture.endswith("Model"):
        return "embedding"
    raise ModelDamaged(
        folder.name, "config.json", f"names an architecture that does not run here: {architecture!r}"
    )


def _pooling(folder: Path) -> Pooling:
    """From 1_Pooling/config.json of sentence-transformers; mean without it.

    Whether its modules.json normalises does not count: each endpoint says itself what length its vectors have.
    """
    name = "1_Pooling/config.json"
    if not (folder / name).exists():
        return "mean"
    config = _json(folder, name)
    known: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_lasttoken": "last_token",
    }
    chosen = [mode for mode, value in config.items() if mode.startswith("pooling_mode_") and value is True]
    if len(chosen) != 1 or chosen[0] not in known:
        raise ModelDamaged(
            folder.name, name, f"asks for a pooling that does not run here: {', '.join(chosen) or '-'}"
        )
    return known[chosen[0]]


def _context_length(folder: Path, config: Mapping[str, Any]) -> int:
    positions = int(config.get("max_position_embeddings") or 0)
    if (folder / "sentence_bert_config.json").exists():
        longest = int(_json(folder, "sentence_bert_config.json").get("max_seq_length") or 0)
        positions = min(longest or positions, positions or longest)
    positions = positions or _POSITIONS.get(str(config.get("model_type")), 0)
    if positions <= 0:
        raise ModelDamaged(folder.name, "config.json", "has no max_position_embeddings")
    return positions


def _shape(folder: Path, config: Mapping[str, Any], *, seeing: bool) -> weights.KvShape:
    """Of the KV cache. The configuration of a model that looks at images leaves out what is its family's default, so
    that its graph is asked."""
    if seeing and (found := weights.kv_shape(folder / f"{ir.LANGUAGE}.xml")) is not None:
        return found
    heads = int(config.get("num_attention_heads") or 0)
    width = int(config.get("hidden_size") or 0)
    return weights.KvShape(
        layers=int(config.get("num_hidden_layers") or 0),
        heads=int(config.get("num_key_value_heads") or heads),
        width=int(config.get("head_dim") or (width // heads if heads else 0)),
    )


def _template(folder: Path, seeing: frozenset[str]) -> ChatTemplate:
    """Compiled and tried, as the engine will use it."""
    try:
        template = ChatTemplate.open(
            ModelSpec(name=folder.name, digest="", path=folder, kind="chat", capabilities=seeing)
        )
        template.tried((Message(role="user", content="?"),))
        return template
    except BadRequest as error:
        raise ModelDamaged(folder.name, "chat_template.jinja", f"cannot be used: {error}") from error


def _tokenizer(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (folder / "tokenizer.json").exists():
        kind = _json(folder, "tokenizer.json").get("model", {}).get("type", "")
        found["model"] = _TOKENIZERS.get(kind, str(kind).lower())
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = config.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, int):
            found[key.replace("pad_", "padding_")] = value
    if isinstance(config.get("vocab_size"), int):
        found["vocab_size"] = config["vocab_size"]
    return found


def infill_tokens(folder: Path) -> infill.Tokens | None:
    """Those that the tokenizer has for fill-in-middle. Raises ModelDamaged."""
    if not (folder / "tokenizer.json").exists():
        return None
    found = _json(folder, "tokenizer.json")
    added = {
        str(token.get("content")) for token in found.get("added_tokens") or () if isinstance(token, dict)
    }
    model = found.get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    plain = {token for token in infill.PLAIN if isinstance(words, dict) and token in words}
    return infill.find(added | plain)


def _weights(folder: Path, names: Container[str]) -> weights.Weights:
    """Of all parts together; the precision is that of the language model."""
    found = []
    for name in (f"{part}.xml" for part in ir.parts(names)):
        try:
            found.append(weights.read(folder / name))
        except OSError:
            raise ModelDamaged(folder.name, name, "is missing") from None
        except ElementTree.ParseError as error:
            raise ModelDamaged(folder.name, name, f"is not XML: {error}") from error
    return weights.Weights(sum(part.count for part in found), found[0].quantization)


def _licence(folder: Path) -> str:
    """The text of LICENSE, else what the head of the model card names, else ''."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stem.upper() in ("LICENSE", "LICENCE"):
            return path.read_text(encoding="utf-8", errors="replace")
    card = folder / "README.md"
    head = card.read_text(encoding="utf-8", errors="replace")[:4096] if card.exists() else ""
    named = re.search(r"^license:\s*(\S+)", head, re.MULTILINE)
    return named[1] if named else ""


def _size(folder: Path, name: str) -> int:
    try:
        return (folder / name).stat().st_size
    except OSError:
        raise ModelDamaged(folder.name, name, "is missing") from None


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError:
        raise ModelDamaged(folder.name, name, "is missing") from None
    except UnicodeDecodeError as error:
        raise ModelDamaged(folder.name, name, "is not UTF-8") from error


def _parsed(folder: Path, name: str) -> Any:
    try:
        return json.loads(_text(folder, name))
    except json.JSONDecodeError as error:
        raise ModelDamaged(folder.name, name, f"is not JSON: {error}") from error


def _json(folder: Path, name: str) -> dict[str, Any]:
    value = _parsed(folder, name)
    if not isinstance(value, dict):
        raise ModelDamaged(folder.name, name, "is not a JSON object")
    return value
