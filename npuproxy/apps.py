"""The Django application of the whole: it brings the checks."""

from __future__ import annotations

from django.apps import AppConfig


class NpuproxyConfig(AppConfig):
    name = "npuproxy"

    def ready(self) -> None:
        from npuproxy import checks  # noqa: F401  # registers them
