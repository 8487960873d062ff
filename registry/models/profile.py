"""The tables of measured profiles: how fast a model was on a device or another server, and how long its answers are.

The server keeps them in memory and writes what changed every few seconds; a restart reads them. Medians and counts are
for people, the samples are what they are made of.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Profile(models.Model):
    """One row for each model and backend. A model that was replaced has another key, and starts anew."""

    key = models.CharField(
        max_length=200, help_text="of the model: digest and what changes its load, or a name"
    )
    backend = models.CharField(max_length=100, help_text="device or other server")
    model = models.CharField(max_length=400, help_text="the name under which it was asked for last")
    prefill_tokens_per_s = models.FloatField("prompt tokens per second", null=True, blank=True)
    prefill_count = models.PositiveIntegerField("requests that read a prompt", default=0)
    tpot_s = models.FloatField("seconds for each token", null=True, blank=True)
    tpot_count = models.PositiveIntegerField("requests with more tokens than one", default=0)
    load_s = models.FloatField("seconds to load", null=True, blank=True)
    load_count = models.PositiveIntegerField("loads", default=0)
    joules_per_token = models.FloatField("joules for each token", null=True, blank=True)
    joules_count = models.PositiveIntegerField("requests with measured energy", default=0)
    watts = models.FloatField(null=True, blank=True, help_text="of all that its counter counts, meanwhile")
    watts_count = models.PositiveIntegerField("requests with measured watts", default=0)
    samples = models.JSONField(default=dict, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("model", "backend")
        verbose_name = "measured profile"
        constraints = [
            models.UniqueConstraint(
                fields=["key", "backend"], name="registry_profile_one_a_model_and_backend"
            ),
            models.CheckConstraint(
                condition=~Q(key="") & ~Q(backend=""), name="registry_profile_has_its_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} on {self.backend}"


class AnswerLengths(models.Model):
    """Tokens of the last answers of a model, wherever it ran."""

    key = models.CharField(max_length=200, primary_key=True)
    tokens = models.JSONField(default=list, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "lengths of answers"
        constraints = [
            models.CheckConstraint(condition=~Q(key=""), name="registry_answer_lengths_have_a_key")
        ]

    def __str__(self) -> str:
        return self.key[:12]
