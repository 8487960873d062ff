"""The table of backends: other servers that answer requests, each with what is known of it and how it is spoken to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, cast
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from inference.remote import WHOLE_S, Protocol, RemoteSpec
from registry import backend_fields as fields
from registry import sealing
from registry.models.change import Stamped

MOST_S = 86400.0


class Backend(Stamped):
    """One server. How it is now (healthy, busy, its models) is the engine's to say and stands in no row."""

    class Protocols(models.TextChoices):
        OLLAMA = "ollama", "Ollama"
        OPENAI = "openai", "OpenAI"
        ANTHROPIC = "anthropic", "Anthropic"

    class Kinds(models.TextChoices):
        NPU = "npu", "NPU"
        IGPU = "igpu", "integrated GPU"
        DGPU = "dgpu", "GPU"
        CPU = "cpu", "CPU"

    name = models.CharField(
        max_length=fields.NAME_LENGTH,
        unique=True,
        help_text="for people, headers and metrics: letters, digits, dot, dash, underscore; not a device's",
    )
    protocol = models.CharField(max_length=16, choices=Protocols, help_text="the API that it speaks")
    url = models.CharField(
        "address", max_length=500, help_text="http://host:port; the API's own path (/v1) may be left out"
    )
    sealed_key = models.TextField(blank=True, editable=False)
    kind = models.CharField(
        "class",
        max_length=8,
        choices=Kinds,
        default=Kinds.DGPU,
        help_text="what it computes with; what is not known below is assumed by it",
    )
    watts = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0)], help_text="while it answers; empty: assumed"
    )
    latency_ms = models.FloatField(
        "latency in ms",
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="of an answer; empty: assumed",
    )
    tokens_per_s = models.FloatField(
        "tokens per second", null=True, blank=True, validators=[MinValueValidator(0)]
    )
    priority = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(100)],
        help_text="0-100, ten points of score each; empty: assumed for its class",
    )
    supported = models.TextField(
        "models",
        blank=True,
        help_text="patterns one a line, `*` stands for anything (*:7b); empty: all that it lists",
    )
    preferred = models.TextField("preferred models", blank=True, help_text="patterns, as above")
    excluded = models.TextField("excluded models", blank=True, help_text="patterns; wins over the others")
    aliases = models.TextField(blank=True, help_text="ours=theirs, one a line, where it has another name")
    max_size = models.CharField(
        "largest model", max_length=16, blank=True, help_text="parameters, as 70b; empty: no bound"
    )
    verify_tls = models.BooleanField(
        "check its certificate", default=True, help_text="without it anyone on the way can read and answer"
    )
    ca_file = models.CharField(
        "certificates to trust",
        max_length=4096,
        blank=True,
        help_text="path of a PEM file on this machine, for an authority of your own",
    )
    slots = models.PositiveIntegerField(
        "requests at once", default=0, help_text="more wait here in line; 0: no bound of ours"
    )
    first_byte_s = models.FloatField(
        "longest wait for an answer's head, in s",
        default=120.0,
        validators=[MinValueValidator(0.1), MaxValueValidator(MOST_S)],
        help_text="a load over there included",
    )
    silence_s = models.FloatField(
        "longest silence inside an answer, in s",
        default=60.0,
        validators=[MinValueValidator(0.1), MaxValueValidator(MOST_S)],
    )
    enabled = models.BooleanField(default=True)
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    _key_is_for: tuple[str, str] = ("", "")
    """The address, and the sealed key that was given for it, as they lie in the database."""

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="registry_backend_has_a_name"),
            models.CheckConstraint(
                condition=Q(protocol__in=("ollama", "openai", "anthropic")),
                name="registry_backend_protocol_is_known",
            ),
            models.CheckConstraint(
                condition=Q(url__startswith="http://") | Q(url__startswith="https://"),
                name="registry_backend_url_is_http",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("npu", "igpu", "dgpu", "cpu")), name="registry_backend_class_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(watts__isnull=True) | Q(watts__gte=0))
                & (Q(latency_ms__isnull=True) | Q(latency_ms__gte=0))
                & (Q(tokens_per_s__isnull=True) | Q(tokens_per_s__gte=0)),
                name="registry_backend_figures_are_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(first_byte_s__gt=0) & Q(silence_s__gt=0),
                name="registry_backend_waits_are_bounded",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        row = super().from_db(*args, **kwargs)
        row._key_is_for = (row.__dict__.get("url", ""), row.__dict__.get("sealed_key", ""))
        return row

    def clean(self) -> None:
        """Raises ValidationError by field; brings name, address and patterns into the form that the row keeps."""
        faults: dict[str, str] = {}

        def kept(field: str, read: Callable[[str], object]) -> None:
            try:
                setattr(self, field, read(getattr(self, field)))
            except ValueError as error:
                faults[field] = str(error)

        kept("name", fields.name)
        kept("url", lambda text: fields.url(text, self.protocol))
        kept("ca_file", fields.ca_file)
        for field in ("supported", "preferred", "excluded"):
            kept(field, lambda text: "\n".join(fields.patterns(text)))
        kept("aliases", lambda text: "\n".join(f"{k}={v}" for k, v in fields.aliases(text).items()))
        kept("max_size", lambda text: text.strip().lower() if fields.parameters(text) else "")
        was, sealed = self._key_is_for
        if sealed and sealed == self.sealed_key and "url" not in faults and _host(was) != _host(self.url):
            faults["url"] = (
                f"the key was given for {_host(was)} and goes nowhere else: give it again, or take it away"
            )
        if faults:
            raise ValidationError(faults)

    def set_key(self, key: str) -> None:
        """'' takes it away. Raises ValueError for what no header can carry."""
        self.sealed_key = sealing.seal(fields.key(key), sealing.BACKEND) if key else ""

    @property
    def max_parameters(self) -> int:
        return fields.parameters(self.max_size)

    def spec(self) -> RemoteSpec:
        """The value that inference needs of this row, its key open. Raises SealBroken."""
        return RemoteSpec(
            id=self.name,
            protocol=cast(Protocol, self.protocol),
            url=self.url,
            key=sealing.unseal(self.sealed_key, sealing.BACKEND),
            kind=self.kind,
            watts=self.watts,
            latency_s=None if self.latency_ms is None else self.latency_ms / 1000,
            priority=self.priority,
            tokens_per_s=self.tokens_per_s,
            models=fields.aliases(self.aliases),
            supported=fields.patterns(self.supported),
            preferred=fields.patterns(self.preferred),
            excluded=fields.patterns(self.excluded),
            max_parameters=self.max_parameters,
            verify_tls=self.verify_tls,
            ca_file=self.ca_file,
            slots=self.slots,
            first_byte_s=self.first_byte_s,
            between_s=self.silence_s,
            whole_s=max(WHOLE_S, self.first_byte_s),
        )


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
