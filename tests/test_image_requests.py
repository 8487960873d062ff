"""Images in the bodies of every API: what is read of them, and what is refused before any model is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pictures import block, picture, text_of, uri, url_part

from compat_api.anthropic.requests import parse_messages
from compat_api.ollama.requests import parse_chat as ollama_chat
from compat_api.ollama.requests import parse_generate
from compat_api.openai.requests import parse_chat as openai_chat
from compat_api.openai.response_requests import parse_responses
from inference.errors import BadRequest
from inference.types import ChatRequest, Message

RED, BLUE = picture("red"), picture("blue")
TEXT = {"type": "text", "text": "What is this?"}
Parse = Callable[[bytes], Any]


def read(parse: Parse, **body: Any) -> tuple[Message, ...]:
    request = parse(json.dumps({"model": "m", **body}).encode())
    assert isinstance(request, ChatRequest)
    return request.messages


def ollama(*content: Any) -> tuple[Message, ...]:
    return read(ollama_chat, messages=[{"role": "user", "content": "x", "images": list(content)}])


def generate(*content: Any) -> tuple[Message, ...]:
    return read(parse_generate, prompt="x", images=list(content))


def openai(*content: Any) -> tuple[Message, ...]:
    return read(openai_chat, messages=[{"role": "user", "content": list(content)}])


def responses(*content: Any) -> tuple[Message, ...]:
    return read(parse_responses, input=[{"role": "user", "content": list(content)}])


def anthropic(*content: Any) -> tuple[Message, ...]:
    return read(parse_messages, max_tokens=1, messages=[{"role": "user", "content": list(content)}])


def input_image(data: bytes) -> dict[str, Any]:
    return {"type": "input_image", "image_url": uri(data)}


INPUT_TEXT = {"type": "input_text", "text": "What is this?"}


@pytest.mark.parametrize(
    ("read_content", "show", "text"),
    [(openai, url_part, TEXT), (responses, input_image, INPUT_TEXT), (anthropic, block, TEXT)],
)
def test_images_stand_where_the_parts_have_them(read_content: Any, show: Any, text: Any) -> None:
    (message,) = read_content(show(RED), text, show(BLUE), text)
    assert message.content == "What is this?\nWhat is this?"
    assert [(image.data, image.at) for image in message.images] == [(RED, 0), (BLUE, len("What is this?"))]


@pytest.mark.parametrize(
    ("read_content", "field"), [(ollama, "messages[0].images[1]"), (generate, "images[1]")]
)
def test_images_of_ollama_come_before_the_text(read_content: Any, field: str) -> None:
    (message,) = read_content(text_of(RED), text_of(BLUE))
    assert [(image.data, image.at) for image in message.images] == [(RED, 0), (BLUE, 0)]
    assert message.images[1].field == field


def test_line_ends_in_base64_are_no_fault() -> None:
    text = text_of(RED)
    (message,) = ollama(f"{text[:10]}\r\n{text[10:]}\n")
    assert message.images[0].data == RED


@pytest.mark.parametrize("kind", ["png", "jpeg", "jpg", "webp", "gif", "PNG", "png;charset=utf-8"])
def test_data_uris_name_any_kind_that_is_read(kind: str) -> None:
    (message,) = openai({"type": "image_url", "image_url": uri(RED, kind)})
    assert message.images[0].data == RED


def test_the_result_of_a_tool_can_be_an_image() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [TEXT, block(BLUE)]}
    (message,) = anthropic(result)
    assert (message.role, [image.data for image in message.images]) == ("tool", [BLUE])
    assert message.images[0].field == "messages.0.content.0.content.1.source.data"


NEVER_FETCHED = "image URLs are not currently supported, please use base64 encoded data instead"
ADDRESSES = (
    "http://169.254.169.254/latest/meta-data", "https://example.com/cat.png", "HTTP://127.0.0.1:1/", "http://0x7f.1/",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_never_fetched(address: str) -> None:
    for part in ({"url": address}, address):
        with pytest.raises(BadRequest, match=NEVER_FETCHED):
            openai({"type": "image_url", "image_url": part})
    with pytest.raises(BadRequest, match=NEVER_FETCHED):
        responses({"type": "input_image", "image_url": address})
    with pytest.raises(BadRequest, match="Only base64 images are supported"):
        anthropic({"type": "image", "source": {"type": "url", "url": address}})


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (lambda: ollama(text_of(RED), "not base64!"), '"messages[0].images[1]": illegal base64 data'),
        (lambda: ollama("aGk"), '"messages[0].images[0]": illegal base64 data'),
        (lambda: ollama("é"), '"messages[0].images[0]": illegal base64 data'),
        (lambda: ollama(uri(RED)), "illegal base64 data; leave out what stands before the comma"),
        (lambda: ollama(""), '"messages[0].images[0]" is empty; give an image in base64'),
        (lambda: ollama(5), "json: cannot unmarshal number into Go struct field"),
        (lambda: generate("?"), '"images[0]": illegal base64 data'),
        (lambda: openai(TEXT, {"type": "image_url", "image_url": "cat"}), "invalid image input: "),
        (lambda: openai({"type": "image_url", "image_url": "file:///etc/passwd"}), "invalid image input: "),
        (
            lambda: openai({"type": "image_url", "image_url": "data:text/html;base64,aGk="}),
            "invalid image input: ",
        ),
        (
            lambda: openai(TEXT, {"type": "image_url", "image_url": {"url": "data:image/png;base64,*"}}),
            '"messages[0].content[1].image_url": illegal base64 data',
        ),
        (lambda: openai({"type": "image_url", "image_url": 5}), "invalid message format"),
        (
            lambda: responses({"type": "input_image", "file_id": "f"}),
            "input[0].content[0].image_url: give a data",
        ),
        (
            lambda: anthropic({"type": "image", "source": {"type": "base64", "data": "*"}}),
            '"messages.0.content.0.source.data": illegal base64 data',
        ),
        (
            lambda: anthropic({"type": "image", "source": None}),
            "invalid image source type: None. Only base64 images are supported.",
        ),
    ],
)
def test_a_fault_names_the_field_and_the_place(given: Callable[[], object], fault: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        given()
    assert fault in str(refusal.value)


def test_the_model_itself_shows_no_images() -> None:
    said = [{"role": "assistant", "content": [TEXT, url_part(RED)]}]
    with pytest.raises(BadRequest, match="an assistant's turn has no images") as refusal:
        read(openai_chat, messages=said)
    assert refusal.value.field == "messages[0].content[1].image_url"
