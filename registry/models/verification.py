"""The table of verifications: when a model's files were last read and compared with their digests, and how it went."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q
from django.utils import timezone

from registry.models.model import Model


class Verification(models.Model):
    """The latest one of a model, or the one that runs. Apart from Model, whose rows the server keeps in memory."""

    class States(models.TextChoices):
        RUNNING = "running"
        GOOD = "good"
        DAMAGED = "damaged"

    ENDED: Final = (States.GOOD, States.DAMAGED)

    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="verification")
    digest = models.CharField(
        max_length=64, help_text="of the files that it was about; another one than the model's: out of date"
    )
    state = models.CharField(max_length=16, choices=States, default=States.RUNNING)
    total_bytes = models.PositiveBigIntegerField(default=0)
    read_bytes = models.PositiveBigIntegerField(default=0)
    faults = models.JSONField(default=list, blank=True, help_text="sentences that begin with the file's name")
    began_at = models.DateTimeField(default=timezone.now)
    beat_at = models.DateTimeField(default=timezone.now, help_text="last sign of life of who reads")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=("running", "good", "damaged")),
                name="registry_verification_state_is_known",
            ),
            models.CheckConstraint(
                condition=Q(state="running") | Q(ended_at__isnull=False),
                name="registry_verification_ended_has_a_time",
            ),
            models.CheckConstraint(
                condition=~Q(state="good") | Q(faults=[]), name="registry_verification_good_has_no_fault"
            ),
            models.CheckConstraint(
                condition=~Q(state="damaged") | ~Q(faults=[]),
                name="registry_verification_damaged_has_a_fault",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_id}: {self.state}"
