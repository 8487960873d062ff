"""Files from a hub into a staging folder: whole and right, gone on with after any end, and nothing beside them."""

from __future__ import annotations

import threading
from pathlib import Path

import hub_repositories as repositories
import huggingface_hub
import pytest
from hub_process import Hub
from hub_repositories import BIG, CHAT
from pytest_django import Settings
from transfers import HALF, WEIGHTS, check_nothing_whole, check_whole, part, pull

from registry import folder
from registry import hub as hubs
from registry.hub_errors import (
    Cancelled,
)

pytestmark = pytest.mark.usefixtures("asks_hub")


def test_all_files_arrive_with_their_digests(hub: Hub, staging: Path) -> None:
    repositories.embedding(hub.root)
    assert pull(staging, repositories.EMBEDDING) == folder.sums(staging)
    check_whole(hub, repositories.EMBEDDING, staging)


def test_progress_is_told_on_the_callers_thread_and_ends_at_the_whole(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root)
    hub.fault("slow", WEIGHTS, rate=20 * 1024**2)
    told: dict[str, list[int]] = {}
    threads = set()

    def note(name: str, done: int) -> None:
        told.setdefault(name, []).append(done)
        threads.add(threading.current_thread())

    found = hubs.repository(BIG)
    pull(staging, found, on_progress=note)
    assert {name: counts[-1] for name, counts in told.items()} == {
        file.name: file.size for file in found.files
    }
    assert len(told[WEIGHTS]) >= 4, "a second at 20 MB/s is told at least four times"
    assert all(counts == sorted(counts) for counts in told.values())
    assert threads == {threading.current_thread()}


def test_several_files_are_fetched_at_once(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    hub.fault("stall", WEIGHTS, on="cdn", after=1000, seconds=3600)
    arrived: set[str] = set()

    def enough() -> bool:
        return len(arrived) >= 5

    with pytest.raises(Cancelled):
        pull(staging, CHAT, on_progress=lambda name, done: arrived.add(name), cancelled=enough)
    assert len(arrived) >= 5, "one that stalls does not hold up the others"


def test_a_broken_connection_is_gone_on_from_where_it_broke(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root)
    hub.fault("truncate", WEIGHTS, on="cdn", times=1, after=HALF)
    pull(staging, BIG)
    check_whole(hub, BIG, staging)
    first, second = hub.requests(WEIGHTS, on="cdn")
    assert "Range" not in first
    assert (second["Range"], second["If-Range"][0]) == (f"bytes={HALF}-", '"')


def test_a_second_try_fetches_only_what_is_missing(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root)
    hub.fault("stall", WEIGHTS, on="cdn", after=HALF)
    with pytest.raises(Cancelled):
        pull(staging, BIG, cancelled=lambda: part(staging).exists() and part(staging).stat().st_size == HALF)
    check_nothing_whole(staging)
    assert part(staging).stat().st_size == HALF
    hub.reset()
    pull(staging, BIG)
    check_whole(hub, BIG, staging)
    (again,) = hub.requests(WEIGHTS, on="cdn")
    assert again["Range"] == f"bytes={HALF}-"


def test_files_that_are_whole_are_not_fetched_again(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root)
    pull(staging, CHAT)
    hub.reset()
    pull(staging, CHAT)
    assert not hub.requests("/resolve/")
    (staging / WEIGHTS).write_bytes(b"x" * (staging / WEIGHTS).stat().st_size)
    pull(staging, CHAT)
    assert [seen["path"].rpartition("/")[2] for seen in hub.requests("/resolve/")] == [WEIGHTS]
    check_whole(hub, CHAT, staging)


def test_a_part_that_was_spoiled_meanwhile_is_begun_anew(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root)
    hub.fault(
        "slow", WEIGHTS, on="cdn", rate=HALF
    )  # a second from the half to the end: somebody looks before it
    with pytest.raises(Cancelled):
        pull(staging, BIG, cancelled=lambda: part(staging).exists() and part(staging).stat().st_size >= HALF)
    with part(staging).open("r+b") as file:
        file.write(b"spoiled")
    hub.reset()
    pull(staging, BIG)
    check_whole(hub, BIG, staging)
    assert ["Range" in seen for seen in hub.requests(WEIGHTS, on="cdn")] == [True, False]


def test_a_hub_without_digests_is_believed_and_its_files_are_hashed(hub: Hub, staging: Path) -> None:
    repositories.chat(hub.root, bare=True)
    found = hubs.repository(CHAT)
    assert {file.etag for file in found.files} == {""}
    pull(staging, found)
    check_whole(hub, CHAT, staging)


def test_a_file_that_changed_between_two_attempts_is_fetched_whole(hub: Hub, staging: Path) -> None:
    """If-Range: the hub sends all of it when its validator is another one; here nothing else would tell."""
    repositories.big(hub.root, bare=True)
    hub.fault("truncate", WEIGHTS, times=1, after=HALF)
    hub.fault("etag", WEIGHTS, times=1, etag='"of an older file"')
    hub.fault("flip", WEIGHTS, times=1, at=5)
    pull(staging, BIG)
    check_whole(hub, BIG, staging)
    assert [seen.get("If-Range") for seen in hub.requests(WEIGHTS, on="cache")[1:]] == ['"of an older file"']


def test_a_cancellation_does_not_wait_for_a_byte(hub: Hub, staging: Path) -> None:
    """The connection says nothing for an hour; the test would last that long."""
    repositories.big(hub.root)
    hub.fault("stall", WEIGHTS, on="cdn", after=HALF)
    hub.fault("silence", "tokenizer.json", on="file")
    seen: dict[str, int] = {}
    with pytest.raises(Cancelled):
        pull(
            staging,
            BIG,
            on_progress=seen.__setitem__,
            cancelled=lambda: seen.get(WEIGHTS, 0) >= HALF,
            stall_s=3600,
        )
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("download")]


def test_a_caller_that_fails_leaves_no_thread_behind(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root)
    hub.fault("stall", WEIGHTS, on="cdn", after=HALF)

    def fail(name: str, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(staging, BIG, on_progress=fail, stall_s=3600)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("download")]


def test_another_commit_takes_no_part_of_an_earlier_one(hub: Hub, staging: Path) -> None:
    repositories.big(hub.root, bare=True)
    hub.fault("stall", WEIGHTS, after=HALF)  # what is there stays as it is until it is looked at
    with pytest.raises(Cancelled):
        pull(staging, BIG, cancelled=lambda: part(staging).exists() and part(staging).stat().st_size >= HALF)
    hub.reset()
    repositories.big(hub.root, size_bytes=HALF + 4096, bare=True)
    pull(staging, BIG)
    assert not [seen for seen in hub.requests() if "Range" in seen]
    assert (staging / WEIGHTS).stat().st_size == HALF + 4096


def test_what_does_not_belong_into_the_folder_goes(hub: Hub, staging: Path, tmp_path: Path) -> None:
    """Links above all: nothing is written through one, and none gets into a model."""
    repositories.chat(hub.root)
    outside = tmp_path / "outside"
    outside.write_text("untouched", "utf-8")
    (staging / "left" / "over").mkdir(parents=True)
    (staging / "left" / "over" / "file").write_text("x", "utf-8")
    for name in ("config.json", WEIGHTS + ".part", "SHA256SUMS.part", "link"):
        (staging / name).symlink_to(outside)
    pull(staging, CHAT)
    check_whole(hub, CHAT, staging)
    assert outside.read_text("utf-8") == "untouched"


def test_a_proxy_of_the_environment_is_used(
    hub: Hub, staging: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    repositories.big(hub.root, bare=True)  # all from one host
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, hub.url)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    huggingface_hub.close_session()
    settings.HF_ENDPOINT = "http://hub.invalid"
    pull(staging, BIG)
    check_whole(hub, BIG, staging)
    assert {seen["Host"] for seen in hub.requests(WEIGHTS)} == {"hub.invalid"}
