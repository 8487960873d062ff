"""From a model and its plan to the frame that makes a worker load it."""

from __future__ import annotations

from inference.memory import MemoryPlan
from inference.types import ModelSpec
from inference.worker import messages as wire


def load_frame(spec: ModelSpec, device: str, plan: MemoryPlan, cache_dir: str, emulated: bool) -> wire.Load:
    role: wire.Role = "batching"
    if spec.kind == "embedding":
        role = "embedding"
    elif device.startswith("NPU"):
        role = "static"
    elif "vision" in spec.capabilities:
        role = "vision"
    return wire.Load(
        role=role, path=str(spec.path), device=device, exact=spec.exact, emulated=emulated,
        kv_blocks=plan.kv_blocks, max_prompt_len=plan.max_prompt_len, min_response_len=plan.min_response_len,
        cache_dir=cache_dir, adapters=tuple((str(adapter.path), adapter.alpha) for adapter in spec.adapters),
        pooling=spec.pooling,
        max_length=(spec.full_context_length or spec.context_length) if role == "embedding" else 0,
    )  # fmt: skip
