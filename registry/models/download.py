"""The table of downloads: the truth about every pull. A queue's message only wakes who looks here.

    queued -> running -> done | failed | cancelled        (running -> queued when its owner's lease ends)

Every change of state is one conditional update whose row count says whether it was ours to make.
"""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from registry import names


class Download(models.Model):
    """One pull of one name, from the wish to its end. Rows of ended pulls stay as the history."""

    class States(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    ACTIVE: Final = (States.QUEUED, States.RUNNING)

    name = models.CharField(max_length=names.MAX_LENGTH, help_text="of the model that it makes, with its tag")
    repo = models.CharField(max_length=names.MAX_LENGTH, help_text="repository on the hub")
    revision = models.CharField(
        max_length=250, blank=True, help_text="branch, tag or commit that was asked for"
    )
    commit = models.CharField(max_length=64, blank=True, help_text="what the revision was when it began")
    endpoint = models.CharField(
        max_length=500, blank=True, help_text="address of the hub; empty: HF_ENDPOINT"
    )
    device = models.CharField(
        max_length=16, blank=True, help_text="device it is meant for; decides about build and precision"
    )
    variant = models.CharField(max_length=80, blank=True, help_text="quantisation of the GGUF file asked for")
    secret = models.TextField(blank=True, help_text="the request's token, sealed; gone when the pull ends")

    state = models.CharField(max_length=16, choices=States, default=States.QUEUED)
    phase = models.CharField(
        max_length=24, blank=True, help_text="of a running pull: manifest, files, verify, convert, install"
    )
    owner = models.CharField(max_length=200, blank=True, help_text="process that works on it")
    lease_until = models.DateTimeField(
        null=True, blank=True, help_text="after it another owner may take over"
    )
    cancel_requested = models.BooleanField(default=False)
    attempts = models.PositiveIntegerField(default=0, help_text="times that an owner claimed it")

    files = models.JSONField(
        default=list, blank=True, help_text="[{name, size, sha256, completed}] in the order of the transfer"
    )
    total_bytes = models.PositiveBigIntegerField(default=0)
    completed_bytes = models.PositiveBigIntegerField(default=0)
    rate = models.FloatField(null=True, blank=True, help_text="bytes a second over the last seconds")
    error = models.TextField(blank=True)
    error_code = models.CharField(max_length=40, blank=True, help_text="class of the error, for programs")

    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                condition=Q(state__in=("queued", "running")),
                name="registry_download_one_active_a_name",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running", "done", "failed", "cancelled")),
                name="registry_download_state_is_known",
            ),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(repo=""), name="registry_download_has_name_and_repo"
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | (~Q(owner="") & Q(lease_until__isnull=False)),
                name="registry_download_running_has_an_owner",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running")) | Q(secret=""),
                name="registry_download_ended_keeps_no_secret",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running")) | Q(finished_at__isnull=False),
                name="registry_download_ended_has_a_time",
            ),
        ]
        indexes = [models.Index(fields=["state", "lease_until"], name="registry_download_to_claim")]

    def __str__(self) -> str:
        return f"{self.name}: {self.state}"

    @property
    def is_active(self) -> bool:
        return self.state in self.ACTIVE
