"""The table of use: when a model ran last, where, and how fast. Apart from Model, whose rows the server keeps
in memory and would read again after each write.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Usage(models.Model):
    """One row for each model and device. The server adds up and writes every few seconds."""

    digest = models.CharField(max_length=64, help_text="of the model")
    device = models.CharField(max_length=100, help_text="that executed it, as the runtime says")
    requests = models.PositiveBigIntegerField(default=0)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    ttft_s = models.FloatField(null=True, blank=True, help_text="of the last request that generated")
    tokens_per_s = models.FloatField(
        null=True, blank=True, help_text="decode rate of the last one, after its first token"
    )
    load_s = models.FloatField(null=True, blank=True, help_text="of the last load")
    used_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-used_at",)
        verbose_name_plural = "usage"
        constraints = [
            models.UniqueConstraint(
                fields=["digest", "device"], name="registry_usage_one_a_model_and_device"
            ),
            models.CheckConstraint(
                condition=~Q(digest="") & ~Q(device=""), name="registry_usage_has_its_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.digest[:12]} on {self.device}"
