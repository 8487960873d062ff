"""Prompts of models that look at images: the tags that stand for images, and the bounds of the images themselves.

GenAI takes such a prompt as text. It replaces `<ov_genai_image_0>`, a tag of its own, by what the model's family writes
for the first image, and then counts the tokens. What users typed must never pass for such a tag.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from inference.errors import BadRequest
from inference.image_tokens import Size
from inference.prompt import Prompt
from inference.tokenizer import TextCodec
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


def check_shown(images: list[Image], prompt: str) -> None:
    """Raises BadRequest for an image that a prompt leaves out: the pipeline would do so without a word."""
    for number, image in enumerate(images):
        if tag(number) not in prompt:
            raise BadRequest(f'"{image.field}": the prompt of this model shows no image there', image.field)


async def check(messages: tuple[Message, ...]) -> dict[str, Size]:
    """Number, formats and sizes of the images of a request, without decoding them: their sizes, by their fields.

    Raises BadRequest.
    """
    images = images_of(messages)
    return await asyncio.to_thread(_check, images) if images else {}


def _check(images: list[Image]) -> dict[str, Size]:
    if len(images) > image_files.MAX_IMAGES:
        field = images[image_files.MAX_IMAGES].field
        raise BadRequest(
            f'"{field}": {len(images)} images; a request has at most {image_files.MAX_IMAGES}', field
        )
    if sum(len(image.data) for image in images) > image_files.MAX_SUM_BYTES:
        most = image_files.MAX_SUM_BYTES // 1024**2
        raise BadRequest(
            f'"{images[0].field}": the images have more than {most} MB together', images[0].field
        )
    sizes: dict[str, Size] = {}
    for image in images:
        try:
            with image_files.opened(image.data) as file:
                sizes[image.field] = file.size
        except image_files.BadImage as error:
            raise BadRequest(f'"{image.field}" {error}', image.field) from None
        if sum(width * height for width, height in sizes.values()) > image_files.MAX_SUM_PIXELS:
            most = image_files.MAX_SUM_PIXELS // 10**6
            raise BadRequest(
                f'"{image.field}": the images have more than {most} million pixels together', image.field
            )
    return sizes
