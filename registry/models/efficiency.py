"""The table of the efficiency mode: one row, once somebody has chosen."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from inference.modes import NAMES
from registry.models.change import Stamped

ONLY = 1
"""The key of the one row."""


class EfficiencyChoice(Stamped):
    """What the operator chose; without a row NPU_PROXY_MODE counts."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)
    mode = models.CharField(max_length=20, choices=[(name, name) for name in NAMES])
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "efficiency mode"
        verbose_name_plural = "efficiency mode"
        constraints = [
            models.CheckConstraint(condition=Q(id=ONLY), name="registry_efficiency_is_one_row"),
            models.CheckConstraint(condition=Q(mode__in=NAMES), name="registry_efficiency_is_a_mode"),
        ]

    def __str__(self) -> str:
        return self.mode
