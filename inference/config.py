"""What settings.py tells the engine; docs/configuration.md has the variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from inference.modes import STABLE_S


class EngineConfig(Struct, frozen=True, kw_only=True):
    """Every value has the default of its variable."""

    device: str = "NPU"
    fallback_device: str = ""
    npu_emulation: bool = False
    max_prompt_len: int = 4096
    token_limit: int = 1800
    inference_timeout_s: float = 180.0
    queue_timeout_s: float = 0.0
    max_queue: int = 512
    keep_alive_s: float = 300.0
    context_length: int = 0
    """0: the model's own."""
    overflow: Literal["error", "truncate"] = "error"
    memory_budget_bytes: int = 0
    """0: 60 % of RAM."""
    embedding_device: str = "auto"
    embedding_cache_size: int = 1000
    """Vectors kept for each device; 0: none."""
    cache_dir: Path | None = None
    log_dir: Path | None = None
    npu_models: int = 1
    busy_wait_s: float = 2.0
    sysfs_root: Path = Path("/")
    """Below which the kernel's readings lie: /sys and /proc."""
    quiet_hours: str = ""
    """As `inference.machine_state.quiet_hours` reads them; '' for the usual ones on a machine with a battery."""
    auto_mode_s: float = STABLE_S
    """The machine must ask for another mode for so long before Auto stands for it."""
    measured_routing: bool = False
    """Always by score, never by the chain."""
    loopback_channel: bool = False
    """Reach workers over a loopback port even where a socketpair exists."""
