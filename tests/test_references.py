"""What a name means to a pull: a short name of the catalogue, or a repository of the hub."""

from __future__ import annotations

import pytest

from inference.errors import BadRequest, ModelNotFound
from registry import names
from registry.names import CloudRefused, UnknownModel

REPOSITORIES = [
    # what is written, name it is installed under, repository, revision, GGUF variant
    ("org/repo", "org/repo:latest", "org/repo", "", ""),
    ("  org/repo\n", "org/repo:latest", "org/repo", "", ""),
    ("OpenVINO/Qwen3-8B-int4-ov", "OpenVINO/Qwen3-8B-int4-ov:latest", "OpenVINO/Qwen3-8B-int4-ov", "", ""),
    ("org/repo:latest", "org/repo:latest", "org/repo", "", ""),
    ("org/repo:local", "org/repo:latest", "org/repo", "", ""),
    ("hf.co/org/repo", "hf.co/org/repo:latest", "org/repo", "", ""),
    ("HF.co/Org/Repo", "HF.co/Org/Repo:latest", "Org/Repo", "", ""),
    ("huggingface.co/org/repo", "huggingface.co/org/repo:latest", "org/repo", "", ""),
    ("huggingface.co/org/repo/", "huggingface.co/org/repo:latest", "org/repo", "", ""),
    ("https://huggingface.co/org/repo", "huggingface.co/org/repo:latest", "org/repo", "", ""),
    ("registry.ollama.ai/org/repo", "org/repo:latest", "org/repo", "", ""),
    # a revision
    ("org/repo:v1.2", "org/repo:v1.2", "org/repo", "v1.2", ""),
    ("org/repo@v1.2", "org/repo:v1.2", "org/repo", "v1.2", ""),
    ("org/repo@" + "a1" * 20, "org/repo:" + "a1" * 20, "org/repo", "a1" * 20, ""),
    ("org/repo@refs/pr/3", "org/repo:refs-pr-3", "org/repo", "refs/pr/3", ""),
    ("org/repo:mine@main", "org/repo:mine", "org/repo", "main", ""),
    ("hf.co/org/repo@main", "hf.co/org/repo:main", "org/repo", "main", ""),
    ("https://huggingface.co/org/repo/tree/main", "huggingface.co/org/repo:main", "org/repo", "main", ""),
    (
        "huggingface.co/org/repo/tree/refs/pr/3/",
        "huggingface.co/org/repo:refs-pr-3",
        "org/repo",
        "refs/pr/3",
        "",
    ),
    # a GGUF file by its quantisation, as Ollama names it
    ("hf.co/org/m-GGUF:Q4_K_M", "hf.co/org/m-GGUF:Q4_K_M", "org/m-GGUF", "", "Q4_K_M"),
    ("hf.co/org/m-GGUF:iq3_xs", "hf.co/org/m-GGUF:iq3_xs", "org/m-GGUF", "", "iq3_xs"),
    ("org/m-GGUF:BF16", "org/m-GGUF:BF16", "org/m-GGUF", "", "BF16"),
    ("org/m-GGUF:Q8_0@v2", "org/m-GGUF:Q8_0", "org/m-GGUF", "v2", "Q8_0"),
    ("org/repo:Quick", "org/repo:Quick", "org/repo", "Quick", ""),
]


@pytest.mark.parametrize(
    ("written", "name", "repo", "revision", "variant"), REPOSITORIES, ids=[row[0] for row in REPOSITORIES]
)
def test_a_repository_is_named_in_these_ways(
    written: str, name: str, repo: str, revision: str, variant: str
) -> None:
    found = names.refer(written)
    assert (found.name.display, found.repo, found.revision, found.variant) == (name, repo, revision, variant)
    assert found.entry is None
    assert found.build is None


@pytest.mark.parametrize("written", [row[0] for row in REPOSITORIES])
def test_a_device_does_not_change_a_repository_that_was_named_outright(written: str) -> None:
    assert names.refer(written, "NPU") == names.refer(written)


@pytest.mark.parametrize("written", [row[0] for row in REPOSITORIES])
def test_the_name_that_is_installed_is_one_that_lists_can_show(written: str) -> None:
    display = names.refer(written).name.display
    assert names.parse(display).display == display


SHORT = [
    # what is written, name it is installed under, repository on a GPU or CPU, repository on an NPU
    ("qwen3", "qwen3:latest", "OpenVINO/Qwen3-8B-int4-ov", "OpenVINO/Qwen3-8B-int4-cw-ov"),
    ("library/qwen3", "qwen3:latest", "OpenVINO/Qwen3-8B-int4-ov", "OpenVINO/Qwen3-8B-int4-cw-ov"),
    ("Qwen3:8B", "Qwen3:8B", "OpenVINO/Qwen3-8B-int4-ov", "OpenVINO/Qwen3-8B-int4-cw-ov"),
    ("qwen3:8b-int8", "qwen3:8b-int8", "OpenVINO/Qwen3-8B-int8-ov", "OpenVINO/Qwen3-8B-int8-ov"),
    ("qwen3:8b-int4-cw", "qwen3:8b-int4-cw", "OpenVINO/Qwen3-8B-int4-cw-ov", "OpenVINO/Qwen3-8B-int4-cw-ov"),
    ("qwen3:4b", "qwen3:4b", "OpenVINO/Qwen3-4B-int4-ov", "OpenVINO/Qwen3-4B-int4-ov"),
    (
        "tinyllama:fp16",
        "tinyllama:fp16",
        "OpenVINO/TinyLlama-1.1B-Chat-v1.0-fp16-ov",
        "OpenVINO/TinyLlama-1.1B-Chat-v1.0-fp16-ov",
    ),
    (
        "phi-3",
        "phi-3:latest",
        "OpenVINO/Phi-3-mini-4k-instruct-int4-ov",
        "OpenVINO/Phi-3-mini-4k-instruct-int4-cw-ov",
    ),
    (
        "deepseek-r1:1.5b",
        "deepseek-r1:1.5b",
        "OpenVINO/DeepSeek-R1-Distill-Qwen-1.5B-int4-ov",
        "OpenVINO/DeepSeek-R1-Distill-Qwen-1.5B-int4-gq-ov",
    ),
    (
        "granite4.1:3b",
        "granite4.1:3b",
        "HarmenWessels/granite-4.1-3b-int4-cw-ov",
        "HarmenWessels/granite-4.1-3b-int4-cw-ov",
    ),
    ("all-minilm", "all-minilm:latest", "", ""),
]


@pytest.mark.parametrize(("written", "name", "repo", "on_npu"), SHORT, ids=[row[0] for row in SHORT])
def test_a_short_name_means_the_build_that_suits_the_device(
    written: str, name: str, repo: str, on_npu: str
) -> None:
    for device in ("", "GPU.1", "CPU", "AUTO"):
        found = names.refer(written, device)
        assert (found.name.display, found.repo, found.revision) == (name, repo, "")
        assert found.entry is not None
    for device in ("NPU", "npu"):
        assert names.refer(written, device).repo == on_npu


INVALID = [
    "",
    "a/b/c/d",
    "../x",
    "org/",
    "org/repo--x",
    "org/re..po",
    "org/repo-",
    "org/repo.git",
    "org/" + "r" * 97,
    "org/repo@",
    "org/repo@a..b",
    "org/repo@/main",
    "org/repo@main/",
    "org/repo@ma in",
    "org/repo@x:y",
    "org/repo@--upload-pack",
    "hf.co/org/repo/tree/",
    "hf.co/org/repo/blob/main",
    "hf.co/repo",
]


@pytest.mark.parametrize("written", INVALID)
def test_what_names_nothing_is_refused(written: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        names.refer(written)
    assert refusal.value.field == "model"


@pytest.mark.parametrize("written", ["ollama.com/library/x", "localhost:5000/ns/m", "hf.co.evil.test/a/b"])
def test_another_registry_is_refused_with_the_way_out(written: str) -> None:
    with pytest.raises(BadRequest, match=r"names the registry .*; models come from hf\.co .* write org/repo"):
        names.refer(written)


def test_a_short_name_has_no_revision() -> None:
    with pytest.raises(BadRequest, match=r"write it with its repository: org/repo@main"):
        names.refer("qwen3@main")


def test_an_unknown_short_name_counts_as_not_found_and_says_what_looks_like_it() -> None:
    with pytest.raises(UnknownModel) as refusal:
        names.refer("qwen3:8")
    words = str(refusal.value)
    # Ollama's command line looks for these words
    assert words.startswith("pull model manifest: file does not exist")
    assert "did you mean qwen3:8b" in words
    assert "org/repo" in words
    assert isinstance(refusal.value, ModelNotFound)
    with pytest.raises(UnknownModel) as refusal:
        names.refer("zzzzzz")
    assert "did you mean" not in str(refusal.value)


@pytest.mark.parametrize("written", ["qwen3:cloud", "org/repo:20b-cloud"])
def test_nothing_is_pulled_from_the_cloud(written: str) -> None:
    with pytest.raises(CloudRefused):
        names.refer(written)
