"""What a caller's key allows of a request: its model, its devices, its priority, other servers. One place for all
dialects."""

from __future__ import annotations

from msgspec import structs

from inference.errors import NotAllowed
from inference.types import ModelSpec, Placement
from registry import names
from registry.key import Key
from registry.model_info import ModelInfo


def within(key: Key | None, wished: Placement) -> Placement:
    """The wish, with the key's devices, no more urgent than the key allows, and on this machine where it says so."""
    if key is None:
        return wished
    return structs.replace(
        wished,
        allowed=key.devices,
        models=key.models,
        priority=min(wished.priority, key.priority),
        remote=wished.remote and key.remote,
        kept_by=wished.kept_by if key.remote else (*wished.kept_by, "this API key"),
    )


def default_priority(key: Key | None) -> int:
    """Of a request that asks for none."""
    return 1 if key is None else min(key.default_priority, key.priority)


def check_names(key: Key | None, *asked: str) -> None:
    """For what changes or shows models: none that the key does not allow is touched, made or copied. Raises NotAllowed
    and what the grammar of names raises."""
    for name in asked:
        if key is not None and key.models and name and not key.allows_model(names.parse(name).key):
            raise _refusal(key, name)


def allowed(key: Key | None, models: list[ModelInfo]) -> list[ModelInfo]:
    """For lists: a client shows what it may use."""
    if key is None or not key.models:
        return models
    return [model for model in models if key.allows_model(model.name)]


def check_model(key: Key | None, asked: str, spec: ModelSpec) -> None:
    """Raises NotAllowed. A key may allow a model by its own name or by an alias."""
    if key is None or not key.models:
        return
    own = asked if spec.remote else names.parse(asked).key  # other servers have names that our grammar lacks
    if not key.allows_model(own, spec.name):
        raise _refusal(key, asked)


def _refusal(key: Key, asked: str) -> NotAllowed:
    return NotAllowed(f"this API key does not allow the model '{asked}'; it allows {', '.join(key.models)}")
