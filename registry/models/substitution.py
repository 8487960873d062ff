"""The table of substitutions: which model answers instead of another, and when."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from inference.substitution import ANY, WHEN
from registry import names
from registry.models.change import Stamped

_LABELS = {
    "any": "always when it cannot run",
    "does_not_fit": "prompt too long for it, or no memory for it",
    "unavailable": "no device or server for it",
    "too_hot": "all its devices too hot",
}


class Substitution(Stamped):
    """Instead of one model another. Several for one model are tried in the order in which they were made."""

    model = models.CharField(max_length=names.MAX_LENGTH, help_text="what is asked for, with its tag")
    substitute = models.CharField(max_length=names.MAX_LENGTH, help_text="what answers instead, with its tag")
    when = models.CharField(max_length=16, default=ANY, choices=[(name, _LABELS[name]) for name in WHEN])

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(
                Lower("model"), Lower("substitute"), name="registry_substitution_is_there_once"
            ),
            models.CheckConstraint(
                condition=~Q(model="") & ~Q(substitute=""), name="registry_substitution_has_both_names"
            ),
            models.CheckConstraint(
                condition=~Q(model=F("substitute")), name="registry_substitution_is_another"
            ),
            models.CheckConstraint(condition=Q(when__in=WHEN), name="registry_substitution_when_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.substitute} instead of {self.model}"
