"""The table of requests that have ended: who asked what of which model, where it ran, how long it took. Never a text.

The server writes it beside the requests (`registry.request_rows`) and removes what is older than NPU_PROXY_LOG_DAYS.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class RequestLog(models.Model):
    """One generation, embedding, pull or creation; the newest has the highest id."""

    request_id = models.CharField(
        max_length=160, db_index=True, help_text="the one of the header X-Request-ID"
    )
    time = models.DateTimeField(db_index=True, help_text="of its arrival, UTC")
    endpoint = models.CharField(max_length=80)
    dialect = models.CharField(max_length=16)
    model = models.CharField(max_length=200, blank=True, db_index=True, help_text="as it was asked for")
    key = models.CharField("API key", max_length=80, blank=True, db_index=True, help_text="its name")
    priority = models.PositiveSmallIntegerField(default=1)
    status = models.PositiveSmallIntegerField(help_text="499: the client left")
    error = models.CharField(max_length=300, blank=True)
    requested = models.CharField("requested device", max_length=100, blank=True)
    routed = models.CharField("routed device", max_length=100, blank=True, db_index=True)
    executed = models.CharField("executed device", max_length=100, blank=True)
    reason = models.CharField(max_length=40, blank=True, help_text="of the route")
    fallback_reason = models.CharField(max_length=40, blank=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    ttft_s = models.FloatField("TTFT", null=True, blank=True, help_text="wait and load included")
    decode_s = models.FloatField("decode", null=True, blank=True)
    queue_s = models.FloatField("queue", null=True, blank=True)
    load_s = models.FloatField("load", null=True, blank=True)
    total_s = models.FloatField("total")
    tokens_per_s = models.FloatField("tokens/s", null=True, blank=True, help_text="after the first token")
    energy_j = models.FloatField("energy", null=True, blank=True)
    energy_source = models.CharField(
        max_length=16, blank=True, help_text="measured, estimated; empty: unknown"
    )

    class Meta:
        ordering = ("-id",)
        verbose_name = "request"
        constraints = [
            models.CheckConstraint(
                condition=Q(priority__lte=3), name="registry_request_log_priority_is_known"
            )
        ]

    def __str__(self) -> str:
        return self.request_id
