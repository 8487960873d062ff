"""`ModelInfo`: a row as the catalogue shows it, in /api/tags, /api/show, /v1/models and on the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from inference.types import ModelSpec
from registry import modelfile, names, weights
from registry.folder import CAPABILITIES
from registry.modelfile import Modelfile, Said
from registry.models import Model
from registry.parameters import as_text


class ModelInfo(Struct, frozen=True, kw_only=True):
    """Made once for each version of a row; shared by all requests, so its dict is never changed."""

    spec: ModelSpec
    modified_at: datetime
    """In UTC."""
    family: str
    families: tuple[str, ...]
    parameter_size: str
    """`3.1M`."""
    quantization_level: str
    capabilities: tuple[str, ...]
    """In the contract's order."""
    licence: str
    template: str
    """The template that is used, the model's own or the row's."""
    system: str
    parameters_text: str
    modelfile: str
    model_info: dict[str, Any]
    """`general.*`, `<family>.*`, `tokenizer.ggml.*`; numbers and strings only."""
    builtin: bool
    pinned: bool
    digest: str
    """Of weights and texts: differs between two rows wherever an answer could."""
    messages: tuple[Said, ...]
    """The model's own turns."""
    parent_model: str
    format: str
    """`openvino` or `gguf`; '' for a model of another server."""
    backend: str = ""
    """The server that has it, where it is not here."""
    their_name: str = ""
    """As that server spells it."""

    @property
    def name(self) -> str:
        return self.spec.name


def elsewhere(spec: ModelSpec, backend: str, their_name: str, since: datetime) -> ModelInfo:
    """A model of another server, with what its list says. `since`: when that became a backend, in UTC."""
    size = weights.human(spec.parameter_count) if spec.parameter_count else ""
    known = {"general.parameter_count": spec.parameter_count, "general.size_label": size}
    return ModelInfo(
        spec=spec, modified_at=since, family="", families=(), parameter_size=size, quantization_level="",
        capabilities=tuple(name for name in CAPABILITIES if name in spec.capabilities), licence="", template="",
        system="", parameters_text="", modelfile="", builtin=False, pinned=False, digest=spec.digest, messages=(),
        parent_model="", format="", backend=backend, their_name=their_name,
        model_info={name: value for name, value in known.items() if value},
    )  # fmt: skip


def of(row: Model) -> ModelInfo:
    """The value of a row."""
    template = row.template or row.chat_template
    return ModelInfo(
        spec=row.spec(),
        modified_at=row.modified_at.astimezone(UTC),
        family=row.family,
        families=(row.family,) if row.family else (),
        parameter_size=weights.human(row.parameter_count) if row.parameter_count else "",
        quantization_level=row.quantization,
        capabilities=tuple(row.capabilities),
        licence=row.licence,
        template=template,
        system=row.system,
        parameters_text=as_text(row.parameters),
        digest=row.content_digest,
        messages=tuple(Said(message["role"], message["content"]) for message in row.messages),
        parent_model=row.parent,
        format=row.format,
        modelfile=_modelfile(row, template),
        model_info=_model_info(row),
        builtin=row.builtin,
        pinned=row.pinned,
    )


def _model_info(row: Model) -> dict[str, Any]:
    family = row.family or "unknown"
    sizes = {
        "context_length": row.context_length,
        "embedding_length": row.embedding_length,
        "block_count": row.block_count,
        "attention.head_count": row.head_count,
        "attention.head_count_kv": row.head_count_kv,
        "attention.key_length": row.head_length,
        "attention.value_length": row.head_length,
        "vocab_size": row.tokenizer.get("vocab_size", 0),
    }
    return {
        "general.architecture": family,
        "general.basename": names.parse(row.name).model,
        "general.parameter_count": row.parameter_count,
        "general.size_label": weights.human(row.parameter_count),
        **{f"{family}.{key}": value for key, value in sizes.items() if value},
        **{f"tokenizer.ggml.{key}": value for key, value in row.tokenizer.items() if key != "vocab_size"},
    }


def _modelfile(row: Model, template: str) -> str:
    """A Modelfile that would make the same model from this one; it never shows a local path."""
    written = modelfile.render(
        Modelfile(
            source=row.name,
            template=template,
            system=row.system,
            parameters=row.parameters,
            messages=tuple(Said(message["role"], message["content"]) for message in row.messages),
            licences=(row.licence,) if row.licence else (),
            adapters=tuple(f"sha256:{entry['sha256']}" for entry in row.adapters),
        )
    )
    return (
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        f"# FROM {row.name}\n\n{written}"
    )
