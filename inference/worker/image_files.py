"""Which files are taken for images, and how large they may be: told by the head of a file, before anything is decoded.

The server reads heads alone. A worker decodes (`worker.pixels`): a file made to break a decoder ends one worker.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_IMAGES: Final = 20
"""Of one request."""
MAX_PIXELS: Final = 40_000_000
"""Of one image: 120 MB as the model takes it."""
MAX_SUM_PIXELS: Final = 80_000_000
"""Of all images of a request."""
MAX_SIDE: Final = 16_384
MAX_SUM_BYTES: Final = 128 * 1024**2
"""Of the files of a request: what a frame to a worker holds, by half."""
MAX_READS: Final = 100_000
"""Of one file, by Pillow's parsers, which are Python: a head of a million empty parts would keep them for seconds. The
largest PNG of 8 KB a part that a request can hold takes a quarter of it."""
MAX_RATIO: Final = 200
"""Long side to short side. Models scale the short side up to their square, and the long one with it."""

Image.MAX_IMAGE_PIXELS = None  # the bounds above are checked at the head, and are lower than Pillow's own


class BadImage(ValueError):
    """The words follow the name of the field, unless that is given too."""

    def __init__(self, words: str, field: str = "") -> None:
        super().__init__(words)
        self.field = field


class _File(BytesIO):
    """A file that can be read so often and no more."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise BadImage("has too many parts")
        return super().read(size)


def opened(data: bytes) -> Image.Image:
    """The image with its head read and its bounds checked, not decoded. Raises BadImage."""
    try:
        image = Image.open(_File(data), formats=FORMATS)
    except Exception as error:  # Pillow raises all kinds of errors for a broken head
        raise BadImage(f"is not an image that can be read; give one of {', '.join(FORMATS)}") from error
    width, height = image.size
    if min(width, height) < 1:
        raise BadImage("is an image without pixels")
    if max(width, height) > MAX_SIDE:
        raise BadImage(f"is {width} x {height} pixels; a side has at most {MAX_SIDE}")
    if width * height > MAX_PIXELS:
        raise BadImage(f"is {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are taken")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise BadImage(f"is {width} x {height} pixels; a side is at most {MAX_RATIO} times the other")
    return image
