"""How much memory a model gets: weights as they are, and a KV pool sized in blocks from the budget.

The pool, not the model's config, bounds a prompt (openvino-facts 14, 21), so its size is fixed at load: a pool that
grows as needed forgets cached prefixes as soon as the next conversation runs.
"""

from __future__ import annotations

import psutil
from msgspec import Struct

from inference.errors import LoadFailed
from inference.types import ModelSpec

PROCESS_BYTES = 120_000_000
"""A worker with its runtime and no model: 85 MB after the import, the rest for compiled kernels (measured)."""
WEIGHTS_FACTOR = 1.1
KV_BLOCK_TOKENS = {"CPU": 32, "GPU": 16}
KV_TOKENS_WANTED = 65_536
"""Room for some sixteen conversations of 4,096 tokens, so that their prefixes stay cached."""
KV_SHARE = 0.25
"""Of the budget, at most, for one model's pool, unless a single context needs more."""
SLACK_TOKENS = 64
"""Of the pool, never promised to a prompt: two blocks that the scheduler may hold half used."""
NPU_RESPONSE_TOKENS = 2048


class MemoryPlan(Struct, frozen=True, kw_only=True):
    cost_bytes: int
    kv_blocks: int = 0
    limit_tokens: int = 0
    """Prompt and answer together; for an NPU the prompt alone is bounded by `max_prompt_len`."""
    max_prompt_len: int = 0
    min_response_len: int = 0


def default_budget() -> int:
    """60 % of this machine's RAM."""
    return int(psutil.virtual_memory().total * 0.6)


def context_of(spec: ModelSpec, configured: int) -> int:
    """OLLAMA_CONTEXT_LENGTH lowers the model's own context, 0 leaves it."""
    return min(spec.context_length, configured) if configured else spec.context_length


def full_context_of(spec: ModelSpec, configured: int) -> int:
    """What a worker is sized for: it serves names that lower the context, and names that do not."""
    full = spec.full_context_length or spec.context_length
    return min(full, configured) if configured else full


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def weights_cost(spec: ModelSpec) -> int:
    return PROCESS_BYTES + int(spec.size_bytes * WEIGHTS_FACTOR)


def plan(
    spec: ModelSpec,
    device: str,
    *,
    budget: int,
    context: int,
    max_prompt_len: int,
    budget_name: str = "NPU_PROXY_MEMORY_BUDGET",
) -> MemoryPlan:
    """Raises LoadFailed with the figures when the model can never fit the budget."""
    fixed = weights_cost(spec)
    if spec.kind == "embedding":
        shapes = 2 if device.startswith("NPU") else 1  # the second one is for short texts
        cost = fixed + (shapes - 1) * int(spec.size_bytes * WEIGHTS_FACTOR)
        return _checked(spec, MemoryPlan(cost_bytes=cost, limit_tokens=context), budget, budget_name)
    if device.startswith("NPU"):
        prompt = min(max_prompt_len, context - min(NPU_RESPONSE_TOKENS, context // 8))
        response = min(NPU_RESPONSE_TOKENS, context - prompt)
        cost = fixed + (prompt + response) * spec.kv_bytes_per_token
        sizes = MemoryPlan(
            cost_bytes=cost, limit_tokens=prompt + response, max_prompt_len=prompt, min_response_len=response
        )
        return _checked(spec, sizes, budget, budget_name)
    sizes = _batching_plan(spec, device, budget - fixed, int(budget * KV_SHARE), context, fixed)
    return _checked(spec, sizes, budget, budget_name)


def _batching_plan(
    spec: ModelSpec, device: str, left: int, share: int, context: int, fixed: int
) -> MemoryPlan:
    block = KV_BLOCK_TOKENS["GPU" if device.startswith("GPU") else "CPU"]
    per_token = max(spec.kv_bytes_per_token, 1)
    tokens = min(max(context, KV_TOKENS_WANTED), max(share // per_token, context + SLACK_TOKENS))
    tokens = min(max(tokens, context + SLACK_TOKENS), max(left // per_token, 0))
    blocks = tokens // block
    limit = min(context, blocks * block - SLACK_TOKENS)
    if limit <= 0:  # the least that would do
        return MemoryPlan(cost_bytes=fixed + (SLACK_TOKENS + 2 * block) * per_token)
    return MemoryPlan(cost_bytes=fixed + blocks * block * per_token, kv_blocks=blocks, limit_tokens=limit)


def _checked(spec: ModelSpec, sizes: MemoryPlan, budget: int, budget_name: str) -> MemoryPlan:
    if sizes.cost_bytes > budget or sizes.limit_tokens <= 0:
        raise LoadFailed(
            f"model '{spec.name}' needs about {megabytes(sizes.cost_bytes)}, "
            f"{budget_name} allows {megabytes(budget)}"
        )
    return sizes
