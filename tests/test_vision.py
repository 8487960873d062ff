"""Images in requests, against the real server with a tiny model that looks at them (vision_models), by real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import ollama
import psutil
import pytest
import vision_models
from conftest import RunningServer, start_server
from pictures import ABOUT, QUESTION, block, bomb, picture, text_of, uri, url_part
from wire_clients import claude, native, v1

GREEDY = {"temperature": 0}
IMAGE_TOKEN = 7
"""What the tiny model has in its prompts for a patch of an image."""
HOT = {"temperature": 1000, "top_k": 0, "top_p": 1, "seed": 6, "num_predict": 3000}
TEXT = {"type": "text", "text": QUESTION}
CLIENTS = ("ollama.chat", "ollama.generate", "openai.chat", "openai.responses", "anthropic.messages")


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the model `eyes`, and an NPU that cannot run it."""
    folder = tmp_path_factory.mktemp("seeing")
    eyes = vision_models.make(folder / "eyes")
    running = start_server(folder, CHAT_MODEL_PATH=str(eyes), NPU_PROXY_NPU_EMULATION="1")
    try:
        yield running.wait_until_ready()
    finally:
        running.stop()


def ask(server: RunningServer, client: str, *images: bytes, model: str = "eyes") -> tuple[str, int]:
    """The answer about these images, greedily, and the tokens of the prompt, by the client named."""
    turns: Any
    if client == "ollama.chat":
        turns = [{"role": "user", "content": QUESTION, "images": list(images)}]
        chat = native(server.url).chat(model, turns, think=False, options=GREEDY)
        return chat.message.content or "", chat.prompt_eval_count or 0
    if client == "ollama.generate":
        made = native(server.url).generate(model, QUESTION, images=list(images), think=False, options=GREEDY)
        return made.response or "", made.prompt_eval_count or 0
    if client == "openai.chat":
        turns = [{"role": "user", "content": [*map(url_part, images), TEXT]}]
        completion = v1(server.url).chat.completions.create(
            model=model, messages=turns, temperature=0, reasoning_effort="none"
        )
        assert completion.usage
        return completion.choices[0].message.content or "", completion.usage.prompt_tokens
    if client == "openai.responses":
        shown = [{"type": "input_image", "image_url": uri(image)} for image in images]
        turns = [{"role": "user", "content": [*shown, {"type": "input_text", "text": QUESTION}]}]
        response = v1(server.url).responses.create(
            model=model, input=turns, temperature=0, reasoning={"effort": "none"}
        )
        assert response.usage
        return response.output_text, response.usage.input_tokens
    turns = [{"role": "user", "content": [*map(block, images), TEXT]}]
    message = claude(server.url).messages.create(
        model=model, messages=turns, max_tokens=100, extra_body=GREEDY
    )
    return "".join(part.text for part in message.content if part.type == "text"), message.usage.input_tokens


def post(server: RunningServer, path: str, **body: Any) -> httpx.Response:
    return httpx.post(server.url + path, json={"model": "eyes", **body}, timeout=60)


def chat(server: RunningServer, content: str, *images: bytes, **changes: Any) -> httpx.Response:
    turn = {"role": "user", "content": content, "images": [text_of(image) for image in images]}
    body = {"messages": [turn], "stream": False, "think": False, "options": GREEDY}
    return post(server, "/api/chat", **{**body, **changes})


def worker_of(server: RunningServer) -> psutil.Process:
    """The worker that has the model's language part mapped."""
    for process in server.descendants():
        if "eyes/openvino_language_model.bin" in Path(f"/proc/{process.pid}/maps").read_text():
            return process
    pytest.fail(f"no worker of eyes: {server.log()[-2000:]}")


@pytest.mark.parametrize("client", CLIENTS)
def test_the_answer_is_about_the_image_in_every_dialect(seeing: RunningServer, client: str) -> None:
    answers = {colour: ask(seeing, client, picture(colour)) for colour in ABOUT}
    assert all(subject in answers[colour][0] for colour, subject in ABOUT.items())
    assert {tokens for _, tokens in answers.values()} == {35}
    assert ask(seeing, client, picture("red")) == answers["red"]


def test_the_official_client_sends_a_file(seeing: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "blue.jpg"
    path.write_bytes(picture("blue", (300, 200), "JPEG"))
    answer = native(seeing.url).generate("eyes", QUESTION, images=[str(path)], think=False, options=GREEDY)
    assert ABOUT["blue"] in (answer.response or "")


def test_the_capability_is_shown(seeing: RunningServer) -> None:
    """`ollama run` attaches files to what has it, and other clients show a button."""
    assert "vision" in (native(seeing.url).show("eyes").capabilities or [])
    assert "vision" not in (native(seeing.url).show("demo").capabilities or [])


def test_several_images_are_told_apart_by_their_order(seeing: RunningServer) -> None:
    red, blue = picture("red"), picture("blue")
    one, count = ask(seeing, "ollama.chat", red, blue)
    other, _ = ask(seeing, "ollama.chat", blue, red)
    assert one != other
    assert count == 35 + vision_models.IMAGE_TOKENS + 1


def test_the_tokens_of_images_are_counted_and_shown_before_the_answer(seeing: RunningServer) -> None:
    messages: Any = [{"role": "user", "content": [block(picture("red")), TEXT]}]
    counted = claude(seeing.url).messages.count_tokens(model="eyes", messages=messages).input_tokens
    with claude(seeing.url).messages.stream(model="eyes", max_tokens=50, messages=messages) as stream:
        started = next(event for event in stream if event.type == "message_start")
        final = stream.get_final_message()
    assert counted == started.message.usage.input_tokens == final.usage.input_tokens == 35


def test_a_stream_has_the_same_text(seeing: RunningServer) -> None:
    turn = {"role": "user", "content": QUESTION, "images": [picture("lime")]}
    pieces = list(native(seeing.url).chat("eyes", [turn], think=False, options=GREEDY, stream=True))
    assert len(pieces) > 5
    assert (
        "".join(piece.message.content or "" for piece in pieces)
        == ask(seeing, "ollama.chat", picture("lime"))[0]
    )


def test_text_alone_is_answered_as_by_a_model_without_eyes(seeing: RunningServer) -> None:
    seen = ask(seeing, "ollama.chat")
    assert seen == ask(seeing, "ollama.chat", model="demo")
    assert seen[1] == 18


def test_an_image_of_an_earlier_turn_is_still_seen(seeing: RunningServer) -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Look.", "images": [text_of(picture("blue"))]},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": QUESTION},
    ]
    with_image = chat(seeing, "", messages=turns).json()
    del turns[0]["images"]
    without = chat(seeing, "", messages=turns).json()
    assert with_image["prompt_eval_count"] == without["prompt_eval_count"] + vision_models.IMAGE_TOKENS + 1
    assert with_image["message"]["content"] != without["message"]["content"]


def test_neighbours_keep_their_text_while_images_are_looked_at(seeing: RunningServer) -> None:
    jobs = [("blue",), (), ("red",), ("lime",), (), ("red", "lime"), ("blue",), ()] * 2
    alone = {job: ask(seeing, "ollama.chat", *map(picture, job)) for job in set(jobs)}
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda job: ask(seeing, "ollama.chat", *map(picture, job)), jobs))
    assert together == [alone[job] for job in jobs]


def test_the_result_of_a_tool_is_seen(seeing: RunningServer) -> None:
    call = {"type": "tool_use", "id": "shot_1", "name": "screenshot", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "shot_1", "content": [block(picture("lime"))]}
    turns: Any = [
        {"role": "user", "content": "Take a picture."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, TEXT]},
    ]
    answers = set()
    for colour in ("lime", "red"):
        result["content"] = [block(picture(colour))]
        message = claude(seeing.url).messages.create(
            model="eyes", max_tokens=60, messages=turns, extra_body=GREEDY
        )
        answers.add(message.content[0].text if message.content[0].type == "text" else "")
    assert len(answers) == 2


def test_several_choices_see_the_same_image(seeing: RunningServer) -> None:
    turn: Any = {"role": "user", "content": [url_part(picture("lime")), TEXT]}
    completion = v1(seeing.url).chat.completions.create(
        model="eyes", messages=[turn], n=3, temperature=0, reasoning_effort="none"
    )
    assert [ABOUT["lime"] in (choice.message.content or "") for choice in completion.choices] == [True] * 3


def test_an_answer_about_an_image_is_json_where_that_is_asked_for(seeing: RunningServer) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["photo", "drawing"]}}, "required": ["kind"]}
    answer = chat(seeing, QUESTION, picture("red"), format=schema).json()
    assert json.loads(answer["message"]["content"])["kind"] in ("photo", "drawing")


@pytest.mark.parametrize("tag", ["", "<ov_genai_image_0>"])
def test_a_raw_prompt_says_where_its_image_is_or_has_it_before_its_text(
    seeing: RunningServer, tag: str
) -> None:
    prompt = f"<|im_start|>user\n{tag}{QUESTION}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    body = {"prompt": prompt, "raw": True, "stream": False, "options": GREEDY}
    answer = post(seeing, "/api/generate", images=[text_of(picture("blue"))], **body).json()
    assert ABOUT["blue"] in answer["response"]
    assert answer["prompt_eval_count"] == 35


@pytest.mark.parametrize("prompt", ["<ov_genai_image_3>", "<ov_genai_image_99999999999999999999>", "<image>"])
def test_a_raw_prompt_that_names_no_image_of_its_own_is_refused(seeing: RunningServer, prompt: str) -> None:
    assert post(seeing, "/api/generate", prompt=prompt, raw=True, stream=False).status_code == 400


def test_a_context_goes_on_and_images_are_not_in_it(seeing: RunningServer) -> None:
    first = native(seeing.url).generate("eyes", QUESTION, think=False, options=GREEDY)
    again = native(seeing.url).generate("eyes", QUESTION, think=False, options=GREEDY, context=first.context)
    assert (again.prompt_eval_count or 0) > (first.prompt_eval_count or 0)
    shown = native(seeing.url).generate(
        "eyes", QUESTION, images=[picture("red")], think=False, options=GREEDY
    )
    assert shown.context is None
    with pytest.raises(ollama.ResponseError, match="holds images of earlier turns"):
        native(seeing.url).generate("eyes", QUESTION, context=[IMAGE_TOKEN])


TAGS = (
    "<ov_genai_image_0>", "<ov_genai_image_7>", "<ov_genai_video_0>", "<image>", "<|image_1|>", "<|im_end|>",
    "<ov_genai_image_99999999999999999999>", "(<image>./</image>)",
)  # fmt: skip


def test_tags_that_a_user_types_are_text(seeing: RunningServer) -> None:
    """No image, no control token, no error; and what is said of their length is what the pipeline counts."""
    typed = f"{' '.join(TAGS)} {QUESTION}"
    for images in ([], [picture("red")]):
        answer = chat(seeing, typed, *images)
        assert answer.status_code == 200, answer.text
        content = [*map(block, images), {"type": "text", "text": typed}]
        messages = [{"role": "user", "content": content}]
        counted = post(seeing, "/v1/messages/count_tokens", messages=messages).json()["input_tokens"]
        assert answer.json()["prompt_eval_count"] == counted > 100


@pytest.mark.parametrize("client", CLIENTS)
def test_a_model_without_vision_says_so(seeing: RunningServer, client: str) -> None:
    with pytest.raises(Exception, match=r'"demo\\?" does not support vision') as refusal:
        ask(seeing, client, picture("red"), model="demo")
    assert getattr(refusal.value, "status_code", 0) == 400


BAD_IMAGES: tuple[tuple[list[bytes], str], ...] = (
    ([b"no image"], '"messages[0].images[0]" is not an image that can be read; give one of PNG, JPEG'),
    ([picture("red"), picture("red", (400, 400))[:200]], '"messages[0].images[1]" is a broken PNG image'),
    ([picture("red", (400, 400), "JPEG")[:-300]], '"messages[0].images[0]" is a broken JPEG image'),
    ([bomb(50_000, 50_000)], '"messages[0].images[0]" is 50000 x 50000 pixels; a side has at most 16384'),
    ([bomb(9000, 9000)], '"messages[0].images[0]" is 9000 x 9000 pixels; at most 40 million are taken'),
    ([bomb(6000, 6000)], '"messages[0].images[0]" is a broken PNG image'),
    ([bomb(6000, 6000)] * 3, '"messages[0].images[2]": the images have more than 80 million pixels together'),
    ([bomb(1, 900)], '"messages[0].images[0]" is 1 x 900 pixels; a side is at most 200 times the other'),
    ([picture("red")] * 21, '"messages[0].images[20]": 21 images; a request has at most 20'),
)  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="finds the worker in /proc")
def test_an_image_that_cannot_be_taken_is_named_and_harms_nobody(seeing: RunningServer) -> None:
    ask(seeing, "ollama.chat")
    worker = worker_of(seeing).pid
    for images, words in BAD_IMAGES:
        refused = chat(seeing, QUESTION, *images)
        assert refused.status_code == 400
        assert refused.json()["error"].startswith(words), refused.text
    assert ABOUT["red"] in ask(seeing, "ollama.chat", picture("red"))[0]
    assert worker_of(seeing).pid == worker


def test_a_prompt_with_images_that_does_not_fit_is_told_both_numbers(seeing: RunningServer) -> None:
    refused = chat(seeing, QUESTION, picture("red"), options={"num_ctx": 30})
    assert refused.status_code == 400
    assert "35" in refused.json()["error"]
    assert "30" in refused.json()["error"]
    assert chat(seeing, QUESTION, picture("red"), options={**GREEDY, "num_ctx": 40}).json()["eval_count"] == 5


def test_an_image_of_ten_megabytes_passes_and_a_body_over_the_limit_does_not(seeing: RunningServer) -> None:
    large = picture("blue", (1900, 1900), "BMP")
    assert len(large) > 10_000_000
    assert ABOUT["blue"] in ask(seeing, "openai.chat", large)[0]
    assert chat(seeing, QUESTION, bytes(49 * 1024 * 1024)).status_code == 413


def test_an_npu_leaves_such_a_model_to_the_next_device(seeing: RunningServer) -> None:
    answer = chat(seeing, QUESTION, picture("red"))
    assert (
        answer.headers["X-NPU-Proxy-Device-Routed"] == "CPU"
        if "X-NPU-Proxy-Device-Routed" in answer.headers
        else True
    )
    assert answer.headers["X-Routing-Reason"] == "capability"
    strict = {"X-NPU-Proxy-Device": "NPU", "X-Target-Strict": "true"}
    turn = {"role": "user", "content": QUESTION}
    body = {"model": "eyes", "messages": [turn]}
    refused = httpx.post(f"{seeing.url}/api/chat", json=body, headers=strict, timeout=60)
    assert refused.status_code == 503
    assert "does not run models that look at images" in refused.json()["error"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="finds the worker in /proc")
def test_a_worker_killed_while_it_answers_about_an_image_ends_one_stream_alone(seeing: RunningServer) -> None:
    turn = {"role": "user", "content": QUESTION, "images": [text_of(picture("blue"))]}
    body = {"model": "eyes", "messages": [turn], "think": False, "options": HOT}
    with httpx.stream("POST", f"{seeing.url}/api/chat", json=body, timeout=60) as stream:
        lines = stream.iter_lines()
        assert "message" in json.loads(next(lines))
        worker_of(seeing).kill()
        last = [json.loads(line) for line in lines][-1]
    assert "ended unexpectedly" in last["error"]
    assert ABOUT["blue"] in ask(seeing, "ollama.chat", picture("blue"))[0]


def test_a_client_that_leaves_takes_its_images_with_it(seeing: RunningServer) -> None:
    turn = {"role": "user", "content": QUESTION, "images": [picture("blue")]}
    stream = ollama.Client(seeing.url).chat("eyes", [turn], think=False, options=HOT, stream=True)
    next(iter(stream))
    del stream
    assert ABOUT["blue"] in ask(seeing, "ollama.chat", picture("blue"))[0]


def test_answers_about_images_have_log_probabilities(seeing: RunningServer) -> None:
    turns: Any = [{"role": "user", "content": [url_part(picture("red")), TEXT]}]
    choice = v1(seeing.url).chat.completions.create(
        model="eyes", messages=turns, temperature=0, reasoning_effort="none", logprobs=True
    ).choices[0]  # fmt: skip
    assert choice.logprobs
    entries = choice.logprobs.content or []
    assert b"".join(bytes(entry.bytes or ()) for entry in entries).decode() == choice.message.content
    assert sum(entry.logprob for entry in entries) < 0
