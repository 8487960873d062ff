"""Which files of OpenVINO IR make up a model: one graph, or the parts of a model that looks at images."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Final

WHOLE: Final = "openvino_model"
LANGUAGE: Final = "openvino_language_model"
_SEEING: Final = (LANGUAGE, "openvino_text_embeddings_model", "openvino_vision_embeddings_model")
"""What every family has; some have more parts (a merger, a resampler, a projection), and fail to load without."""

PATTERN: Final = re.compile(
    r"openvino_(?:(?:[a-z][a-z0-9_]{0,60}_)?model|tokenizer|detokenizer)\.(?:xml|bin)", re.ASCII
)
"""Every name that such a file can have."""


def looks(names: Container[str]) -> bool:
    """Whether these are the files of a model that looks at images."""
    return f"{LANGUAGE}.xml" in names


def parts(names: Container[str]) -> tuple[str, ...]:
    """The graphs that this model must have, that of the language first."""
    return _SEEING if looks(names) else (WHOLE,)


def files(names: Container[str]) -> Iterator[str]:
    for part in parts(names):
        yield f"{part}.xml"
        yield f"{part}.bin"
