"""Names of devices as OpenVINO spells them, and what people mean by shorter ones."""

from __future__ import annotations

from functools import lru_cache

from inference.errors import BadRequest

CHAIN = ("NPU", "GPU", "CPU")


@lru_cache(maxsize=64)
def chain(device: str, fallback: str) -> tuple[str, ...]:
    """NPU_PROXY_DEVICE, NPU_PROXY_FALLBACK_DEVICE, then NPU, GPU, CPU; each once. AUTO leaves the usual order."""
    first = "NPU" if device == "AUTO" else device
    return tuple(dict.fromkeys(name for name in (first, fallback, *CHAIN) if name))


def kind_of(device: str, full_name: str) -> str:
    """The runtime ends the full name of a GPU with (iGPU) or (dGPU). What a plugin of somebody else's adds counts as a
    processor: nothing is known of it."""
    if device.startswith("GPU"):
        return "dgpu" if "(dGPU)" in full_name else "igpu"
    return "npu" if device.startswith("NPU") else "cpu"


def resolve_device(name: str, known: tuple[str, ...]) -> str:
    """`GPU` and `NPU` mean the first of their kind where the runtime numbers them."""
    if name in known:
        return name
    return next((device for device in known if device.startswith(f"{name}.")), name)


@lru_cache(maxsize=64)
def expanded(order: tuple[str, ...], there: tuple[str, ...]) -> tuple[str, ...]:
    """The chain with every device of a class in the place of its name, the first of them first; each once."""
    found = ([device for device in there if device.startswith(f"{name}.")] for name in order)
    named = ((name,) if name in there else among or (name,) for name, among in zip(order, found, strict=True))
    return tuple(dict.fromkeys(device for among in named for device in among))


def target(wish: str, known: tuple[str, ...], there: tuple[str, ...] | None = None) -> str:
    """The device the caller named: one of those that are `there`, else one that is known. Raises BadRequest for a name
    that no device can have."""
    there = known if there is None else there
    if not wish or wish in there:
        return wish
    name = resolve_device(wish.upper(), there)
    if name not in there:
        name = resolve_device(wish.upper(), known)
    if name not in known and name.partition(".")[0] not in CHAIN:
        raise BadRequest(f"unknown device or backend '{wish}'; known here: {', '.join(known)}", "device")
    return name
