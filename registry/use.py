"""What is known of each model's life: where it ran, how fast, when last, and what its compile caches take."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from registry.models import CompileCache, Usage
from registry.store import ModelInfo


class Ran(Struct, frozen=True, kw_only=True):
    """All use of one model on one device. Times are of the last request; None: never measured."""

    device: str
    """That executed it, as the runtime says; the emulated NPU is labelled."""
    requests: int
    ttft_s: float | None
    tokens_per_s: float | None
    load_s: float | None
    used_at: datetime


class Cache(Struct, frozen=True, kw_only=True):
    """One compile cache."""

    device: str
    size_bytes: int
    compile_s: float | None


class Life(Struct, frozen=True, kw_only=True):
    ran: tuple[Ran, ...] = ()
    """The most recently used device first."""
    caches: tuple[Cache, ...] = ()

    @property
    def used_at(self) -> datetime | None:
        return self.ran[0].used_at if self.ran else None

    @property
    def cache_bytes(self) -> int:
        return sum(cache.size_bytes for cache in self.caches)


def of(models: Iterable[ModelInfo]) -> dict[str, Life]:
    """By name; two queries, however many models. Names with the same files share their caches."""
    ran: dict[str, list[Ran]] = {}
    for row in Usage.objects.order_by("-used_at"):
        one = Ran(
            device=row.device, requests=row.requests, ttft_s=row.ttft_s, tokens_per_s=row.tokens_per_s,
            load_s=row.load_s, used_at=row.used_at,
        )  # fmt: skip
        ran.setdefault(row.digest, []).append(one)
    caches: dict[str, list[Cache]] = {}
    for cache in CompileCache.objects.order_by("device", "-used_at"):
        entry = Cache(device=cache.device, size_bytes=cache.size_bytes, compile_s=cache.compile_s)
        caches.setdefault(cache.digest, []).append(entry)
    return {
        info.name: Life(ran=tuple(ran.get(info.digest, ())), caches=tuple(caches.get(info.spec.digest, ())))
        for info in models
    }
