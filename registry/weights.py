"""What an OpenVINO IR says of a model's weights: how many, and in which precision. Reads the .xml only."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from xml.etree import ElementTree

from msgspec import Struct

_LABELS = {
    "i4": "INT4",
    "u4": "INT4",
    "nf4": "NF4",
    "f4e2m1": "MXFP4",
    "i8": "INT8",
    "u8": "INT8",
    "f8e4m3": "FP8",
    "f16": "F16",
    "bf16": "BF16",
    "f32": "F32",
}
_AUXILIARY = ("/scale", "/zero_point", "/scale_convert", "/zero_point_subtract")
"""Ends of the names that NNCF gives to what only unpacks a compressed weight."""


class Weights(Struct, frozen=True):
    count: int
    quantization: str
    """INT8, INT4, F16…: the precision of most of them; '' without any."""


def read(xml: Path) -> Weights:
    """Count the model's parameters. Raises OSError and ElementTree.ParseError.

    A parameter is an element of a floating-point or compressed constant; indices and shapes are integers, and
    what unpacks a compressed weight carries a name of its own.
    """
    elements: Counter[str] = Counter()
    for _, layer in ElementTree.iterparse(xml, events=("end",)):
        if layer.tag == "layer":
            if layer.get("type") == "Const" and not layer.get("name", "").endswith(_AUXILIARY):
                elements += _elements(layer)
            layer.clear()
    most = elements.most_common(1)
    return Weights(elements.total(), most[0][0] if most else "")


class KvShape(Struct, frozen=True):
    """Of the KV cache: what one token takes."""

    layers: int
    heads: int
    width: int


def kv_shape(xml: Path) -> KvShape | None:
    """From the variables that keep keys and values, two a layer; None without any.

    Raises OSError and ElementTree.ParseError.
    """
    shapes: Counter[tuple[int, int]] = Counter()
    for _, layer in ElementTree.iterparse(xml, events=("end",)):
        if layer.tag == "layer":
            data = layer.find("data")
            if layer.get("type") == "ReadValue" and data is not None:
                sides = data.get("variable_shape", "").split(",")
                if len(sides) == 4 and sides[1].isdigit() and sides[3].isdigit():
                    shapes[int(sides[1]), int(sides[3])] += 1
            layer.clear()
    if not shapes:
        return None
    (heads, width), _ = shapes.most_common(1)[0]
    return KvShape(shapes.total() // 2, heads, width)


def _elements(constant: ElementTree.Element) -> Counter[str]:
    data = constant.find("data")
    label = _LABELS.get(data.get("element_type", "")) if data is not None else None
    if data is None or label is None:
        return Counter()
    size = prod(int(side) for side in data.get("shape", "").split(",") if side.strip())
    return Counter({label: size} if size > 1 else {})


def human(count: int) -> str:
    """`3.1M`, `22.7M`, `4B`: a parameter count as clients show it."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count + unit // 20_000 >= unit:  # 999,950 is 1M, not 1000K
            return f"{count / unit:.1f}".removesuffix(".0") + letter
    return str(count)
