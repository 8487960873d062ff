"""The tables of API keys: who may ask from elsewhere, for what; and apart from it, what each key was used for."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from registry.models.change import Stamped


class ApiKey(Stamped):
    """One key. The secret is nowhere: its sha256 is enough, since nobody guesses 256 random bits."""

    class Scope(models.TextChoices):
        """Each includes those before it."""

        INFER = "infer", "infer: ask models, list them"
        MANAGE = "manage", "manage: pull, create, copy and delete models too"
        ADMIN = "admin", "admin: reach the admin pages too, from elsewhere"

    class Priority(models.IntegerChoices):
        BEST_EFFORT = 0, "best-effort"
        NORMAL = 1, "normal"
        HIGH = 2, "high"
        CRITICAL = 3, "critical"

    name = models.CharField(max_length=80, unique=True, help_text="who or what has it")
    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    shown = models.CharField(
        "begins with", max_length=16, editable=False, help_text="to tell it from others; the rest is not kept"
    )
    scope = models.CharField(max_length=8, choices=Scope.choices, default=Scope.INFER)
    models_allowed = models.CharField(
        "models",
        max_length=2000,
        blank=True,
        help_text="names between commas, `*` stands for anything (qwen3:*); empty: all",
    )
    devices_allowed = models.CharField(
        "devices",
        max_length=200,
        blank=True,
        help_text="NPU, GPU, GPU.1, CPU and names of other servers between commas; empty: all",
    )
    remote_allowed = models.BooleanField(
        "other servers",
        default=True,
        help_text="whether its requests may be answered by other servers; else they never leave this machine",
    )
    priority = models.PositiveSmallIntegerField(
        "highest priority", choices=Priority.choices, default=Priority.CRITICAL
    )
    default_priority = models.PositiveSmallIntegerField(
        "usual priority",
        choices=Priority.choices,
        default=Priority.NORMAL,
        help_text="of its requests that ask for none; never above the highest",
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="empty: no limit"
    )
    tokens_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="of prompts and answers together; empty: no limit",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="UTC; empty: never")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("name",)
        verbose_name = "API key"
        constraints = [
            models.CheckConstraint(condition=~Q(name="") & ~Q(sha256=""), name="registry_api_key_has_a_name"),
            models.CheckConstraint(
                condition=Q(scope__in=("infer", "manage", "admin")), name="registry_api_key_scope_is_known"
            ),
            models.CheckConstraint(condition=Q(priority__lte=3), name="registry_api_key_priority_is_known"),
            models.CheckConstraint(
                condition=Q(default_priority__lte=3), name="registry_api_key_default_priority_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKeyUse(models.Model):
    """What a key was used for, apart from the keys, which the server would read again after each write."""

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, related_name="use", primary_key=True)
    requests = models.PositiveBigIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0, help_text="of prompts and answers together")
    used_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.key_id}: {self.requests}"
