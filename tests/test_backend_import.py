"""Files that list other servers: Ollama Proxy's config.yaml as it is, and our own list."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.errors import BadRequest
from registry import backend_import, backends
from registry.models import Backend

pytestmark = pytest.mark.django_db
KEY = "sk-key-in-a-variable"

CONFIG = """
server:
  grpc_port: 50051
  http_port: 8080
  host: "0.0.0.0"
  auth:
    api_keys:
      "sk-of-a-client": {name: laptop}

router:
  power_aware: true
  auto_optimize: true

backends:
  - id: ollama-npu
    type: ollama
    name: "Ollama NPU"
    hardware: npu
    enabled: true
    endpoint: "http://localhost:11434"
    characteristics:
      power_watts: 3.0
      avg_latency_ms: 800
      max_tokens_per_second: 10
      priority: 3
    model_capability:
      max_model_size_gb: 2
      supported_model_patterns: ["*:0.5b", "*:1.5b"]
      preferred_models: ["qwen2.5:0.5b"]
      excluded_patterns: ["*:70b"]
  - id: big-one
    type: openai
    hardware: nvidia
    enabled: true
    endpoint: "http://192.168.7.7:8000/v1"
    characteristics: {priority: 10}
  - id: claude
    type: anthropic
    hardware: cloud
    api_key_env: ROWS_TEST_KEY
    enabled: true
    characteristics: {power_watts: 0}
"""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWS_TEST_KEY", KEY)


def taken(text: str, dry: bool = False) -> backend_import.Imported:
    return backend_import.run(text.encode(), dry=dry)


def refused(text: str) -> str:
    before = list(Backend.objects.values_list("name", "url"))
    with pytest.raises(BadRequest) as caught:
        taken(text)
    assert list(Backend.objects.values_list("name", "url")) == before
    return str(caught.value)


def test_the_config_of_ollama_proxy_is_taken_as_it_is() -> None:
    done = taken(CONFIG)
    assert done.added == ("ollama-npu", "big-one", "claude")
    npu, big, claude = (Backend.objects.get(name=name) for name in done.added)
    assert (npu.protocol, npu.url, npu.kind, npu.note) == (
        "ollama",
        "http://localhost:11434",
        "npu",
        "Ollama NPU",
    )
    assert (npu.watts, npu.latency_ms, npu.tokens_per_s, npu.priority) == (3.0, 800, 10, 3)
    assert (npu.supported, npu.preferred, npu.excluded) == ("*:0.5b\n*:1.5b", "qwen2.5:0.5b", "*:70b")
    assert (big.kind, big.url, big.watts, big.enabled) == ("dgpu", "http://192.168.7.7:8000", None, True)
    assert (claude.url, claude.kind, claude.watts) == ("https://api.anthropic.com", "dgpu", 0)
    assert claude.spec().key == KEY


def test_each_key_that_is_not_used_is_named_and_no_secret_with_it() -> None:
    done = taken(CONFIG)
    assert done.unused == (
        "server.grpc_port",
        "server.http_port",
        "server.host",
        "server.auth.api_keys",
        "router.power_aware",
        "router.auto_optimize",
        "backends[0].model_capability.max_model_size_gb",
    )
    assert "sk-of-a-client" not in repr(done)
    assert KEY not in repr(done)


def test_a_rehearsal_says_the_same_and_changes_nothing() -> None:
    assert taken(CONFIG, dry=True).added == ("ollama-npu", "big-one", "claude")
    assert not Backend.objects.exists()


def test_rows_that_are_there_are_updated_and_keep_what_the_file_does_not_say() -> None:
    row = Backend(name="box", protocol="openai", url="http://box:1", slots=4, watts=9)
    row.set_key(KEY)
    row.save()
    done = taken(
        "[{name: box, protocol: openai, url: 'http://box:1/v1', watts: 5}, {name: n, protocol: ollama, url: http://n}]"
    )
    assert (done.added, done.updated) == (("n",), ("box",))
    row.refresh_from_db()
    assert (row.url, row.watts, row.slots, row.spec().key) == ("http://box:1", 5, 4, KEY)


def test_what_list_prints_can_be_imported_elsewhere_but_for_its_keys() -> None:
    row = Backend(
        name="box", protocol="openai", url="http://box:1/api", kind="cpu", watts=1, latency_ms=2, tokens_per_s=3,
        priority=4, supported="*:7b\na", preferred="b", excluded="c", aliases="x:latest=Y", max_size="7b",
        verify_tls=False, slots=2, first_byte_s=5, silence_s=6, enabled=False, note="under the desk",
    )  # fmt: skip
    row.set_key(KEY)
    row.save()
    printed = json.dumps([backends.facts(row)])
    assert KEY not in printed
    row.delete()
    done = taken(printed)
    assert done.added == ("box",)
    assert done.notes == (("[0].key", "is not in the file; one that is set here stays"),)
    again = Backend.objects.get()
    assert backends.facts(again) == json.loads(printed)[0] | {"key": None}
    assert not done.unused


@pytest.mark.parametrize("written", ["${ROWS_TEST_KEY}", "$ROWS_TEST_KEY", KEY])
def test_a_key_is_written_plain_or_as_a_variable(written: str) -> None:
    taken(f"- {{name: box, protocol: openai, url: 'http://localhost:1', key: '{written}'}}")
    assert Backend.objects.get().spec().key == KEY


def test_a_disabled_server_may_come_without_its_key() -> None:
    done = taken(
        "backends: [{id: gpt, type: openai, enabled: false, hardware: cloud, api_key_env: NOT_SET_HERE}]"
    )
    assert done.added == ("gpt",)
    assert any("NOT_SET_HERE is not set here" in words for _, words in done.notes)


GOOD = {"name": "box", "protocol": "openai", "url": "http://box:1"}
PROXY = {"id": "a", "type": "ollama", "endpoint": "http://x"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (GOOD | {"watts": "much"}, "backends[0].watts: 'much' is no number"),
        (GOOD | {"watts": -1}, "backends[0].watts: '-1.0'"),
        (GOOD | {"priority": 2.5}, "backends[0].priority: 2.5 is no whole number"),
        (GOOD | {"enabled": "yes"}, "backends[0].enabled: 'yes' is neither true nor false"),
        (GOOD | {"models": [1]}, "backends[0].models: [1] is no list of patterns"),
        (GOOD | {"aliases": ["a=b"]}, "backends[0].aliases: ['a=b'] is no mapping"),
        (GOOD | {"protocol": "grpc"}, "backends[0].protocol: Value 'grpc' is not a valid choice"),
        (GOOD | {"class": "tpu"}, "backends[0].class: Value 'tpu' is not a valid choice"),
        (GOOD | {"url": "box"}, "backends[0].url: 'box' is no address"),
        (GOOD | {"url": "http://a:hunter2@box"}, "backends[0].url: the address of 'box' holds a password"),
        (GOOD | {"name": "npu"}, "backends[0].name: 'npu' means a device of this machine"),
        (GOOD | {"max_size": "big"}, "backends[0].max_size: 'big' is no size"),
        (GOOD | {"key": 5}, "backends[0].key: is no text"),
        (GOOD | {"key": "two words"}, "backends[0].key: the key holds characters"),
        (GOOD | {"key": "${NOT_SET_HERE}"}, "backends[0].key: the variable NOT_SET_HERE is not set here"),
        ({"protocol": "openai", "url": "http://box"}, "backends[0].name: is missing"),
        ({"name": "box", "url": "http://box"}, "backends[0].protocol: is missing"),
        ({"id": "a", "type": "ollama"}, "backends[0].endpoint: is missing"),
        ({"id": "a", "type": "ollama", "endpoint": "x"}, "backends[0].endpoint: 'x' is no address"),
        (PROXY | {"hardware": "tpu"}, "backends[0].hardware: 'tpu' is no class"),
        (PROXY | {"characteristics": {"priority": 900}}, "backends[0].characteristics.priority: '900'"),
        (PROXY | {"characteristics": 3}, "backends[0].characteristics: 3 is no mapping"),
        ("box", "backends[0]: 'box' is no backend"),
    ],
)  # fmt: skip
def test_every_fault_names_its_key_and_the_value_and_nothing_is_imported(entry: Any, words: str) -> None:
    other = GOOD | {"name": "fine"}
    said = refused(json.dumps({"backends": [entry, other]}))
    assert words in said
    assert "hunter2" not in said
    assert "two words" not in said


def test_all_faults_are_said_at_once() -> None:
    said = refused(json.dumps([GOOD | {"watts": "much"}, GOOD | {"slots": -1}, GOOD | {"url": "ftp://x"}]))
    assert "[0].watts: 'much'" in said
    assert "[1].slots: '-1'" in said
    assert "[2].url: 'ftp://x'" in said
    assert "[1]: 'box' stands in [0] already" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"backends: [", "neither YAML nor JSON: line 1"),
        (b"- {name: box, models: [*a]}", "a text that begins with * needs quotes"),
        (b"a: 1\na: 2", "a key stands twice"),
        (b"just words", "lists no backends"),
        (b"backends: 5", "lists no backends"),
        (b"", "lists no backends"),
        (b"[" * 5000, "nested too deeply"),
        (b"#" * 1_100_000, "has less than"),
        (b"- !!python/object/apply:os.system ['true']", "neither YAML nor JSON"),
    ],
)
def test_what_is_no_list_of_servers_is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words.replace("*", r"\*")):
        backend_import.run(content)


def test_a_key_never_follows_its_row_to_another_host() -> None:
    taken(f"- {{name: box, protocol: openai, url: 'https://good', key: {KEY}}}")
    said = refused("- {name: box, protocol: openai, url: 'https://evil'}")
    assert "[0].url: the key was given for https://good and goes nowhere else" in said
    taken("- {name: box, protocol: openai, url: 'https://good/under/v1'}")
    taken(f"- {{name: box, protocol: openai, url: 'https://other', key: {KEY}2}}")
    assert Backend.objects.get().spec().key == f"{KEY}2"
