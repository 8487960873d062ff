"""The change stamps: how the server learns of writes that another process made.

Each table whose rows the server keeps in memory derives from `Stamped`. Every write to it draws a new stamp
for the table in the same transaction, so a reader that sees the new stamp sees the new rows too. The server
reads the stamps each second (`registry.store`). Figures that change with each request (last use, bytes of a
pull) do not belong in such a table: each write makes the server read the table again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import models, router, transaction
from django.db.models.signals import post_delete
from django.dispatch import Signal

M = TypeVar("M", bound=models.Model)
_VERSION = "version"

committed = Signal()
"""Sent in the process and thread that wrote, after its transaction is durable; `sender` is the table's
class."""


class Change(models.Model):
    """One row a table. The stamp is drawn at random, so that one never comes back after a rollback or a
    restore."""

    table = models.CharField(max_length=63, primary_key=True)
    stamp = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(table=""), name="registry_change_has_a_table")
        ]

    def __str__(self) -> str:
        return f"{self.table}: {self.stamp}"


def bump(table: type[models.Model], using: str) -> None:
    """Draw a new stamp for the table; call it inside the transaction of the write that it announces.

    The row's lock is held until the commit, so stamps become visible in the order of commits.
    """
    Change.objects.using(using).bulk_create(
        [Change(table=table._meta.db_table, stamp=_drawn())],
        update_conflicts=True,
        unique_fields=["table"],
        update_fields=["stamp"],
    )
    transaction.on_commit(lambda: committed.send(sender=table), using=using)


def stamps() -> dict[str, int]:
    """The stamp of every table that was ever written: one query."""
    return dict(Change.objects.values_list("table", "stamp"))


class StampedQuerySet(models.QuerySet[M]):
    """Bulk writes bypass save(); they are stamped too (bulk_update and aupdate end in update)."""

    def update(self, **kwargs: Any) -> int:
        if _has_version(self.model):
            kwargs.setdefault(_VERSION, _drawn())
        with transaction.atomic(using=self.db):
            changed = super().update(**kwargs)
            if changed:
                bump(self.model, self.db)
        return changed

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        objs = list(objs)
        if _has_version(self.model):
            for row in objs:
                setattr(row, _VERSION, _drawn())
        with transaction.atomic(using=self.db):
            created = super().bulk_create(objs, *args, **kwargs)
            if created:
                bump(self.model, self.db)
        return created


StampedManager = models.Manager.from_queryset(StampedQuerySet)


class Stamped(models.Model):
    """A table whose rows the server keeps in memory."""

    objects = StampedManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, using: str | None = None, **kwargs: Any) -> None:
        if _has_version(type(self)):
            setattr(self, _VERSION, _drawn())
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], _VERSION}
        alias = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=alias):
            super().save(*args, using=alias, **kwargs)
            bump(type(self), alias)


def _has_version(table: type[models.Model]) -> bool:
    """A table of many rows: a reader takes only those whose version it does not know."""
    return any(field.attname == _VERSION for field in table._meta.concrete_fields)


def _drawn() -> int:
    return secrets.randbits(62)


def _stamp_deletion(sender: type[models.Model], using: str, **_: Any) -> None:
    """A deletion, be it of one row, of a query set or a cascade: the signal comes inside its transaction."""
    if issubclass(sender, Stamped):
        bump(sender, using)


post_delete.connect(_stamp_deletion, dispatch_uid="registry.stamp_deletion")
