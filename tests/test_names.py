"""Ollama's grammar of model names, as a table."""

from __future__ import annotations

import pytest

from inference.errors import BadRequest, ModelNotFound
from registry import names
from registry.names import CloudRefused, Name

HUB = "registry.ollama.ai"

VALID = [
    # what a client writes, (host, namespace, model, tag), what a list shows
    ("demo", (HUB, "library", "demo", "latest"), "demo:latest"),
    ("demo:latest", (HUB, "library", "demo", "latest"), "demo:latest"),
    ("llama3.2:1b", (HUB, "library", "llama3.2", "1b"), "llama3.2:1b"),
    ("Demo:Q4_K_M", (HUB, "library", "Demo", "Q4_K_M"), "Demo:Q4_K_M"),
    ("  demo  ", (HUB, "library", "demo", "latest"), "demo:latest"),
    ("library/demo", (HUB, "library", "demo", "latest"), "demo:latest"),
    ("LIBRARY/demo", (HUB, "LIBRARY", "demo", "latest"), "demo:latest"),
    ("me/demo", (HUB, "me", "demo", "latest"), "me/demo:latest"),
    ("registry.ollama.ai/library/demo:7b", (HUB, "library", "demo", "7b"), "demo:7b"),
    ("Registry.Ollama.AI/library/demo", ("Registry.Ollama.AI", "library", "demo", "latest"), "demo:latest"),
    ("registry.ollama.ai/me/demo", (HUB, "me", "demo", "latest"), "me/demo:latest"),
    ("hf.co/org/Model-7B.v2:Q8_0", ("hf.co", "org", "Model-7B.v2", "Q8_0"), "hf.co/org/Model-7B.v2:Q8_0"),
    ("hf.co/library/m", ("hf.co", "library", "m", "latest"), "hf.co/library/m:latest"),
    ("localhost:5000/ns/m", ("localhost:5000", "ns", "m", "latest"), "localhost:5000/ns/m:latest"),
    ("localhost:5000/ns/m:t", ("localhost:5000", "ns", "m", "t"), "localhost:5000/ns/m:t"),
    ("https://h.example/ns/m:t", ("h.example", "ns", "m", "t"), "h.example/ns/m:t"),
    ("_m:_t", (HUB, "library", "_m", "_t"), "_m:_t"),
    ("m" * 80 + ":" + "t" * 80, (HUB, "library", "m" * 80, "t" * 80), "m" * 80 + ":" + "t" * 80),
    ("h" * 350 + "/n/m", ("h" * 350, "n", "m", "latest"), "h" * 350 + "/n/m:latest"),
    ("local", (HUB, "library", "local", "latest"), "local:latest"),
    ("cloud", (HUB, "library", "cloud", "latest"), "cloud:latest"),
    ("m:cloudy", (HUB, "library", "m", "cloudy"), "m:cloudy"),
    ("my-cloud", (HUB, "library", "my-cloud", "latest"), "my-cloud:latest"),
    # the source selector is dropped
    ("demo:local", (HUB, "library", "demo", "latest"), "demo:latest"),
    ("demo:LOCAL", (HUB, "library", "demo", "latest"), "demo:latest"),
    ("demo:1b:local", (HUB, "library", "demo", "1b"), "demo:1b"),
    ("hf.co/a/b:local", ("hf.co", "a", "b", "latest"), "hf.co/a/b:latest"),
]


@pytest.mark.parametrize(("written", "parts", "display"), VALID, ids=[row[0][:40] for row in VALID])
def test_a_valid_name_has_these_parts_and_this_display(
    written: str, parts: tuple[str, str, str, str], display: str
) -> None:
    name = names.parse(written)
    assert name == Name(*parts)
    assert name.display == display


@pytest.mark.parametrize("display", sorted({row[2] for row in VALID}))
def test_what_a_list_shows_parses_to_the_same_model(display: str) -> None:
    assert names.parse(display).display == display
    assert len(display) <= names.MAX_LENGTH


INVALID = [
    "",
    " ",
    ":",
    "demo:",
    ":latest",
    "/demo",
    "demo/",
    "a//b",
    "h//m",
    "a/b/c/d",
    "https://m",
    "-demo",
    ".demo",
    "demo:-x",
    "de mo",
    "x\x00",
    "démo",
    "模型",
    "demo:1:2",
    "demo@main",
    "n.s/m",
    "a/../b",
    "../b",
    "m" * 81,
    "m:" + "t" * 81,
    "n" * 81 + "/m",
    "h" * 351 + "/n/m",
    "demo%2F",
    "demo?",
    "demo\\x",
    ":local",
]


@pytest.mark.parametrize("written", INVALID)
def test_an_invalid_name_is_refused(written: str) -> None:
    with pytest.raises(BadRequest, match=r"^invalid model name$") as refusal:
        names.parse(written)
    assert refusal.value.field == "model"


def test_a_line_feed_inside_a_name_is_refused_and_at_its_end_is_trimmed() -> None:
    assert names.parse("demo\n").display == "demo:latest"
    with pytest.raises(BadRequest):
        names.parse("de\nmo")


@pytest.mark.parametrize(
    "written", ["demo:cloud", "demo:Cloud", "gpt-oss:20b-cloud", "a/b:1-CLOUD", "demo:1b:cloud"]
)
def test_a_cloud_model_is_refused_and_counts_as_not_found(written: str) -> None:
    with pytest.raises(CloudRefused) as refusal:
        names.parse(written)
    assert str(refusal.value) == "ollama cloud is disabled: remote inference is unavailable"
    assert isinstance(refusal.value, ModelNotFound)
    assert refusal.value.name == written


@pytest.mark.parametrize("written", ["m:local:cloud", "m:cloud:local", "m:local:local", "m:1-cloud:local"])
def test_both_source_selectors_are_refused(written: str) -> None:
    with pytest.raises(BadRequest, match=r"^use either :local or :cloud, not both$"):
        names.parse(written)


SAME = [("Demo", "demo:latest"), ("library/DEMO:Latest", "demo"), ("HF.co/A/B", "hf.co/a/b:latest")]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_model_have_the_same_key(one: str, other: str) -> None:
    assert names.parse(one).key == names.parse(other).key


@pytest.mark.parametrize(("one", "other"), [("demo", "demo:1b"), ("a/demo", "demo"), ("h/a/b", "a/b")])
def test_different_models_have_different_keys(one: str, other: str) -> None:
    assert names.parse(one).key != names.parse(other).key
