"""The Django application of the whole: it brings the checks, and its admin."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class NpuproxyConfig(AppConfig):
    default = True
    name = "npuproxy"

    def ready(self) -> None:
        from npuproxy import checks  # noqa: F401  # registers them


class NpuproxyAdminConfig(admin_apps.AdminConfig):
    default = False
    default_site = "npuproxy.admin_site.Site"
