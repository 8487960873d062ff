"""Other servers as rows: what may be written in one, what inference is told, and that a key never shows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import certificates
import pytest
from conftest import RunningServer
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from pytest_django import Settings
from server_rows import eventually, orm

from registry import backends, sealing
from registry.models import Backend

pytestmark = pytest.mark.django_db
KEY = "sk-secret-of-the-other-server"


def row(**fields: Any) -> Backend:
    return Backend(**{"name": "box", "protocol": "openai", "url": "http://box:8000", **fields})


@pytest.mark.parametrize(
    ("protocol", "written", "kept"),
    [
        ("openai", "http://box:8000", "http://box:8000"),
        ("openai", "http://box:8000/", "http://box:8000"),
        ("openai", "http://box:8000/v1", "http://box:8000"),
        ("openai", "HTTP://Box:8000/v1/", "http://box:8000"),
        ("openai", "http://box:8000/api/v1", "http://box:8000/api"),
        ("openai", "http://box:8000/api", "http://box:8000/api"),
        ("openai", "https://api.openai.com/v1", "https://api.openai.com"),
        ("ollama", "http://box:11434/api", "http://box:11434"),
        ("ollama", "http://box:11434/api/", "http://box:11434"),
        ("ollama", "http://box:11434/v1", "http://box:11434"),
        ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com"),
        ("openai", "http://[::1]:8000/v1", "http://[::1]:8000"),
        ("openai", "http://box/Under/v1", "http://box/Under"),
    ],
)
def test_an_address_is_kept_without_the_path_of_its_api(protocol: str, written: str, kept: str) -> None:
    found = row(protocol=protocol, url=written)
    found.full_clean()
    assert found.url == kept


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"url": "box:8000"}, "url", "write http://host:port"),
        ({"url": "ftp://box"}, "url", "'ftp://box' is no address of a server"),
        ({"url": "http://"}, "url", "no address of a server"),
        ({"url": "http://box:99999"}, "url", "is no address"),
        ({"url": "http://box:0"}, "url", "no address of a server"),
        ({"url": "http://me:word@box:8000"}, "url", "give it as the key"),
        ({"url": "http://box?x=1"}, "url", "leave out what follows the path"),
        ({"url": "http://bo x"}, "url", "characters that no address has"),
        ({"name": "NPU"}, "name", "means a device of this machine"),
        ({"name": "gpu.1"}, "name", "means a device of this machine"),
        ({"name": "Auto"}, "name", "means a device of this machine"),
        ({"name": "my box"}, "name", "'my box' is no name for a backend"),
        ({"name": "-box"}, "name", "is no name for a backend"),
        ({"name": ""}, "name", "cannot be blank"),
        ({"protocol": "grpc"}, "protocol", "'grpc' is not a valid choice"),
        ({"kind": "tpu"}, "kind", "'tpu' is not a valid choice"),
        ({"watts": -1}, "watts", "greater than or equal to 0"),
        ({"priority": 101}, "priority", "less than or equal to 100"),
        ({"aliases": "gpt-4o"}, "aliases", "'gpt-4o' is no alias; write ours=theirs"),
        ({"aliases": "a b=c"}, "aliases", "invalid model name"),
        ({"aliases": "a=b\na:latest=c"}, "aliases", "'a:latest' stands twice"),
        ({"max_size": "big"}, "max_size", "'big' is no size of a model; write its parameters as 70b"),
        ({"ca_file": "/no/such/file"}, "ca_file", "no file of certificates in PEM format"),
        ({"first_byte_s": 0}, "first_byte_s", "greater than or equal to 0.1"),
    ],
)
def test_what_may_not_be_is_said_beside_its_field(fields: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        row(**fields).full_clean()
    assert list(caught.value.message_dict) == [field]
    assert words in " ".join(caught.value.message_dict[field])


def test_no_fault_of_an_address_repeats_the_password_in_it() -> None:
    with pytest.raises(ValidationError) as caught:
        row(url="http://me:hunter2@box:8000").full_clean()
    assert "hunter2" not in str(caught.value)


def test_a_row_says_everything_that_inference_needs(tmp_path: Path) -> None:
    authority = certificates.Authority(tmp_path).path
    found = row(
        kind="igpu", watts=12.5, latency_ms=350, tokens_per_s=22, priority=5,
        supported="*:7b, *:3B\n*:7b", preferred="mistral:7b", excluded="*70b*",
        aliases="gpt-4o = Qwen/Qwen3-8B\nM:Q4=m-q4.gguf", max_size="1.5B", verify_tls=False,
        ca_file=str(authority), slots=3, first_byte_s=9, silence_s=8,
    )  # fmt: skip
    found.set_key(f" {KEY}\n")
    found.full_clean()
    found.save()
    spec = Backend.objects.get().spec()
    assert (spec.id, spec.protocol, spec.url, spec.key) == ("box", "openai", "http://box:8000", KEY)
    assert (spec.kind, spec.watts, spec.latency_s, spec.tokens_per_s, spec.priority) == (
        "igpu",
        12.5,
        0.35,
        22,
        5,
    )
    assert (spec.supported, spec.preferred, spec.excluded) == (("*:7b", "*:3b"), ("mistral:7b",), ("*70b*",))
    assert spec.models == {"gpt-4o:latest": "Qwen/Qwen3-8B", "m:q4": "m-q4.gguf"}
    assert (spec.max_parameters, spec.verify_tls, spec.ca_file) == (1_500_000_000, False, str(authority))
    assert (spec.slots, spec.first_byte_s, spec.between_s) == (3, 9, 8)


def test_a_row_of_which_little_is_known_says_so() -> None:
    found = row()
    found.full_clean()
    spec = found.spec()
    assert (spec.key, spec.kind, spec.watts, spec.latency_s, spec.priority) == ("", "dgpu", None, None, None)
    assert (spec.supported, spec.models, spec.max_parameters, spec.slots) == ((), {}, 0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"protocol": "grpc"},
        {"url": "ftp://box"},
        {"kind": "tpu"},
        {"watts": -1},
        {"silence_s": 0},
    ],
)
def test_the_database_refuses_what_no_form_has_seen(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        row(**fields).save()


def test_a_name_is_there_once_whatever_its_case() -> None:
    row().save()
    with pytest.raises(ValidationError, match="already exists"):
        row(name="BOX").full_clean()


def test_the_key_lies_sealed_and_shows_in_no_repr(settings: Settings) -> None:
    found = row()
    found.set_key(KEY)
    found.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM registry_backend")
        stored = repr(cursor.fetchall())
    assert KEY not in stored + repr(found) + repr(found.spec()) + str(found)
    assert found.spec().key == KEY
    assert sealing.unseal(found.sealed_key, sealing.BACKEND) == KEY
    with pytest.raises(sealing.SealBroken):
        sealing.unseal(found.sealed_key)  # what is sealed for one purpose opens for no other


@pytest.mark.parametrize("key", ["a key", "schlüssel", "one\r\ntwo: three", "x" * 5000])
def test_a_key_that_no_header_carries_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="no header carries") as caught:
        row().set_key(key)
    assert key not in str(caught.value)


def test_what_cannot_be_used_is_left_out_and_the_log_says_why(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    sealed = row(name="sealed")
    sealed.set_key(KEY)
    sealed.save()
    row(name="off", enabled=False).save()
    row(name="good").save()
    row(name="itself", url="http://localhost:11435").save()
    row(name="odd", aliases="nothing").save()
    settings.SECRET_KEY = "of another data folder"
    with caplog.at_level(logging.WARNING):
        found = backends.specs(11435)
    assert [spec.id for spec in found] == ["good"]
    assert (
        "backend sealed is left out: the key of a backend was sealed by a server with another" in caplog.text
    )
    assert "backend itself is left out: http://localhost:11435 is this server itself" in caplog.text
    assert "backend odd is left out: 'nothing' is no alias" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:11435", True),
        ("http://127.0.0.1:11435", True),
        ("http://[::1]:11435", True),
        ("http://0.0.0.0:11435/x", True),
        ("http://localhost:11434", False),
        ("http://localhost", False),
        ("http://box:11435", False),
    ],
)
def test_a_server_knows_its_own_address(url: str, here: bool) -> None:
    assert backends.is_here(url, 11435) is here


def test_a_running_server_follows_a_row_that_another_process_wrote(server: RunningServer) -> None:
    """Its log is the witness: a row that cannot be used is named there."""
    orm(server, "Backend(name='seen', protocol='openai', url='http://box:1', aliases='nothing').save()")
    try:
        eventually(lambda: "backend seen is left out: 'nothing' is no alias" in server.log())
    finally:
        orm(server, "Backend.objects.all().delete()")
