"""What the engine tells those who keep records; it keeps none itself."""

from __future__ import annotations

from msgspec import Struct

from inference.compile_cache import CompileCacheUse


class LoadReport(Struct, frozen=True, kw_only=True):
    """A model was loaded."""

    model: str
    device: str
    executed: str
    """As the runtime says; the emulated NPU is labelled."""
    load_s: float
    cache: CompileCacheUse | None = None
    """None where the device keeps no compile cache, or wrote none."""
