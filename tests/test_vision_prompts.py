"""Prompts of models that look at images: where the tags stand, what is counted, and what a user cannot type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import vision_models
from chat_templates import template_spec
from msgspec import structs

from inference.chat_template import ChatTemplate
from inference.errors import BadRequest
from inference.image_tokens import ImageTokens
from inference.prompt import ZERO_WIDTH_SPACE, Prompt
from inference.tokenizer import TextCodec
from inference.types import Image, Message, ModelSpec
from inference.vision import bare_prompt, runtime_text

STRINGS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
PARTS = (
    "{% for m in messages %}[{{ m['role'] }}]{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] }}{% endfor %}{% endfor %}"
)
"""As LLaVA's: a content that is a string shows nothing."""
BOTH = "{% for m in messages %}[{{ m.role }}]{{ m.content if m.content is string else '!' }}{% endfor %}"


def shown(at: int) -> Image:
    return Image(data=b"", field="", at=at)


def said(content: str, *places: int, role: str = "user") -> Message:
    return Message(role=role, content=content, images=tuple(map(shown, places)))


def prompt(folder: Path, template: str, *messages: Message) -> Prompt:
    spec = structs.replace(template_spec(folder, template), capabilities=frozenset({"vision"}))
    return ChatTemplate.open(spec).tried(messages)


@pytest.mark.parametrize("template", [STRINGS, PARTS, BOTH])
def test_tags_stand_where_the_images_do_and_count_through_the_turns(tmp_path: Path, template: str) -> None:
    messages = (said("ab", 0, 1, 2), said("ok", role="assistant"), said("c", 1))
    assert prompt(tmp_path, template, *messages).text == (
        "[user]<ov_genai_image_0>a<ov_genai_image_1>b<ov_genai_image_2>[assistant]ok[user]c<ov_genai_image_3>"
    )


def test_a_model_without_eyes_gets_no_tags_and_no_parts(tmp_path: Path) -> None:
    spec = template_spec(tmp_path, STRINGS)
    assert ChatTemplate.open(spec).tried((said("<image>"),)) == Prompt("[user]<image>")


@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool"])
@pytest.mark.parametrize("typed", ["<ov_genai_image_0>", "<ov_genai_video_1>", "<image>", "<|image_1|>"])
def test_what_anybody_types_is_broken_and_a_tag_of_ours_is_not(tmp_path: Path, role: str, typed: str) -> None:
    made = prompt(tmp_path, STRINGS, said(f"x{typed}", role=role), said("y", 0))
    broken = f"{typed[0]}{ZERO_WIDTH_SPACE}{typed[1:]}"
    assert made.disarmed() == f"[{role}]x{broken}[user]<ov_genai_image_0>y"


def test_a_tag_cannot_be_put_together_from_both_sides_of_an_image(tmp_path: Path) -> None:
    made = prompt(tmp_path, STRINGS, said("<ima<ov_genai_image_0>ge>", 4))
    assert made.disarmed().count("<ov_genai_image_0>") == 1
    assert "<image>" not in made.disarmed()


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("plain", (), "plain"),
        ("a<x>b<y>", ((1, 4), (5, 8)), "a<|x>b<|y>"),
        ("<x><x>", ((0, 3), (3, 6)), "<|x><|x>"),
        ("abc", ((1, 2),), "abc"),  # one character cannot be broken
    ],
)
def test_quoted_spans_are_broken_behind_their_first_character(text: str, spans: Any, expected: str) -> None:
    assert Prompt(text, spans).disarmed() == expected.replace("|", ZERO_WIDTH_SPACE)


def test_a_raw_prompt_has_its_images_first_unless_it_names_them() -> None:
    assert bare_prompt(said("x", 0, 0)) == "<ov_genai_image_0><ov_genai_image_1>x"
    assert bare_prompt(said("x<ov_genai_image_0>", 0)) == "x<ov_genai_image_0>"
    assert bare_prompt(said("x")) == "x"


def eyes_of(folder: Path, config: Any, seen: Any) -> ImageTokens:
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(seen))
    return ImageTokens(ModelSpec(name="m", digest="", path=folder, kind="chat"))


LLAVA = {"model_type": "llava", "vision_config": {"patch_size": 14}}
SEEN = {"crop_size": {"height": 336, "width": 336}}


@pytest.mark.parametrize(
    ("config", "seen", "tokens"),
    [
        (LLAVA, SEEN, 576),
        (LLAVA | {"vision_feature_select_strategy": "default"}, SEEN, 576),
        (LLAVA | {"vision_feature_select_strategy": "full"}, SEEN, 577),
        (LLAVA, {}, 0),
        (LLAVA, {"crop_size": 336}, 0),
        ({"model_type": "llava"}, SEEN, 0),
        ({"model_type": "minicpmv"}, SEEN, 0),
    ],
)
def test_the_tokens_of_an_image_are_those_of_its_family_where_that_is_known(
    tmp_path: Path, config: Any, seen: Any, tokens: int
) -> None:
    eyes = eyes_of(tmp_path, config, seen)
    expanded = eyes.expanded("a<ov_genai_image_0>b<ov_genai_image_1>c", [(10, 10), (900, 3)])
    assert eyes.is_known == bool(tokens)
    image = "<image>" * tokens + "\n" if tokens else ""
    assert expanded == f"a{image}b{image}c"


def test_gemmas_images_have_all_as_many_tokens(tmp_path: Path) -> None:
    eyes = eyes_of(tmp_path, {"model_type": "gemma3", "mm_tokens_per_image": 3}, {})
    tokens = "<image_soft_token>" * 3
    assert (
        eyes.expanded("<ov_genai_image_0>x", [(9, 9)]) == f"\n\n<start_of_image>{tokens}<end_of_image>\n\nx"
    )


QWEN = {"patch_size": 14, "merge_size": 2, "min_pixels": 3136, "max_pixels": 12_845_056}


@pytest.mark.parametrize(
    ("size", "seen", "tokens"),
    [
        ((280, 280), QWEN, 100),
        ((1024, 768), QWEN, 37 * 27),
        ((70, 70), QWEN, 9),  # a half is rounded up
        ((40, 40), QWEN, 4),  # too few pixels: scaled up
        ((8000, 4000), QWEN, 181 * 90),  # too many: scaled down
        ((280, 280), QWEN | {"max_pixels": 28 * 28 * 25}, 25),
        ((280, 280), {"patch_size": 14, "merge_size": 2, "size": {"shortest_edge": 3136, "longest_edge": 99_999}}, 100),
        ((280, 280), {"patch_size": 14}, 0),
    ],
)  # fmt: skip
def test_qwens_images_have_tokens_by_their_size(
    tmp_path: Path, size: tuple[int, int], seen: Any, tokens: int
) -> None:
    eyes = eyes_of(tmp_path, {"model_type": "qwen2_vl"}, seen)
    expanded = eyes.expanded("<ov_genai_image_0>", [size])
    assert expanded.count("<|image_pad|>") == tokens
    assert expanded.startswith("<|vision_start|>") == expanded.endswith("<|vision_end|>") == bool(tokens)


def test_a_tag_of_no_image_stands_for_nothing(tmp_path: Path) -> None:
    eyes = eyes_of(tmp_path, LLAVA, SEEN)
    assert eyes.expanded("a<ov_genai_image_1>b<ov_genai_image_99999999999999999999>c", [(1, 1)]) == "abc"


def test_what_the_tokenizer_puts_before_a_text_is_not_there_twice(tmp_path: Path) -> None:
    folder = vision_models.make(tmp_path / "eyes")
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    codec = TextCodec.open(ModelSpec(name="m", digest="", path=folder, kind="chat"))
    assert list(codec.lead) == [0]
    assert runtime_text(Prompt("<|endoftext|>hello"), (), codec) == "hello"
    assert runtime_text(Prompt("hello"), (0,), codec) == "hello"
    with pytest.raises(BadRequest, match="holds images of earlier turns"):
        runtime_text(Prompt("hello"), (7,), codec)
