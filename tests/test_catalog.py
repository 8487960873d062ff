"""The catalogue's data: grammar, duplicates, licences; and that it is what the documents and the names say."""

from __future__ import annotations

import re
import tomllib

import msgspec
import pytest

from registry import catalog, names
from registry.catalog import Entry

ENTRIES = catalog.entries()
BUILDS = [(entry, build) for entry in ENTRIES for build in entry.builds]

NPU_PROXY = [
    "tinyllama",
    "tinyllama:fp16",
    "phi-2",
    "phi-3",
    "llama2",
    "llama2:13b",
    "llama3.2",
    "mistral",
    "qwen2",
    "gemma",
    "granite-4-micro",
    "all-minilm",
    "bge-small",
    "bge-base",
    "bge-large",
    "e5-small",
    "e5-large",
    "nomic-embed-text",
    "qwen3-embedding:0.6b",
    "qwen3-embedding:8b",
    "tinyllama-1.1b-chat-int4-ov",
    "phi-2-int4-ov",
    "phi-3-mini",
    "mistral-7b-int4-ov",
    "granite-4-micro-ov",
    "all-minilm-l6-v2",
    "qwen3-embedding-0.6b-int4-ov",
    "qwen3-embedding-8b-int4-ov",
]
"""Every short name that NPU Proxy knew, with those of its registry."""
OTHERS = [
    "bge-small-en-v1.5",
    "phi-3-mini-4k",
    "qwen2.5:0.5b",
    "qwen2.5:1.5b",
    "qwen2.5:3b",
    "qwen2.5:7b",
    "qwen2.5:14b",
    "qwen3",
    "qwen3:0.6b",
    "qwen2.5-coder",
    "llama3.1",
    "llama3.2:1b",
    "gemma3",
    "phi-4-mini",
    "deepseek-r1",
    "e5",
]


@pytest.mark.parametrize("name", NPU_PROXY + OTHERS)
def test_the_names_that_people_bring_along_are_known(name: str) -> None:
    assert names.refer(name).entry is not None


def test_every_name_is_in_lower_case_and_in_the_grammar() -> None:
    for entry in ENTRIES:
        for name in (*entry.names, *catalog.explicit_names(entry)):
            parsed = names.parse(name)
            assert name == name.lower()
            assert (parsed.host, parsed.namespace) == (names.DEFAULT_HOST, names.DEFAULT_NAMESPACE), name
            assert not name.endswith(":latest"), f"{name}: :latest goes without saying"


def test_no_name_stands_twice() -> None:
    keys = [
        names.parse(name).key for entry in ENTRIES for name in (*entry.names, *catalog.explicit_names(entry))
    ]
    assert sorted(keys) == sorted(set(keys))


def test_no_repository_stands_twice() -> None:
    repos = [build.repo.lower() for _, build in BUILDS]
    assert sorted(repos) == sorted(set(repos))


def test_every_repository_is_one_that_a_pull_takes() -> None:
    for _, build in BUILDS:
        found = names.refer(build.repo)
        assert (found.repo, found.entry) == (build.repo, None)


def test_every_licence_is_known_and_every_known_one_is_used() -> None:
    assert {entry.licence for entry in ENTRIES} == set(catalog.LICENCES)


def test_a_repository_is_named_after_its_precision() -> None:
    for _, build in BUILDS:
        if build.repo.startswith("OpenVINO/"):
            assert build.repo.endswith(f"-{build.precision}-ov")
        if build.precision == "original":
            assert not build.repo.endswith("-ov")


def test_every_entry_has_something_to_fetch_or_ships_with_the_program() -> None:
    for entry in ENTRIES:
        assert entry.names
        assert bool(entry.builds) != entry.builtin, entry.name
        precisions = [build.precision for build in entry.builds]
        assert len(precisions) == len(set(precisions)), entry.name


def test_embedding_models_say_how_they_pool_and_no_others_do() -> None:
    for entry in ENTRIES:
        assert bool(entry.pooling) == bool(entry.dimensions) == (entry.kind == "embedding"), entry.name


@pytest.mark.parametrize(("entry", "build"), BUILDS, ids=[build.repo for _, build in BUILDS])
def test_a_size_is_what_its_parameters_weigh(entry: Entry, build: catalog.Build) -> None:
    number, unit = re.fullmatch(r"([\d.]+)([MB])", entry.parameters).groups()  # type: ignore[union-attr]
    parameters = float(number) * {"M": 1e6, "B": 1e9}[unit]
    bits = build.size_bytes * 8 / parameters
    least, most = {"int8": (7.4, 9), "fp16": (15, 17), "original": (15, 34)}.get(build.precision, (4, 6.5))
    assert least <= bits <= most, f"{bits:.1f} bits a parameter"


def test_gated_repositories_are_the_originals_of_publishers_that_ask_for_consent() -> None:
    for _, build in BUILDS:
        assert build.gated == build.repo.startswith(("meta-llama/", "google/")), build.repo


def test_every_repository_says_how_it_was_verified() -> None:
    lines = [line for line in catalog.FILE.read_text("utf-8").splitlines() if " repo = " in line]
    assert len(lines) == len(BUILDS)
    for line in lines:
        ways = line.rpartition("# ")[2].split(", ")
        assert set(ways) <= {"hub", "list", "docs", "use", "origin"}, line


def test_an_npu_gets_its_own_build_where_there_is_one_and_nobody_else_does() -> None:
    for entry in ENTRIES:
        own = [build for build in entry.builds if build.precision in catalog.NPU_PRECISIONS]
        chosen, other = entry.build_for("NPU"), entry.build_for("CPU")
        if own:
            assert chosen == own[0]
            assert other not in own or len(own) == len(entry.builds)
        else:
            assert chosen == other
        assert chosen is None or chosen.precision != "nf4"


@pytest.mark.parametrize(
    ("name", "device", "precision", "share"),
    [
        ("qwen2.5:0.5b", "CPU", "int4", 0.31),
        ("qwen2.5:0.5b", "NPU", "int4-npu", 0.31),
        ("bge-small", "NPU", "int8", 0.51),
        ("qwen3:8b", "NPU", "int4-cw", 1),
    ],
)
def test_original_weights_shrink_when_they_are_converted(
    name: str, device: str, precision: str, share: float
) -> None:
    entry = names.refer(name).entry
    assert entry is not None
    build = entry.build_for(device)
    assert build is not None
    assert entry.in_memory(build, device) == (round(build.size_bytes * share), precision)


def test_a_row_is_told_how_its_model_pools_where_files_mostly_do_not() -> None:
    assert catalog.row_fields("openvino/BGE-base-en-v1.5-int8-ov") == {
        "kind": "embedding",
        "capabilities": ["embedding"],
        "pooling": "cls",
    }
    assert catalog.row_fields("OpenVINO/Qwen3-Embedding-0.6B-int8-ov")["pooling"] == "last_token"
    assert catalog.row_fields("OpenVINO/Qwen3-8B-int4-ov") == catalog.row_fields("nobody/knows") == {}


def test_an_npus_own_build_is_not_for_others_even_where_it_stands_first() -> None:
    builds = ", ".join(
        f'{{ precision = "{precision}", repo = "a/{precision}", gb = 1 }}'
        for precision in ("nf4", "int4-cw", "int4-gq", "int8")
    )
    (entry,) = catalog.parse(f"{MODEL}builds = [{builds}]")
    chosen = {device: entry.build_for(device) for device in ("NPU", "GPU", "CPU", "")}
    assert {device: build.precision for device, build in chosen.items() if build} == {
        "NPU": "int4-cw",
        "GPU": "int8",
        "CPU": "int8",
        "": "int8",
    }


MODEL = '[[model]]\nnames = ["x"]\nkind = "chat"\nparameters = "1B"\ncontext = 1\nlicence = "mit"\n'


@pytest.mark.parametrize(
    "fault",
    [
        'colour = "red"',
        'builds = [{ precision = "int3", repo = "a/b", gb = 1 }]',
        'builds = [{ precision = "int4", repo = "a/b" }]',
        'builds = [{ precision = "int4", repo = "a/b", gb = 1, size = 2 }]',
        'pooling = "sum"',
    ],
)
def test_a_file_with_a_fault_is_not_read(fault: str) -> None:
    assert catalog.parse(MODEL)[0].name == "x"
    with pytest.raises(msgspec.ValidationError):
        catalog.parse(MODEL + fault)
    with pytest.raises(tomllib.TOMLDecodeError):
        catalog.parse(MODEL + "=")
