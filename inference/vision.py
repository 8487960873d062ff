"""Prompts of models that look at images: the tags that stand for images, and how many tokens an image takes.

GenAI takes such a prompt as text. It replaces `<ov_genai_image_0>`, a tag of its own, by what the model's family writes
for the first image, and then counts the tokens. What users typed must never pass for such a tag.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

from inference.errors import BadRequest
from inference.prompt import Prompt
from inference.tokenizer import TextCodec
from inference.tokenizer_files import read_json
from inference.types import Image, Message, ModelSpec
from inference.worker import image_files

CAPABILITY: Final = "vision"
TAG_BEGINNINGS: Final = (
    "<ov_genai_image_",
    "<ov_genai_video_",
    "<image>",
    "<video>",
    "<|image_",
)
"""What GenAI takes for an image or a video in a prompt, beside a model's tokens: its own tags and the families'."""

_TAG: Final = re.compile(r"<ov_genai_image_\d+>")


def looks(spec: ModelSpec) -> bool:
    return CAPABILITY in spec.capabilities


def tag(number: int) -> str:
    """Of the image of that number in the request, from 0 on."""
    return f"<ov_genai_image_{number}>"


def images_of(messages: tuple[Message, ...]) -> list[Image]:
    return [image for message in messages for image in message.images]


def bare_prompt(message: Message) -> str:
    """A prompt that is used as it stands, its images before it, unless it says itself where they are."""
    if _TAG.search(message.content):
        return message.content
    return "".join(tag(number) for number in range(len(message.images))) + message.content


def runtime_text(prompt: Prompt, before: Sequence[int], codec: TextCodec) -> str:
    """What the pipeline gets, which puts before it what the tokenizer puts before every text. Raises BadRequest."""
    earlier = codec.text_of(before) if before else ""
    if any(beginning in earlier for beginning in TAG_BEGINNINGS):
        raise BadRequest(
            '"context": it holds images of earlier turns; send them again as messages to /api/chat', "context"
        )
    return (earlier + prompt.disarmed()).removeprefix(codec.text_of(codec.lead))


async def check(messages: tuple[Message, ...]) -> None:
    """Number, formats and sizes of the images of a request, without decoding them. Raises BadRequest."""
    if images := images_of(messages):
        await asyncio.to_thread(_check, images)


def _check(images: list[Image]) -> None:
    if len(images) > image_files.MAX_IMAGES:
        field = images[image_files.MAX_IMAGES].field
        raise BadRequest(
            f'"{field}": {len(images)} images; a request has at most {image_files.MAX_IMAGES}', field
        )
    pixels = 0
    for image in images:
        try:
            with image_files.opened(image.data) as file:
                pixels += file.width * file.height
        except image_files.BadImage as error:
            raise BadRequest(f'"{image.field}" {error}', image.field) from None
        if pixels > image_files.MAX_SUM_PIXELS:
            most = image_files.MAX_SUM_PIXELS // 10**6
            raise BadRequest(
                f'"{image.field}": the images have more than {most} million pixels together', image.field
            )


class ImageTokens:
    """What stands in a prompt for an image, as far as its family's rule is known here (`is_exact`).

    Of other families the text alone is counted before a device is chosen; the pipeline tells the sum at the end.
    """

    def __init__(self, spec: ModelSpec) -> None:
        config = read_json(spec, "config.json")
        self._written = ""
        if config.get("model_type") == "llava":
            self._written = _llava(config, read_json(spec, "preprocessor_config.json"))
        self.is_exact = bool(self._written)

    def expanded(self, prompt: str) -> str:
        """The prompt whose tokens are those that the model gets."""
        return _TAG.sub(self._written, prompt)


def _llava(config: dict[str, Any], seen: dict[str, Any]) -> str:
    """One token for each patch of a square, and one for the class where the model keeps it; then a line end."""
    crop, vision = seen.get("crop_size"), config.get("vision_config")
    patch = vision.get("patch_size") if isinstance(vision, dict) else None
    height, width = (crop.get("height"), crop.get("width")) if isinstance(crop, dict) else (None, None)
    if not (isinstance(patch, int) and patch > 0 and isinstance(height, int) and isinstance(width, int)):
        return ""
    patches = (height // patch) * (width // patch)
    if config.get("vision_feature_select_strategy") == "full":
        patches += 1
    return "<image>" * patches + "\n"
