"""Who fits into memory beside whom: the budgets, and who has to go for a newcomer.

total       NPU_PROXY_MEMORY_BUDGET: all workers together, KV pools included
device      a budget of its own, where the operator gave it one; it never widens the total
NPU         holds NPU_PROXY_NPU_MODELS language models, whatever their size
pinned      never goes; a newcomer that only pinned models keep out is refused with the figures
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from inference import memory
from inference.config import EngineConfig
from inference.errors import NoRoom
from inference.held import Held
from inference.types import ModelSpec

TOTAL = "NPU_PROXY_MEMORY_BUDGET"
Wait = Literal["wait"]


class Room:
    """The budgets in bytes."""

    def __init__(self, config: EngineConfig) -> None:
        self.total = config.memory_budget_bytes or memory.default_budget()
        self.devices: Mapping[str, int] = {}
        """Device -> bytes, for those that have a budget of their own. Replaced as a whole."""
        self._npu_models = config.npu_models
        self._context_length = config.context_length
        self._max_prompt_len = config.max_prompt_len
        self._plans: dict[tuple[str, str], tuple[ModelSpec, int, memory.MemoryPlan]] = {}
        """As they were made last, with the spec and the budget that they were made for: each request asks."""

    def plan(self, spec: ModelSpec, device: str) -> memory.MemoryPlan:
        """Raises LoadFailed for a model that can never fit, with figures."""
        budget, name = self._budget(device)
        known = self._plans.get((spec.load_key, device))
        if known is not None and known[0] is spec and known[1] == budget:
            return known[2]
        plan = memory.plan(
            spec, device, budget=budget, budget_name=name,
            context=memory.full_context_of(spec, self._context_length), max_prompt_len=self._max_prompt_len,
        )  # fmt: skip
        self._plans[spec.load_key, device] = (spec, budget, plan)
        return plan

    def context_of(self, spec: ModelSpec) -> int:
        return memory.context_of(spec, self._context_length)

    def _budget(self, device: str) -> tuple[int, str]:
        own = self.devices.get(device, 0)
        return (own, f"the budget of {device}") if 0 < own < self.total else (self.total, TOTAL)

    def fits(self, spec: ModelSpec, device: str, cost_bytes: int, held: Iterable[Held]) -> bool:
        """Beside what stays whatever comes: pinned models, and copies of this one on other devices."""
        stay = [other for other in held if other.pinned or other.key[0] == spec.load_key]
        on_device = [other for other in stay if other.device == device]
        if self._is_npu_chat(spec, device) and len(_chats(on_device)) >= self._npu_models:
            return False
        budget, _ = self._budget(device)
        return cost_of(stay) + cost_bytes <= self.total and cost_of(on_device) + cost_bytes <= budget

    def victim(self, newcomer: Held, held: Iterable[Held]) -> Held | Wait | None:
        """Who goes next so that the newcomer fits; None when it fits, 'wait' when those in the way still load.

        Idle before busy, then least recently used. Raises NoRoom.
        """
        others = [other for other in held if other is not newcomer and other.admitted]
        neighbours = [other for other in others if other.device == newcomer.device]
        chats = _chats(neighbours)
        if self._is_npu_chat(newcomer.spec, newcomer.device) and len(chats) >= self._npu_models:
            limit = f"NPU_PROXY_NPU_MODELS allows {self._npu_models} on {newcomer.device}"
            return _next(chats, newcomer, limit, sum(chat.pinned for chat in chats) >= self._npu_models)
        for rivals, (budget, name) in (
            (neighbours, self._budget(newcomer.device)),
            (others, (self.total, TOTAL)),
        ):
            if cost_of(rivals) + newcomer.plan.cost_bytes > budget:
                pinned = cost_of(other for other in rivals if other.pinned)
                limit = f"{name} allows {memory.megabytes(budget)}"
                return _next(rivals, newcomer, limit, pinned + newcomer.plan.cost_bytes > budget)
        return None

    @staticmethod
    def _is_npu_chat(spec: ModelSpec, device: str) -> bool:
        return device.startswith("NPU") and spec.kind == "chat"


def cost_of(held: Iterable[Held]) -> int:
    """Bytes, as budgeted."""
    return sum(other.plan.cost_bytes for other in held)


def _chats(held: Iterable[Held]) -> list[Held]:
    return [other for other in held if other.spec.kind == "chat"]


def _next(rivals: list[Held], newcomer: Held, limit: str, hopeless: bool) -> Held | Wait:
    pinned = [other for other in rivals if other.pinned]
    free = [other for other in rivals if not other.pinned]
    if hopeless or not free:
        names = ", ".join(f"'{name}'" for other in pinned for name in other.names)
        raise NoRoom(
            f"model '{newcomer.spec.name}' needs about {memory.megabytes(newcomer.plan.cost_bytes)} on "
            f"{newcomer.device}; {limit}, and {memory.megabytes(cost_of(pinned))} of it belong to pinned models "
            f"({names}): unpin one"
        )
    ready = [other for other in free if other.ready.done()]
    if not ready:
        return "wait"
    return min(ready, key=lambda other: (other.users > 0, other.last_used))
