"""The table of compile caches: a folder for each model, device, driver and version of OpenVINO."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class CompileCache(models.Model):
    """What a device compiled once and loads quickly since. The server writes it after a load."""

    digest = models.CharField(max_length=64, help_text="of the model's files")
    device = models.CharField(max_length=40)
    driver = models.CharField(
        max_length=100, blank=True, help_text="the device's driver, as the runtime names it"
    )
    openvino = models.CharField(max_length=100, help_text="version that compiled it")
    path = models.CharField(max_length=4096, unique=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    compile_s = models.FloatField(null=True, blank=True, help_text="seconds of the load that filled it")
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-used_at",)
        constraints = [
            models.UniqueConstraint(
                fields=["digest", "device", "driver", "openvino"], name="registry_compile_cache_key_is_unique"
            ),
            models.CheckConstraint(condition=~Q(path=""), name="registry_compile_cache_has_a_path"),
        ]

    def __str__(self) -> str:
        return f"{self.digest[:12]} on {self.device}"
