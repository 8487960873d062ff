"""Compile caches in admin: what a device compiled, how large it is, what it saves; deleting one removes its folder."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from inference import compile_cache
from inference.errors import Unavailable
from inference.states import LoadedModel
from registry.admin import cells, running
from registry.admin.digests import of_files
from registry.admin.removing import RemovingAdmin
from registry.models import CompileCache


@admin.register(CompileCache)
class CompileCacheAdmin(RemovingAdmin):
    """Read-only: the server writes a row after a load."""

    list_display = (
        "of_model",
        "device",
        "size",
        "state",
        "compiled_in",
        "last_used",
        "created",
        "driver",
        "openvino",
    )
    list_filter = ("device", "openvino")
    search_fields = ("digest", "device", "driver")
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    empty_words = (
        "Nothing was compiled yet: an NPU or a GPU writes here with its first load; a CPU never does."
    )
    fields = (*list_display, "digest", "path")

    class Media:
        css = cells.STYLES

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: CompileCache | None = None) -> bool:
        return False

    def what_goes(self, row: CompileCache) -> str:
        took = f", compiled in {cells.seconds(row.compile_s)} last time" if row.compile_s else ""
        return f"{cells.size(row.size_bytes)} of files{took}; the next load there compiles again"

    def why_not(self, row: CompileCache) -> str:
        if _users(row):
            return "a loaded model uses it: unload that first"
        return "" if _is_ours(row) else "its folder is not in the folder of caches"

    def take_away(self, row: CompileCache) -> None:
        compile_cache.clear(Path(row.path))
        if compile_cache.size_bytes(Path(row.path)):
            raise Unavailable("some of its files are in use; try again later", 10.0)
        CompileCache.objects.filter(pk=row.pk).delete()

    @admin.display(description="model", ordering="digest")
    def of_model(self, row: CompileCache) -> SafeString:
        return of_files(row.digest)

    @admin.display(ordering="size_bytes")
    def size(self, row: CompileCache) -> str:
        return cells.size(row.size_bytes)

    @admin.display(description="state")
    def state(self, row: CompileCache) -> SafeString:
        if running.snapshot() is None:
            return cells.tag("unknown", title="this process is not the server")
        if _users(row):
            return cells.tag("in use", "good")
        return cells.tag("idle") if Path(row.path).is_dir() else cells.tag("folder gone", "warn")

    @admin.display(description="compiled in", ordering="compile_s")
    def compiled_in(self, row: CompileCache) -> str:
        return cells.seconds(row.compile_s)

    @admin.display(description="last used", ordering="used_at")
    def last_used(self, row: CompileCache) -> SafeString:
        return cells.ago(row.used_at)

    @admin.display(description="made", ordering="created_at")
    def created(self, row: CompileCache) -> SafeString:
        return cells.ago(row.created_at)


def _users(row: CompileCache) -> list[LoadedModel]:
    now = running.snapshot()
    if now is None:
        return []
    return [held for held in now.models if held.digest == row.digest and held.device == row.device]


def _is_ours(row: CompileCache) -> bool:
    """What is removed lies below the folder of caches, whatever a row says."""
    root = settings.ENGINE.cache_dir
    return root is not None and Path(root).resolve() in Path(row.path).resolve().parents
