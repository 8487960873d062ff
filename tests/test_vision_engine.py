"""Models that look at images in an engine of the test's own: workers that are busy with images, devices, counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import vision_models
from engines import ask, events_of, finish_of, run, running_engine, start_of, text_of
from msgspec import structs
from pictures import ABOUT, QUESTION, picture

from inference.errors import BadRequest, DeviceUnavailable, WorkerDied
from inference.types import Image, Message, ModelSpec, Placement, Sampling


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = vision_models.make(tmp_path_factory.mktemp("models") / "eyes")
    return ModelSpec(
        name="eyes:latest", digest="e" * 64, path=folder, kind="chat", context_length=4096,
        kv_bytes_per_token=1520, size_bytes=4_000_000,
        capabilities=frozenset({"completion", "thinking", "vision"}),
    )  # fmt: skip


def about(*images: bytes) -> tuple[Message, ...]:
    shown = tuple(Image(data=data, field=f"images[{index}]") for index, data in enumerate(images))
    return (Message(role="user", content=QUESTION, images=shown),)


def test_a_worker_that_looks_for_long_is_not_taken_for_one_that_hangs(
    eyes: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty images of four megapixels take longer than the silence that is allowed here."""
    monkeypatch.setattr("inference.process.SILENCE_S", 0.2)

    async def scenario() -> None:
        async with running_engine(inference_timeout_s=0.0) as engine:
            large = picture("blue", (2000, 1900))
            assert text_of(await events_of(engine, eyes, ask(messages=about(*[large] * 20))))

    run(scenario)
    assert "killed" not in caplog.text


def test_what_is_told_at_the_start_is_what_the_pipeline_counts(eyes: ModelSpec) -> None:
    async def scenario() -> None:
        async with running_engine() as engine:
            for images in ((), ("red",), ("red", "blue", "lime")):
                events = await events_of(engine, eyes, ask(messages=about(*map(picture, images))))
                expected = 18 + len(images) * (vision_models.IMAGE_TOKENS + 1)
                assert start_of(events).prompt_tokens == finish_of(events).prompt_tokens == expected

    run(scenario)


def test_a_family_without_a_rule_is_counted_by_its_pipeline(
    eyes: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.image_tokens._RULES", {})

    async def scenario() -> None:
        async with running_engine() as engine:
            events = await events_of(engine, eyes, ask(messages=about(picture("red"))))
            assert start_of(events).prompt_tokens == 18
            assert finish_of(events).prompt_tokens == 35

    run(scenario)


def test_a_configuration_that_breaks_the_runtime_ends_a_worker_and_nothing_else(
    eyes: ModelSpec, tmp_path: Path
) -> None:
    """GenAI divides by the size of a patch without a look at it."""
    folder = vision_models.make(tmp_path / "eyes")
    config = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(config.replace('"patch_size": 8', '"patch_size": 0'), "utf-8")

    async def scenario() -> None:
        async with running_engine() as engine:
            broken = structs.replace(eyes, name="broken:latest", digest="f" * 64, path=folder)
            with pytest.raises(WorkerDied):
                await events_of(engine, broken, ask(messages=about(picture("red"))))
            assert ABOUT["red"] in text_of(await events_of(engine, eyes, ask(messages=about(picture("red")))))

    run(scenario)


def test_an_image_that_the_prompt_leaves_out_is_refused(eyes: ModelSpec) -> None:
    """By a template that shows the last turn alone, and by a raw prompt that has a place for one of two."""

    async def scenario() -> None:
        async with running_engine() as engine:
            last = structs.replace(eyes, template="{{ messages[-1].content }}")
            with pytest.raises(
                BadRequest, match=r'^"images\[0\]": the prompt of this model shows no image there$'
            ):
                await events_of(engine, last, ask(messages=(*about(picture("red")), *about())))
            two = structs.replace(about(picture("red"), picture("blue"))[0], content="<ov_genai_image_0>")
            with pytest.raises(BadRequest, match=r'^"images\[1\]"'):
                await events_of(engine, eyes, ask(messages=(two,), raw=True))

    run(scenario)


def test_an_npu_alone_is_told_to_be_of_no_use(eyes: ModelSpec) -> None:
    async def scenario() -> None:
        async with running_engine(npu_emulation=True) as engine:
            placement = Placement(device="NPU", strict=True)
            with pytest.raises(DeviceUnavailable, match="does not run models that look at images"):
                await events_of(engine, eyes, ask(messages=about(), placement=placement))
            only = Placement(allowed=("NPU",))
            with pytest.raises(DeviceUnavailable, match="does not run models that look at images"):
                await events_of(engine, eyes, ask(messages=about(), placement=only))
            events = await events_of(engine, eyes, ask(messages=about(), placement=Placement(device="NPU")))
            assert (start_of(events).route.routed, start_of(events).route.fallback_reason) == (
                "CPU",
                "capability",
            )

    run(scenario)


def test_a_request_that_waits_to_be_looked_at_can_be_left(eyes: ModelSpec) -> None:
    """The worker takes one request with images a step; those behind it are dropped where nobody waits for them."""
    large = picture("red", (2000, 1900))

    async def scenario() -> None:
        async with running_engine() as engine:
            await events_of(engine, eyes, ask(messages=about()))
            streams = [engine.generate(eyes, ask(messages=about(*[large] * 5))) for _ in range(4)]
            for stream in streams:
                await anext(stream)  # Start: it is handed over with the next step
            for stream in streams:
                await stream.aclose()
            hot = Sampling(temperature=0.0, max_tokens=5)
            assert text_of(await events_of(engine, eyes, ask(messages=about(picture("lime")), sampling=hot)))
            with pytest.raises(BadRequest, match="is a broken PNG image"):
                await events_of(engine, eyes, ask(messages=about(large[:200])))

    run(scenario)
