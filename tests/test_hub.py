"""What is known of a repository, and how a hub's faults read; asked of a real process that speaks its API."""

from __future__ import annotations

import hashlib

import hub_repositories as repositories
import huggingface_hub
import pytest
from engines import BUILTIN
from hub_process import Hub
from pytest_django import Settings

from inference.errors import BadRequest
from registry import hub as hubs
from registry import hub_http
from registry.hub_errors import (
    Gated,
    HubError,
    HubUnavailable,
    NoModelFiles,
    RateLimited,
    RepositoryNotFound,
    RevisionNotFound,
    TooLarge,
    Unauthorized,
    UnsafeName,
)

CHAT = repositories.CHAT
SECRET = "hf_secret"


pytestmark = pytest.mark.usefixtures("asks_hub")


def test_a_repository_is_its_files_at_one_commit(hub: Hub) -> None:
    commit = repositories.chat(hub.root)
    found = hubs.repository(CHAT)
    files = {file.name: file for file in found.files}
    weights = BUILTIN / "demo" / "openvino_model.bin"
    bin_file, config = files["openvino_model.bin"], files["config.json"]
    assert (found.repo, found.commit, found.format, found.licence) == (CHAT, commit, "openvino", "apache-2.0")
    assert bin_file.sha256 == bin_file.etag == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (config.sha256, len(config.etag)) == ("", 40), "a small file has git's object id only"
    assert bin_file.url == f"{hub.url}/{CHAT}/resolve/{commit}/openvino_model.bin"
    assert found.total_bytes == sum(file.size for file in found.files) > weights.stat().st_size


def test_what_no_model_needs_stays_on_the_hub(hub: Hub) -> None:
    repositories.chat(hub.root)
    names = {file.name for file in hubs.repository(CHAT).files}
    assert names == set(repositories.chat_files())


def test_a_tree_of_many_pages_is_read_to_its_end(hub: Hub) -> None:
    repositories.embedding(hub.root)
    whole = hubs.repository(repositories.EMBEDDING)
    hub.page(3)
    assert hubs.repository(repositories.EMBEDDING) == whole
    assert len(hub.requests("/tree/")) > 4
    assert "1_Pooling/config.json" in {file.name for file in whole.files}


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub) -> None:
    first = repositories.chat(hub.root)
    second = repositories.publish(hub.root, CHAT, repositories.chat_files() | {"config.json": b"{}"}, "v2")
    assert hubs.repository(CHAT).commit == first
    assert hubs.repository(CHAT, "v2").commit == second
    assert hubs.repository(CHAT, second).commit == second
    with pytest.raises(RevisionNotFound, match="no such revision"):
        hubs.repository(CHAT, "v3")


def test_a_repository_that_moved_is_found_at_its_new_place(hub: Hub) -> None:
    commit = repositories.chat(hub.root)
    repositories.move(hub.root, "old/chat", CHAT)
    assert hubs.repository("old/chat").commit == commit


def test_an_unknown_repository_and_a_private_one_read_alike_without_a_token(hub: Hub) -> None:
    repositories.chat(hub.root, "tiny/private", private=True, tokens=[SECRET])
    for repo in ("tiny/nothing", "tiny/private"):
        with pytest.raises(
            RepositoryNotFound, match=r"does not exist on http.* or it is private: set HF_TOKEN"
        ):
            hubs.repository(repo)
    assert hubs.repository("tiny/private", token=SECRET).repo == "tiny/private"


def test_a_token_that_the_hub_does_not_know_is_named(hub: Hub) -> None:
    repositories.chat(hub.root)
    with pytest.raises(Unauthorized, match="does not accept the token") as raised:
        hubs.repository(CHAT, token="forged-and-long")
    assert "forged" not in str(raised.value)


def test_a_token_that_is_no_token_is_refused_without_being_shown(hub: Hub) -> None:
    with pytest.raises(Unauthorized) as raised:
        hubs.repository(CHAT, token="hf_x\r\nHost: elsewhere")
    assert "elsewhere" not in str(raised.value)
    assert not hub.requests()


@pytest.mark.parametrize("name", ["a/b/c", "a b/c", "../etc", "a--b/..", "x" * 200, ""])
def test_what_is_no_name_of_a_repository_is_not_asked_for(hub: Hub, name: str) -> None:
    with pytest.raises((BadRequest, RepositoryNotFound)):
        hubs.repository(name)
    assert not [seen for seen in hub.requests() if ".." in seen["path"]]


def test_a_forbidden_repository_says_what_to_do(hub: Hub) -> None:
    repositories.chat(hub.root)
    hub.fault("status", status=403, code="GatedRepo")
    with pytest.raises(Gated, match=rf"{CHAT} is gated: accept its licence at {hub.url}/{CHAT}"):
        hubs.repository(CHAT)


def test_a_gated_repository_is_known_as_such(hub: Hub) -> None:
    repositories.chat(hub.root, gated="manual")
    assert hubs.repository(CHAT).gated is True


def test_what_may_pass_is_tried_again(hub: Hub) -> None:
    repositories.chat(hub.root)
    hub.fault("status", times=1, status=500)
    hub.fault("status", times=1, status=503)
    hub.fault("drop", "/tree/", times=1)
    hub.fault("status", "/tree/", times=1, status=429, headers={"Retry-After": "0"})
    assert hubs.repository(CHAT).repo == CHAT


@pytest.mark.parametrize("kind", ["status", "drop"])
def test_what_does_not_pass_ends_after_a_few_attempts(hub: Hub, kind: str) -> None:
    hub.fault(kind, status=500)
    with pytest.raises(HubUnavailable, match=hub.url):
        hubs.repository(CHAT)
    assert len(hub.requests()) == hubs.ATTEMPTS


def test_a_long_wait_that_the_hub_asks_for_is_told_and_not_waited(hub: Hub) -> None:
    hub.fault("status", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(RateLimited, match="wait 3600 s") as raised:
        hubs.repository(CHAT)
    assert raised.value.retry_after_s == 3600
    assert len(hub.requests()) == 1


def test_a_hub_that_is_not_there(settings: Settings) -> None:
    settings.HF_ENDPOINT = "http://127.0.0.1:9"
    with pytest.raises(HubUnavailable, match=r"http://127\.0\.0\.1:9 cannot be reached .*HTTPS_PROXY"):
        hubs.repository(CHAT)


def test_a_hub_that_says_nothing_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_http, "ANSWER_S", 0.2)
    hub.fault("silence")
    with pytest.raises(HubUnavailable, match="does not answer in time"):
        hubs.repository(CHAT)


@pytest.mark.parametrize(
    "body", ["<html>hotel</html>", "[]", "{}", '{"id": "tiny/chat", "sha": "main"}', "null", "3"]
)
def test_another_server_than_a_hub_is_recognised(hub: Hub, body: str) -> None:
    hub.fault("garbage", body=body)
    with pytest.raises(HubUnavailable, match=r"check HF_ENDPOINT|names no commit"):
        hubs.repository(CHAT)


@pytest.mark.parametrize(
    "body", ['[{"type": "file"}]', '[{"type": "file", "path": 3, "size": "x", "oid": 1}]', "7"]
)
def test_a_tree_that_is_none_is_recognised(hub: Hub, body: str) -> None:
    repositories.chat(hub.root)
    hub.fault("garbage", "/tree/", body=body)
    with pytest.raises(HubUnavailable, match="check HF_ENDPOINT"):
        hubs.repository(CHAT)


def test_an_answer_has_a_bound_on_the_wire_and_is_never_unpacked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    repositories.chat(hub.root)
    hub.fault("gzip", times=1)
    monkeypatch.setattr(hubs, "ATTEMPTS", 1)
    with pytest.raises(HubUnavailable, match="compressed"):
        hubs.repository(CHAT)
    monkeypatch.setattr(hub_http, "MAX_ANSWER_BYTES", 200)
    with pytest.raises(HubUnavailable, match="more than 200 bytes"):
        hubs.repository(CHAT)


def test_a_tree_without_end_is_cut(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repositories.chat(hub.root)
    monkeypatch.setattr(hubs, "MAX_ENTRIES", 5)
    with pytest.raises(TooLarge, match="more than 5 files"):
        hubs.repository(CHAT)


def test_a_repository_without_openvino_files_says_where_to_look(hub: Hub) -> None:
    repositories.without_openvino(hub.root)
    with pytest.raises(NoModelFiles, match=r"tiny/pickle has no openvino_model\.xml"):
        hubs.repository("tiny/pickle")


UNSAFE = [
    "../escape.json", "a/../../escape.json", "/etc/passwd", "C:/windows/x.json", "c:x.json", "..\\x.json",
    "a\\..\\x.json", "\\\\host\\share\\x.json", "a//x.json", "./x.json", "a/./x.json", "..", "line\nbreak.json",
    "nul\0l.json", "", "1_Pooling/../config.json",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_leaves_its_folder_refuses_the_repository(hub: Hub, name: str) -> None:
    repositories.with_entries(hub.root, CHAT, name)
    with pytest.raises(UnsafeName, match="no name inside of a folder"):
        hubs.repository(CHAT)


@pytest.mark.parametrize("name", ["nul.json", "CON.jinja", "aux.json", "com1.json", "x" * 250 + ".json"])
def test_a_name_that_some_systems_cannot_hold_is_refused_where_it_is_needed(hub: Hub, name: str) -> None:
    repositories.with_entries(hub.root, CHAT, name)
    with pytest.raises(UnsafeName, match="not every system"):
        hubs.repository(CHAT)


def test_names_that_differ_in_case_only_are_refused(hub: Hub) -> None:
    repositories.with_entries(hub.root, CHAT, "Config.json")
    with pytest.raises(UnsafeName, match="differ in case only"):
        hubs.repository(CHAT)


@pytest.mark.parametrize("kind", ["symlink", "directory", "submodule"])
def test_a_link_in_the_place_of_a_file_is_refused(hub: Hub, kind: str) -> None:
    repositories.with_entries(hub.root, CHAT, "special_tokens_map.json", kind=kind)
    with pytest.raises(UnsafeName, match="no regular file"):
        hubs.repository(CHAT)


def test_a_model_over_the_limit_is_refused_with_both_figures(hub: Hub, settings: Settings) -> None:
    repositories.chat(hub.root)
    settings.PULL_LIMIT_BYTES = 1024**2
    with pytest.raises(TooLarge, match=r"has 3\.3 MB, the limit is 1\.0 MB; raise NPU_PROXY_PULL_LIMIT"):
        hubs.repository(CHAT)


def test_a_text_file_as_large_as_weights_is_refused(hub: Hub) -> None:
    repositories.with_entries(hub.root, CHAT, "added_tokens.json", size=10**9)
    with pytest.raises(TooLarge, match=r"added_tokens\.json"):
        hubs.repository(CHAT)


def test_the_configured_token_goes_to_the_configured_hub_alone(hub: Hub, settings: Settings) -> None:
    repositories.chat(hub.root)
    settings.HF_TOKEN = SECRET
    hubs.repository(CHAT)
    assert {seen.get("Authorization") for seen in hub.requests()} == {f"Bearer {SECRET}"}
    hub.reset()
    hubs.repository(CHAT, token="hf_of_the_request")
    assert {seen.get("Authorization") for seen in hub.requests()} == {"Bearer hf_of_the_request"}
    hub.reset()
    settings.HF_ENDPOINT = "https://hub.example.com"
    hubs.repository(CHAT, endpoint=hub.url)
    assert not [seen for seen in hub.requests() if "Authorization" in seen]


def test_a_redirect_to_another_host_takes_no_token_along(hub: Hub, settings: Settings) -> None:
    settings.HF_TOKEN = SECRET
    hub.fault("redirect", on="api", to=f"{hub.cdn_url}/models/tiny/chat/{'0' * 40}/config.json")
    with pytest.raises(HubError):
        hubs.repository(CHAT)
    assert hub.requests(on="cdn")
    assert not [seen for seen in hub.requests(on="cdn") if "Authorization" in seen]


def test_redirects_in_circles_end(hub: Hub) -> None:
    hub.fault("redirect", to="/api/models/tiny/chat")
    with pytest.raises(HubUnavailable, match="in circles"):
        hubs.repository(CHAT)


def test_a_proxy_of_the_environment_is_used(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    repositories.chat(hub.root)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, hub.url)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    huggingface_hub.close_session()
    settings.HF_ENDPOINT = "http://hub.invalid"
    assert hubs.repository(CHAT).endpoint == "http://hub.invalid"
    assert {seen["Host"] for seen in hub.requests() if seen["proxied"]} == {"hub.invalid"}


def test_the_offline_mode_of_hugging_face_counts(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnavailable, match="HF_HUB_OFFLINE"):
        hubs.repository(CHAT)
    assert not hub.requests()


def test_a_search_finds_openvino_models_by_words_and_kind(hub: Hub) -> None:
    repositories.chat(hub.root, downloads=5, likes=9)
    repositories.embedding(hub.root, downloads=7)
    repositories.chat(hub.root, "other/plain", tags=["pytorch"], downloads=99)
    assert [found.repo for found in hubs.search("tiny")] == [repositories.EMBEDDING, CHAT]
    assert [found.repo for found in hubs.search("tiny", sort="likes")] == [CHAT, repositories.EMBEDDING]
    assert [found.repo for found in hubs.search("tiny", limit=1)] == [repositories.EMBEDDING]
    only = hubs.search("", kind="embedding")
    assert [(found.repo, found.kind, found.licence) for found in only] == [
        (repositories.EMBEDDING, "embedding", "apache-2.0")
    ]
    assert hubs.search("nothing like it") == ()


def test_a_search_at_a_failing_hub_says_so(hub: Hub) -> None:
    hub.fault("status", status=502)
    with pytest.raises(HubUnavailable, match="502"):
        hubs.search("tiny")
