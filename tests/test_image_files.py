"""Image files into pixels: formats, frames, turns, transparency, depths; and files that are broken or too large."""

from __future__ import annotations

from io import BytesIO
from random import Random
from typing import Any

import numpy as np
import pytest
from pictures import bomb, chunk, picture
from PIL import Image

from inference.worker.image_files import BadImage, opened
from inference.worker.pixels import rgb, tensor

RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, form: str = "PNG", **how: Any) -> bytes:
    with BytesIO() as file:
        image.save(file, form, **how)
        return file.getvalue()


def halves(left: tuple[int, int, int] = RED, right: tuple[int, int, int] = BLUE) -> Image.Image:
    image = Image.new("RGB", (40, 20), left)
    image.paste(right, (20, 0, 40, 20))
    return image


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_format_gives_the_same_pixels(form: str) -> None:
    found = rgb(saved(halves(), form))
    assert found.shape == (20, 40, 3)
    assert found.dtype == np.uint8
    assert np.allclose(found[10, 5].astype(int), RED, atol=12)
    assert np.allclose(found[10, 35].astype(int), BLUE, atol=12)


def test_the_runtime_gets_a_tensor_of_rows() -> None:
    given = tensor(saved(halves()))
    assert (list(given.shape), given.element_type.get_type_name()) == ([20, 40, 3], "u8")
    assert tuple(given.data[0, 39]) == BLUE


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_of_many_frames_the_first_is_seen(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE, BLUE)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:])
    assert np.allclose(rgb(data)[8, 8].astype(int), RED, atol=12)


def test_a_photograph_is_turned_upright_as_its_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    found = rgb(saved(halves(), "JPEG", exif=exif.tobytes()))
    assert found.shape == (40, 20, 3)
    assert np.allclose(found[5, 10].astype(int), RED, atol=12)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGBA", (8, 8), (0, 0, 0, 0)),
        Image.new("LA", (8, 8), (0, 0)),
        Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert("P"),
    ],
    ids=lambda image: image.mode,
)
def test_what_is_transparent_is_white(image: Image.Image) -> None:
    how: dict[str, Any] = {"transparency": 0} if image.mode == "P" else {}
    assert tuple(rgb(saved(image, **how))[4, 4]) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16"])
def test_every_mode_becomes_red_green_and_blue(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 128 * 256, dtype=np.uint16))
    else:
        image = Image.new("L", (8, 8), 128).convert(mode)
    found = rgb(saved(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert found.shape == (8, 8, 3)
    if mode in ("L", "I;16"):
        assert tuple(found[4, 4]) == (128, 128, 128)


def fault_of(data: bytes) -> str:
    """'' for what can be read."""
    try:
        return "" if rgb(data).ndim == 3 else "no rows"
    except BadImage as error:
        return str(error)


def test_a_file_cut_off_or_spoilt_anywhere_is_a_bad_image_or_an_image() -> None:
    random = Random(7)
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        whole = saved(halves().resize((64, 64)), form)
        for _ in range(60):
            data = bytearray(whole[: random.randrange(len(whole))] if random.random() < 0.5 else whole)
            for _ in range(random.randrange(4)):
                if data:
                    data[random.randrange(len(data))] = random.randrange(256)
            assert "0x" not in fault_of(bytes(data))  # Pillow names its objects by their addresses


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not an image"),
        (b"%PDF-1.7", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
        (picture("red", form="TIFF"), "is not an image"),
        (picture("red", form="ICO"), "is not an image"),
        (bomb(16_385, 100), "a side has at most 16384"),
        (bomb(8000, 8000), "at most 40 million"),
        (bomb(2, 401), "at most 200 times"),
    ],
)  # fmt: skip
def test_bounds_are_told_by_the_head_alone(data: bytes, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        opened(data)


HEADS = (
    ("PNG", 33, chunk(b"juNK", b"")),
    ("JPEG", 2, b"\xff\xe5\0\2"),
    ("JPEG", 2, b"\xff\xff\xff\xff"),
)


@pytest.mark.parametrize(("form", "at", "part"), HEADS)
def test_a_head_of_a_million_parts_is_given_up_early(form: str, at: int, part: bytes) -> None:
    """Pillow would read them all, one by one."""
    whole = picture("red", form=form)
    few, many = (whole[:at] + part * count + whole[at:] for count in (50, 1_000_000))
    assert opened(few).size == (64, 48)
    with pytest.raises(BadImage, match="is not an image that can be read"):
        opened(many)


def test_a_large_file_of_many_small_parts_is_read() -> None:
    noise = Image.effect_noise((2500, 2500), 100).convert("RGB")
    data = saved(noise, compress_level=0)
    assert len(data) > 18_000_000
    assert rgb(data).shape == (2500, 2500, 3)


def test_a_file_that_claims_more_than_it_has_is_broken() -> None:
    with pytest.raises(BadImage, match="is a broken PNG image"):
        rgb(bomb(5000, 5000))
