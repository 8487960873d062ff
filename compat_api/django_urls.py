"""Django's patterns for what does not stream, made from the one table."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from compat_api.catalogue import VIEWS
from compat_api.urls import OPERATIONS

urlpatterns: list[URLPattern] = [
    re_path(
        f"^{operation.path.lstrip('/').replace('{id}', '(?P<id>.+)')}$",
        VIEWS[operation.name].as_view(),
        name=operation.name,
    )
    for operation in OPERATIONS
    if not operation.streaming
]
