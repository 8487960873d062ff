"""GET /api/search: what the hub has that could run here."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import hub_repositories
import pytest
from conftest import RunningServer, Serve
from hub_process import Hub

from inference.errors import Unavailable
from registry import hub_search
from registry.hub import Found
from registry.hub_errors import HubUnavailable, RateLimited

FILES = {"config.json": b"{}", "openvino_model.xml": b"<net/>"}


def publish(hub: Hub, repo: str, **meta: Any) -> None:
    hub_repositories.publish(hub.root, repo, FILES, **meta)


@pytest.fixture
def library(hub: Hub) -> Hub:
    """Five repositories, one of which has no OpenVINO files; as often on the hub, not all name their task."""
    publish(hub, "OpenVINO/Qwen3-8B-int4-cw-ov", downloads=500, likes=14, pipeline_tag="")
    publish(hub, "OpenVINO/Qwen3-Embedding-0.6B-int8-ov", downloads=40, likes=90, pipeline_tag="")
    publish(
        hub, "OpenVINO/Phi-3-mini-4k-instruct-int4-ov", downloads=300, likes=2, licence="mit", gated="auto"
    )
    publish(
        hub,
        "OpenVINO/whisper-base-int8-ov",
        downloads=900,
        pipeline_tag="automatic-speech-recognition",
        tags=["openvino", "automatic-speech-recognition"],
    )
    publish(hub, "Qwen/Qwen3-8B", downloads=9000, tags=["transformers"])
    return hub


def search(server: RunningServer, **parameters: str | int) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/api/search", params=parameters, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    found: dict[str, Any] = answer.json()
    return found


def test_a_search_finds_what_could_run_here(serve: Serve, library: Hub) -> None:
    server = serve(HF_ENDPOINT=library.url)
    found = search(server, q="qwen3")
    assert found["query"] == "qwen3"
    assert found["total"] == len(found["models"]) == 2
    assert found["models"][0] == {
        "id": "OpenVINO/Qwen3-8B-int4-cw-ov",
        "name": "Qwen3-8B-int4-cw-ov",
        "author": "OpenVINO",
        "type": "chat",
        "parameters": "8B",
        "quantization": "INT4",
        "license": "apache-2.0",
        "gated": False,
        "downloads": 500,
        "likes": 14,
        "last_modified": "2026-11-01T10:00:00.000000Z",
        "installed": False,
        "installed_as": [],
    }
    everything = [model["id"].rpartition("/")[2] for model in search(server)["models"]]
    assert everything == [
        "whisper-base-int8-ov",
        "Qwen3-8B-int4-cw-ov",
        "Phi-3-mini-4k-instruct-int4-ov",
        "Qwen3-Embedding-0.6B-int8-ov",
    ]
    assert search(server, q="no such thing") == {"models": [], "query": "no such thing", "total": 0}
    phi = search(server, q="phi")["models"][0]
    assert (phi["license"], phi["gated"]) == ("mit", True)


def test_a_search_is_sorted_bounded_and_of_one_type(serve: Serve, library: Hub) -> None:
    server = serve(HF_ENDPOINT=library.url)

    def ids(**parameters: str | int) -> list[str]:
        return [model["name"].partition("-int")[0] for model in search(server, **parameters)["models"]]

    assert ids(sort="likes", limit=2) == ["Qwen3-Embedding-0.6B", "Qwen3-8B"]
    assert ids(sort="popular", limit=1) == ["whisper-base"]
    assert ids(type="llm") == ids(type="chat") == ["Qwen3-8B", "Phi-3-mini-4k-instruct"]
    assert ids(type="chat", limit=1) == ["Qwen3-8B"]
    assert ids(type="embedding", sort="newest") == ["Qwen3-Embedding-0.6B"]
    assert len(ids(type="ALL")) == 4


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=٣", "limit"),
        ("sort=size", "sort"),
        ("type=rerank", "type"),
        ("q=" + "x" * 201, "q"),
    ],
)
def test_a_wrong_parameter_is_named_before_the_hub_is_asked(
    server: RunningServer, query: str, field: str
) -> None:
    answer = httpx.get(f"{server.url}/api/search?{query}")
    assert answer.status_code == 400
    message = answer.json()["error"]
    assert message.startswith(f"{field} ")
    assert len(message) < 200


def test_what_the_hub_refuses_is_told_in_the_native_envelope(serve: Serve, library: Hub) -> None:
    server = serve(HF_ENDPOINT=library.url)
    library.fault("status", status=429, headers={"Retry-After": "77"})
    answer = httpx.get(f"{server.url}/api/search", timeout=30)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "77")
    assert list(answer.json()) == ["error"]
    library.reset()
    library.fault("garbage")
    answer = httpx.get(f"{server.url}/api/search", timeout=30)
    assert answer.status_code == 502
    assert isinstance(answer.json()["error"], str)
    library.reset()
    library.fault("drop", times=1)
    assert search(server, q="phi")["total"] == 1


def test_the_catalogue_needs_no_hub(serve: Serve) -> None:
    server = serve(HF_ENDPOINT="http://127.0.0.1:9")
    assert httpx.get(f"{server.url}/api/models/known").status_code == 200
    answer = httpx.get(f"{server.url}/api/search?q=x", timeout=30)
    assert answer.status_code == 502
    assert "HF_ENDPOINT" in answer.json()["error"]


def test_a_search_ends_at_its_deadline(library: Hub, settings: Any) -> None:
    settings.HF_ENDPOINT = library.url
    library.fault("status", status=503)  # tried again, with pauses
    with pytest.raises(HubUnavailable, match=r"did not answer the search within 0\.05 s"):
        hub_search.search("x", deadline_s=0.05)
    library.reset()
    wait_for_places()


def test_a_hub_that_hangs_holds_no_more_threads_than_allowed(library: Hub, settings: Any) -> None:
    settings.HF_ENDPOINT = library.url
    library.fault("status", status=503)
    for _ in range(hub_search.MOST_AT_ONCE):
        with pytest.raises(HubUnavailable):
            hub_search.search("x", deadline_s=0.01)
    with pytest.raises(Unavailable, match="searches of the hub are under way") as refusal:
        hub_search.search("x")
    assert refusal.value.retry_after_s > 0
    library.reset()
    wait_for_places()
    assert [hit.found.likes for hit in hub_search.search("phi")] == [2]


def test_the_error_of_a_search_is_the_hubs_own(library: Hub, settings: Any) -> None:
    settings.HF_ENDPOINT = library.url
    library.fault("status", status=429, headers={"Retry-After": "77"})
    with pytest.raises(RateLimited) as refusal:
        hub_search.search("x")
    assert refusal.value.retry_after_s == 77


def wait_for_places() -> None:
    """Until every search that was given up has ended."""
    for _ in range(1000):
        taken = [hub_search._places.acquire(blocking=False) for _ in range(hub_search.MOST_AT_ONCE)]
        for was_free in taken:
            if was_free:
                hub_search._places.release()
        if all(taken):
            return
        time.sleep(0.02)
    pytest.fail("a search did not end")


@pytest.mark.parametrize(
    ("repo", "told", "tags", "kind"),
    [
        ("OpenVINO/Qwen3-8B-int4-cw-ov", "", (), "chat"),
        ("OpenVINO/Qwen3-8B-int4-cw-ov", "embedding", (), "embedding"),
        ("OpenVINO/Qwen3-Embedding-0.6B-int8-ov", "chat", (), "chat"),
        ("OpenVINO/Qwen3-Embedding-0.6B-int8-ov", "", (), "embedding"),
        ("OpenVINO/bge-base-en-v1.5-int8-ov", "", (), "embedding"),
        ("intfloat/multilingual-e5-large", "", (), "embedding"),
        ("x/all-MiniLM-L6-v2-ov", "", (), "embedding"),
        ("x/gemma3-4b-it-ov", "", ("openvino", "image-text-to-text"), "vision"),
        ("x/llava-1.5-7b-ov", "", (), "vision"),
        ("OpenVINO/Phi-3.5-vision-instruct-int4-ov", "", (), "vision"),
        ("OpenVINO/InternVL2-2B-int4-ov", "", (), "vision"),
        ("x/Qwen3-VLM-notes", "", (), "chat"),
        ("x/clip-vit-large", "", (), "other"),
        ("OpenVINO/bge-reranker-base-int8-ov", "", (), "other"),
        ("OpenVINO/Qwen3-Reranker-0.6B-fp16-ov", "", ("text-ranking",), "other"),
        ("OpenVINO/whisper-base-int8-ov", "", (), "other"),
        ("OpenVINO/Qwen2.5-VL-7B-Instruct-int4-ov", "", (), "vision"),
        ("OpenVINO/bert-base-uncased-sst2-int8", "", (), "other"),
    ],
)
def test_what_a_repository_is_for_is_told_from_its_task_its_tags_or_its_name(
    repo: str, told: str, tags: tuple[str, ...], kind: str
) -> None:
    found = Found(
        repo=repo,
        downloads=0,
        likes=0,
        kind=told,
        gated=False,
        licence="",
        modified_at=datetime(2026, 1, 1, tzinfo=UTC),
        tags=tags,
    )
    assert hub_search.kind_of(found) == kind


@pytest.mark.parametrize(
    ("name", "parameters", "quantization"),
    [
        ("Qwen3-8B-int4-cw-ov", "8B", "INT4"),
        ("TinyLlama-1.1B-Chat-v1.0-fp16-ov", "1.1B", "FP16"),
        ("Qwen3-30B-A3B-int8-ov", "30B", "INT8"),
        ("SmolLM2-360M-Instruct-GGUF-Q4_K_M", "360M", "Q4_K_M"),
        ("DeepSeek-R1-Distill-Qwen-7B-nf4-ov", "7B", "NF4"),
        ("phi-2-ov", "", ""),
        ("all-MiniLM-L6-v2", "", ""),
    ],
)
def test_size_and_precision_are_read_from_a_name(
    hub: Hub, settings: Any, name: str, parameters: str, quantization: str
) -> None:
    settings.HF_ENDPOINT = hub.url
    publish(hub, f"org/{name}")
    (hit,) = hub_search.search("")
    assert (hit.parameters, hit.quantization) == (parameters, quantization)
