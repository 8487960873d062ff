"""The table of aliases: further names under which a model answers, such as 'gpt-4o' for 'qwen3:4b'."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from registry import names
from registry.models.change import Stamped


class Alias(Stamped):
    """A name that stands for another one. Where a model of that name exists, the model wins."""

    name = models.CharField(max_length=names.MAX_LENGTH, help_text="what clients ask for, with its tag")
    target = models.CharField(max_length=names.MAX_LENGTH, help_text="the model that answers, with its tag")

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "aliases"
        constraints = [
            models.UniqueConstraint(Lower("name"), name="registry_alias_name_is_unique"),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(target=""), name="registry_alias_has_both_names"
            ),
            models.CheckConstraint(condition=~Q(name=F("target")), name="registry_alias_is_no_loop"),
        ]

    def __str__(self) -> str:
        return f"{self.name} -> {self.target}"
