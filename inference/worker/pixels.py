"""An image file -> the pixels that GenAI takes: one tensor [height, width, 3] of bytes, red, green, blue."""

from __future__ import annotations

import numpy
import openvino
from numpy.typing import NDArray
from PIL import Image, ImageOps

from inference.worker.image_files import BadImage, opened


def tensor(data: bytes) -> openvino.Tensor:
    """The first frame, upright as its EXIF says, on white where it is transparent. Raises BadImage."""
    return openvino.Tensor(rgb(data))


def rgb(data: bytes) -> NDArray[numpy.uint8]:
    with opened(data) as file:
        try:
            file.load()
            image = ImageOps.exif_transpose(file)
            return numpy.ascontiguousarray(_flat(image), dtype=numpy.uint8)
        except Exception as error:  # the decoders raise all kinds of errors for a broken file
            raise BadImage(f"is a broken {file.format} image: it cannot be decoded") from error


def _flat(image: Image.Image) -> NDArray[numpy.uint8] | Image.Image:
    if image.mode.startswith("I"):  # grey of 16 bits, which convert() would cut off at 255 instead of scaling
        grey = (numpy.asarray(image).astype(numpy.int64) >> 8).clip(0, 255)
        return numpy.repeat(grey.astype(numpy.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return image.convert("RGB")
