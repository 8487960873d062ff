"""The table of devices: what the server found on this machine, and how much memory each may take."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from registry.models.change import Stamped


class Device(Stamped):
    """One device by the name that the runtime gives it. The server writes the row, an operator its budget."""

    class Kinds(models.TextChoices):
        NPU = "npu", "NPU"
        IGPU = "igpu", "integrated GPU"
        DGPU = "dgpu", "GPU"
        CPU = "cpu", "CPU"

    name = models.CharField(max_length=40, unique=True, help_text="as the runtime names it: NPU, GPU.1, CPU")
    full_name = models.CharField(max_length=200, blank=True)
    kind = models.CharField(
        "class", max_length=8, choices=Kinds, default="", blank=True, help_text="npu, igpu, dgpu or cpu"
    )
    driver = models.CharField(
        max_length=100, default="", blank=True, help_text="version; empty: the runtime does not tell"
    )
    memory_bytes = models.PositiveBigIntegerField(
        "memory",
        null=True,
        blank=True,
        help_text="its own, or the machine's where it shares that; empty: the runtime does not tell",
    )
    present = models.BooleanField(default=True, help_text="the runtime saw it when it last looked")
    emulated = models.BooleanField(default=False)
    memory_budget_mb = models.PositiveIntegerField(
        "memory budget in MB",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="what models on it may take together, KV caches included; empty: no bound but "
        "NPU_PROXY_MEMORY_BUDGET, which counts in any case. Counts from the next load on",
    )
    found_at = models.DateTimeField(default=timezone.now, help_text="when the server first saw it")

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="registry_device_has_a_name"),
            models.CheckConstraint(
                condition=Q(kind__in=("", "npu", "igpu", "dgpu", "cpu")),
                name="registry_device_class_is_known",
            ),
            models.CheckConstraint(
                condition=Q(memory_budget_mb__isnull=True) | Q(memory_budget_mb__gt=0),
                name="registry_device_budget_is_something",
            ),
        ]

    def __str__(self) -> str:
        return self.name
