"""LoRA weights before they are loaded: the runtime takes a truncated file, and one of another model, without a word.

Only the header of a safetensors file is read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from inference.errors import BadRequest
from registry import ir

CONFIG: Final = "adapter_config.json"
MOST: Final = 8
"""Adapters of one model."""

_LARGEST_HEADER: Final = 16 * 1024 * 1024
_PREFIXES: Final = ("base_model.model.", "transformer.", "")
_LAYER: Final = re.compile(r"(?P<layer>.+)\.lora_(?P<side>A|B|down|up)(?:\.default)?\.weight")
_WEIGHED: Final = re.compile(r'name="__module\.([^/"]+)/[^"]*"\s+type="MatMul"')


class Shape(Struct, frozen=True):
    """What an adapter changes."""

    layers: frozenset[str]
    """As the file names them, without `lora_A` and what follows."""
    rank: int


def read(path: Path, shown: str) -> Shape:
    """Raises BadRequest, which names the file by `shown`, for what is no whole LoRA in safetensors."""
    sides: dict[str, dict[str, list[int]]] = {}
    for name, shape in _tensors(path, shown).items():
        match = _LAYER.fullmatch(name)
        if match:
            side = "A" if match["side"] in ("A", "down") else "B"
            sides.setdefault(match["layer"], {})[side] = shape
    if not sides:
        raise _refused(shown, "holds no tensors named …lora_A.weight and …lora_B.weight")
    ranks = set()
    for layer, pair in sides.items():
        if (
            set(pair) != {"A", "B"}
            or len(pair["A"]) != 2
            or len(pair["B"]) != 2
            or pair["A"][0] != pair["B"][1]
        ):
            raise _refused(shown, f"has no matching pair of lora_A and lora_B for {layer[:120]}")
        ranks.add(pair["A"][0])
    return Shape(frozenset(sides), max(ranks))


def check_fits(shape: Shape, model: Path, shown: str) -> int:
    """How many of its layers the model has. Raises BadRequest when that is none: it would change nothing."""
    graph = f"{ir.LANGUAGE if (model / f'{ir.LANGUAGE}.xml').is_file() else ir.WHOLE}.xml"
    try:
        known = set(_WEIGHED.findall((model / graph).read_text("utf-8")))
    except OSError:
        raise _refused(shown, f"cannot be compared with the model, whose {graph} is missing") from None
    used = sum(any(layer.removeprefix(prefix) in known for prefix in _PREFIXES) for layer in shape.layers)
    if not used:
        example = min(shape.layers)[:120]
        raise _refused(shown, f"was made for another model: this one has no layer like {example}")
    return used


def alpha(config: Path | None, shape: Shape) -> float:
    """The factor that PEFT's adapter_config.json asks for; 1 without one. Raises BadRequest."""
    if config is None:
        return 1.0
    try:
        wishes: Mapping[str, Any] = json.loads(config.read_text("utf-8"))
        rank = float(wishes.get("r") or shape.rank)
        scale = float(wishes.get("lora_alpha") or rank) / (
            math.sqrt(rank) if wishes.get("use_rslora") else rank
        )
    except (ValueError, TypeError, AttributeError, ZeroDivisionError, OSError):
        raise _refused(CONFIG, "is not JSON with the numbers r and lora_alpha") from None
    if not math.isfinite(scale):
        raise _refused(CONFIG, "asks for a factor that is no number")
    return scale


def _tensors(path: Path, shown: str) -> dict[str, list[int]]:
    """Name -> shape; every tensor's bytes are in the file, and nothing is behind them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
            raise _refused(shown, "is no safetensors file; give the adapter as .safetensors")
        text = file.read(length)
    try:
        head = json.loads(text)
        entries = {name: entry for name, entry in head.items() if name != "__metadata__"}
        shapes = {name: [int(extent) for extent in entry["shape"]] for name, entry in entries.items()}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise _refused(shown, "has a broken safetensors header") from None
    if 8 + length + end != size:
        raise _refused(shown, f"has {size} bytes and should have {8 + length + end}: it is not whole")
    return shapes


def _refused(shown: str, fault: str) -> BadRequest:
    return BadRequest(f"adapter '{shown}' {fault}", "adapters")
