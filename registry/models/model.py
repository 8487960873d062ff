"""The table of models: what each is, which files it consists of, what it can do, how it is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final, cast

from django.db import models
from django.db.models import Q
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact
from django.utils import timezone

from inference.types import Adapter, Kind, Message, ModelSpec, Pooling
from registry import names
from registry.models.change import Stamped
from registry.parameters import as_text, context_limit, sampling, tool_parser

KV_SCALE_BYTES: Final = 8
"""Scale and zero point, float32 each, of a u8 cache: one pair for each value vector, and for each channel of
a block of keys."""
KV_BLOCK_TOKENS: Final = 32
"""Tokens in a block of the CPU's KV cache (openvino-facts 3)."""


class Model(Stamped):
    """One model under one name. Rows are written by `registry.builtin` and by what installs models."""

    class Kinds(models.TextChoices):
        CHAT = "chat"
        EMBEDDING = "embedding"

    class Formats(models.TextChoices):
        OPENVINO = "openvino"
        GGUF = "gguf"

    class Poolings(models.TextChoices):
        MEAN = "mean"
        CLS = "cls"
        LAST_TOKEN = "last_token"

    name = models.CharField(max_length=names.MAX_LENGTH, help_text="shortest spelling, with its tag")
    source = models.CharField(
        max_length=names.MAX_LENGTH,
        blank=True,
        help_text="repository on the hub, or where it was imported from",
    )
    revision = models.CharField(max_length=64, blank=True, help_text="commit of the repository")
    parent = models.CharField(
        max_length=names.MAX_LENGTH, blank=True, help_text="the model that it was made from, by a Modelfile"
    )
    path = models.CharField(max_length=4096, help_text="folder of the files on this machine")
    files = models.JSONField(default=dict, help_text="name: [size in bytes, sha256]")
    digest = models.CharField(
        max_length=64, help_text="sha256 over the sorted 'sha256  name' lines of the files"
    )
    size_bytes = models.PositiveBigIntegerField(default=0)
    builtin = models.BooleanField(default=False, help_text="ships with the program")
    format = models.CharField(max_length=16, choices=Formats, default=Formats.OPENVINO)
    pinned = models.BooleanField(default=False, help_text="never unloaded to make room")
    local_only = models.BooleanField(
        default=False, help_text="its requests never leave this machine, whatever other servers have it"
    )
    modified_at = models.DateTimeField(
        default=timezone.now, db_index=True, help_text="when its content last changed"
    )

    kind = models.CharField(max_length=16, choices=Kinds)
    architecture = models.CharField(max_length=80, blank=True, help_text="class of its config.json")
    family = models.CharField(max_length=80, blank=True, help_text="model_type of its config.json")
    parameter_count = models.PositiveBigIntegerField(default=0)
    quantization = models.CharField(max_length=16, blank=True, help_text="precision of most weights")
    context_length = models.PositiveIntegerField(help_text="tokens")
    embedding_length = models.PositiveIntegerField(default=0, help_text="width of a hidden state or vector")
    block_count = models.PositiveIntegerField(default=0, help_text="transformer layers")
    head_count = models.PositiveIntegerField(default=0, help_text="attention heads")
    head_count_kv = models.PositiveIntegerField(default=0, help_text="heads of keys and values")
    head_length = models.PositiveIntegerField(default=0, help_text="width of one head")
    tokenizer = models.JSONField(default=dict, blank=True, help_text="tokenizer.ggml.* of /api/show")
    capabilities = models.JSONField(default=list, blank=True)

    exact = models.BooleanField(
        default=False, help_text="load with f32 hints: neighbours never change an answer"
    )
    pooling = models.CharField(max_length=16, choices=Poolings, default=Poolings.MEAN)
    chat_template = models.TextField(blank=True, help_text="Jinja template of its files")
    template = models.TextField(blank=True, help_text="Jinja template used instead")
    system = models.TextField(blank=True)
    parameters = models.JSONField(
        default=dict, blank=True, help_text="PARAMETER name: value or list of values"
    )
    messages = models.JSONField(
        default=list, blank=True, help_text="MESSAGE: [{role, content}] before those of a request"
    )
    adapters = models.JSONField(
        default=list, blank=True, help_text="ADAPTER: [{path, sha256, size, alpha}] LoRA weights"
    )
    licence = models.TextField(blank=True)
    version = models.PositiveBigIntegerField(default=0, editable=False, help_text="drawn anew by each write")
    reader_version = models.PositiveIntegerField(default=0, help_text="of the code that read its files")

    class Meta:
        ordering = ("-modified_at", "name")
        constraints = [
            models.UniqueConstraint(Lower("name"), name="registry_model_name_is_unique"),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(path=""), name="registry_model_has_name_and_path"
            ),
            models.CheckConstraint(
                condition=Exact(Length("digest"), 64), name="registry_model_digest_is_sha256"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("chat", "embedding")), name="registry_model_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(format__in=("openvino", "gguf")), name="registry_model_format_is_known"
            ),
            models.CheckConstraint(
                condition=Q(pooling__in=("mean", "cls", "last_token")), name="registry_model_pooling_is_known"
            ),
            models.CheckConstraint(condition=Q(context_length__gt=0), name="registry_model_has_a_context"),
            models.CheckConstraint(
                condition=Q(kind="chat") | Q(embedding_length__gt=0),
                name="registry_model_vectors_have_a_length",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def spec(self) -> ModelSpec:
        """The value that inference needs of this row."""
        return ModelSpec(
            name=self.name,
            digest=self.digest,
            content_digest=self.content_digest,
            path=Path(self.path),
            kind=cast(Kind, self.kind),
            files={name: (size, sha256) for name, (size, sha256) in self.files.items()},
            size_bytes=self.size_bytes,
            architecture=self.architecture,
            parameter_count=self.parameter_count,
            quantization=self.quantization,
            context_length=min(self.context_length, context_limit(self.parameters) or self.context_length),
            full_context_length=self.context_length,
            embedding_length=self.embedding_length,
            kv_bytes_per_token=self.kv_bytes_per_token,
            capabilities=frozenset(self.capabilities),
            exact=self.exact,
            pooling=cast(Pooling, self.pooling),
            template=self.template,
            system=self.system,
            messages=tuple(Message(**message) for message in self.messages),
            parameters=sampling(self.parameters),
            adapters=tuple(
                Adapter(
                    path=Path(adapter["path"]),
                    sha256=adapter["sha256"],
                    size_bytes=adapter.get("size", 0),
                    alpha=adapter.get("alpha", 1.0),
                )
                for adapter in self.adapters
            ),
            tool_parser=tool_parser(self.parameters),
            pinned=self.pinned,
            local_only=self.local_only,
        )

    @property
    def is_of_hub(self) -> bool:
        """Pulled, and neither made of another model nor shipped: to pull it again loses nothing."""
        return bool(self.source and self.revision) and not (self.parent or self.builtin)

    @property
    def content_digest(self) -> str:
        """What clients are shown: a copy has its model's, and what changes an answer changes it. The files' own
        where the row adds nothing to them."""
        said = {
            "template": self.template,
            "system": self.system,
            "parameters": as_text(self.parameters),
            "messages": self.messages,
            "adapters": [[entry["sha256"], entry["alpha"]] for entry in self.adapters],
        }
        said = {name: value for name, value in said.items() if value}
        if not said:
            return self.digest
        written = json.dumps(said, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(f"{self.digest}\n{written}".encode()).hexdigest()

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes one token takes in the KV cache; 0 for embedding models.

        Assumed: exact models load with an f32 cache, all others with the CPU's default, which is u8 on every
        machine; a device that keeps f16 takes twice as much. Every layer is taken for one with full
        attention, so a model with sliding windows needs less. Checked against the runtime's own figures for
        `demo`: 5,120 in f32, 1,520 in u8.
        """
        if self.kind == self.Kinds.EMBEDDING:
            return 0
        width = self.head_length
        if self.exact:
            key_and_value_bytes = 2 * width * 4
        else:
            key_and_value_bytes = 2 * width + KV_SCALE_BYTES + width * KV_SCALE_BYTES // KV_BLOCK_TOKENS
        return self.block_count * self.head_count_kv * key_and_value_bytes

    @classmethod
    def by_name(cls, name: names.Name) -> models.QuerySet[Model]:
        """The row of that name, whatever its case; uses the unique index."""
        return cls.objects.alias(key=Lower("name")).filter(key=name.key)
