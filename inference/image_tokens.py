"""What a family of models writes into a prompt for an image: one token for each piece that it makes of it.

The rules are GenAI's. That of LLaVA was compared with what its pipeline counts; those of Gemma 3 and Qwen2-VL are as in
its source. Of other families the text alone is counted before a device is chosen. Whatever stands here, the count at
the end of an answer is the pipeline's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from inference.tokenizer_files import read_json
from inference.types import ModelSpec

Size = tuple[int, int]
"""Width and height in pixels."""
Written = Callable[[Size], str]

_TAG: Final = re.compile(r"<ov_genai_image_(\d+)>")
_GEMMA_TOKENS: Final = 256
"""mm_tokens_per_image, where a configuration leaves it out."""


class ImageTokens:
    """The rule of one model. `is_known`: there is one."""

    def __init__(self, spec: ModelSpec) -> None:
        config, seen = read_json(spec, "config.json"), read_json(spec, "preprocessor_config.json")
        rule = _RULES.get(str(config.get("model_type")))
        self._written = rule(config, seen) if rule else None
        self.is_known = self._written is not None

    def expanded(self, prompt: str, sizes: Sequence[Size]) -> str:
        """The prompt whose tokens are those that the model gets; `sizes`: of the images, by their numbers."""

        def write(match: re.Match[str]) -> str:
            number = int(match[1]) if len(match[1]) < 9 else len(sizes)
            return self._written(sizes[number]) if self._written and number < len(sizes) else ""

        return _TAG.sub(write, prompt)


def _llava(config: dict[str, Any], seen: dict[str, Any]) -> Written | None:
    """The patches of one square, and one token for the class where the model keeps it; then a line end."""
    patch = _number(config, "vision_config", "patch_size")
    height, width = _number(seen, "crop_size", "height"), _number(seen, "crop_size", "width")
    if not (patch and height and width):
        return None
    tokens = (height // patch) * (width // patch) + (config.get("vision_feature_select_strategy") == "full")
    return lambda size: "<image>" * tokens + "\n"


def _gemma(config: dict[str, Any], seen: dict[str, Any]) -> Written | None:
    """The same number for every image."""
    tokens = _number(config, "mm_tokens_per_image") or _GEMMA_TOKENS
    written = "\n\n<start_of_image>" + "<image_soft_token>" * tokens + "<end_of_image>\n\n"
    return lambda size: written


def _qwen(config: dict[str, Any], seen: dict[str, Any]) -> Written | None:
    """Pieces of some pixels a side; the image is scaled so that it has no more and no fewer than the model takes."""
    least = _number(seen, "min_pixels") or _number(seen, "size", "shortest_edge")
    most = _number(seen, "max_pixels") or _number(seen, "size", "longest_edge")
    side = _number(seen, "patch_size") * _number(seen, "merge_size")
    if not (least and most and side):
        return None

    def written(size: Size) -> str:
        across, down = (max(_rounded(pixels / side), 1) for pixels in size)
        if across * down * side * side > most:
            shrunk = math.sqrt(size[0] * size[1] / most)
            across, down = (max(math.floor(pixels / shrunk / side), 1) for pixels in size)
        elif across * down * side * side < least:
            grown = math.sqrt(least / (size[0] * size[1]))
            across, down = (math.ceil(pixels * grown / side) for pixels in size)
        return "<|vision_start|>" + "<|image_pad|>" * (across * down) + "<|vision_end|>"

    return written


def _rounded(value: float) -> int:
    """As C rounds; Python's round(2.5) is 2."""
    return math.floor(value + 0.5)


def _number(config: object, *names: str) -> int:
    """The positive number at this place, 0 where there is none."""
    for name in names:
        config = config.get(name) if isinstance(config, dict) else None
    return config if isinstance(config, int) and config > 0 else 0


_RULES: Final[dict[str, Callable[[dict[str, Any], dict[str, Any]], Written | None]]] = {
    "llava": _llava,
    "gemma3": _gemma,
    "qwen2_vl": _qwen,
    "qwen2_5_vl": _qwen,
}
