"""What a hub can do wrong while files come: each ends in a clear error, and with nothing that passes for a model."""

from __future__ import annotations

from pathlib import Path

import hub_repositories as repositories
import pytest
from hub_process import Hub
from hub_repositories import BIG, CHAT
from msgspec import structs
from pytest_django import Settings
from transfers import HALF, WEIGHTS, check_nothing_whole, check_whole, pull

from registry import fetch, hub_http
from registry import hub as hubs
from registry.hub_errors import (
    Changed,
    DigestMismatch,
    DiskFull,
    Gated,
    HubError,
    HubUnavailable,
    RateLimited,
    RefusedRedirect,
    Stalled,
    TooLarge,
    Truncated,
)

SECRET = "hf_secret"


pytestmark = pytest.mark.usefixtures("asks_hub")


def test_a_body_that_always_ends_early_is_given_up(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    hub.fault("truncate", WEIGHTS, on="cdn", after=1000)
    with pytest.raises(Truncated, match=r"ended at byte \d+ of 2662277 of openvino_model\.bin; pull again"):
        pull(staging, CHAT)
    assert len(hub.requests(WEIGHTS, on="cdn")) == fetch.ATTEMPTS
    check_nothing_whole(staging)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_bytes_that_are_not_the_announced_ones_are_thrown_away(hub: Hub, staging: Path, name: str) -> None:
    """Weights by the sha256 of large file storage, a small file by git's object id."""
    repositories.chat(hub.root)
    hub.fault("flip", f"/{name}$", at=100)
    with pytest.raises(DigestMismatch, match=rf"{name} has the digest \w{{12}} instead of \w{{12}}"):
        pull(staging, CHAT)
    assert not (staging / name).exists()
    assert not (staging / "SHA256SUMS").exists()
    assert (staging / f"{name}.part").stat().st_size == 0
    hub.reset()
    pull(staging, CHAT)
    check_whole(hub, CHAT, staging)


def test_an_announced_digest_that_is_wrong_refuses_the_file(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root, announced={WEIGHTS: "ab" * 32})
    with pytest.raises(DigestMismatch, match="instead of abababababab"):
        pull(staging, CHAT)
    check_nothing_whole(staging)


@pytest.mark.parametrize("kind", ["shorter", "bad_range"])
def test_another_length_than_the_announced_one_is_a_change(hub: Hub, staging: Path, kind: str) -> None:
    repositories.big(hub.root)
    hub.fault("truncate", WEIGHTS, on="cdn", times=1, after=HALF)
    hub.fault(kind, WEIGHTS, on="cdn", times=2)
    pull(staging, BIG)
    check_whole(hub, BIG, staging)
    hub.fault("shorter", "/config.json$")
    (staging / "config.json").unlink()
    with pytest.raises(Changed, match=r"config\.json changed on the hub"):
        pull(staging, BIG)


def test_a_server_without_ranges_sends_the_whole_again(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root)
    hub.fault("ignore_range")
    hub.fault("truncate", WEIGHTS, on="cdn", times=1, after=HALF)
    pull(staging, BIG)
    check_whole(hub, BIG, staging)


def test_more_bytes_than_announced_are_not_written(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    hub.fault("longer", "/config.json$")
    with pytest.raises(TooLarge, match=r"config\.json has more than the 869 bytes"):
        pull(staging, CHAT)
    assert not (staging / "config.json").exists()


def test_a_compressed_body_is_refused(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    hub.fault("gzip", "/config.json$", on="cache")
    with pytest.raises(HubUnavailable, match=r"sent config\.json compressed"):
        pull(staging, CHAT)
    assert {seen["Accept-Encoding"] for seen in hub.requests()} == {"identity"}


def test_a_connection_without_bytes_is_stalled(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root)
    hub.fault("stall", WEIGHTS, on="cdn", times=1, after=HALF)
    pull(staging, BIG, stall_s=0.3)
    check_whole(hub, BIG, staging)
    (staging / WEIGHTS).unlink()
    hub.fault("silence", WEIGHTS, on="cdn")
    with pytest.raises(Stalled, match=r"openvino_model\.bin stalled at byte 0: no byte came for 0\.3 s"):
        pull(staging, BIG, stall_s=0.3)
    check_nothing_whole(staging)


def test_what_may_pass_is_tried_again(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    hub.fault("status", "/resolve/.*bin", times=2, status=500)
    hub.fault("status", on="cdn", times=1, status=403)  # a signed link that ran out
    hub.fault("status", "/resolve/.*json", times=1, status=429, headers={"Retry-After": "0"})
    hub.fault("drop", "/resolve/.*xml", times=2)
    pull(staging, CHAT)
    check_whole(hub, CHAT, staging)


def test_a_hub_that_keeps_failing_is_given_up(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    hub.fault("status", WEIGHTS, on="file", status=500)
    with pytest.raises(HubUnavailable, match="answers 500; try again later"):
        pull(staging, CHAT)
    assert len(hub.requests(WEIGHTS, on="file")) == fetch.ATTEMPTS
    check_nothing_whole(staging)


def test_a_long_wait_that_the_hub_asks_for_is_told(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    hub.fault("status", WEIGHTS, on="file", status=429, headers={"Retry-After": "900"})
    with pytest.raises(RateLimited) as raised:
        pull(staging, CHAT)
    assert raised.value.retry_after_s == 900


def test_a_gated_repository_needs_a_token_that_accepted(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root, gated="auto", tokens=[SECRET])
    for token, way_out in (("", "set HF_TOKEN"), ("hf_other", "pull again")):
        with pytest.raises(
            Gated, match=rf"{CHAT} is gated: accept its licence at {hub.url}/{CHAT}, then {way_out}"
        ):
            pull(staging, CHAT, token=token)
        check_nothing_whole(staging)
    pull(staging, CHAT, token=SECRET)
    check_whole(hub, CHAT, staging)


def test_the_token_never_reaches_another_host(hub: Hub, settings: Settings, staging: Path) -> None:
    repositories.chat(hub.root)
    settings.HF_TOKEN = SECRET
    pull(staging, CHAT)
    assert {seen.get("Authorization") for seen in hub.requests(on="file")} == {f"Bearer {SECRET}"}
    assert hub.requests(on="cdn")
    assert not [seen for seen in hub.requests(on="cdn") if "Authorization" in seen]


def test_a_redirect_into_this_network_is_not_followed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, staging: Path
) -> None:
    """The hub counts as a public one here; its address is the only thing that can't be real in a test."""
    repositories.chat(hub.root)
    found = hubs.repository(CHAT)
    real = hub_http._is_internal
    monkeypatch.setattr(hub_http, "_is_internal", lambda host: host != "127.0.0.1" and real(host))
    hub.fault("redirect", WEIGHTS, to="http://169.254.169.254/latest/meta-data")
    with pytest.raises(
        RefusedRedirect, match=r"to http://169\.254\.169\.254, an address inside of this network"
    ):
        pull(staging, found)
    hub.reset()
    hub.fault("redirect", WEIGHTS, to="file:///etc/passwd")
    with pytest.raises(RefusedRedirect, match="no web address"):
        pull(staging, found)


def test_a_disk_without_room_is_noticed_before_the_first_byte(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    found = hubs.repository(CHAT)
    files = (structs.replace(found.files[0], size=10**15), *found.files[1:])
    hub.reset()
    with pytest.raises(DiskFull, match=r"tiny/chat needs 909\.5 TB more, and .* are free"):
        pull(staging, structs.replace(found, files=files))
    assert not hub.requests()


def test_a_folder_that_cannot_be_written_is_named_without_its_path(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    staging.parent.parent.mkdir(parents=True)
    staging.parent.write_text("a file where a folder should be", "utf-8")
    with pytest.raises(HubError, match="cannot be written where the models are") as raised:
        pull(staging, CHAT)
    assert str(staging.parent) not in str(raised.value)
