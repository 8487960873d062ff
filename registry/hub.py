"""What a hub that speaks Hugging Face's HTTP API knows of a repository: commit, files, sizes, digests, licence.

The API is huggingface-hub's business, with our client under it (`registry.hub_http`); the files themselves are
fetched by `registry.download`. Plain Python, synchronous, no ORM. Imported where a hub is asked, since huggingface-hub
takes a quarter of a second and 11 MB that a server without pulls has no use for.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Final, Literal, TypeVar
from urllib.parse import quote

import httpx
from django.conf import settings
from huggingface_hub import HfApi, ModelInfo, is_offline_mode, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from msgspec import Struct

from inference.errors import BadRequest
from registry import hub_http, repository_files
from registry.hub_errors import (
    HubError,
    HubUnavailable,
    RateLimited,
    RevisionNotFound,
    TooLarge,
    Unauthorized,
)
from registry.repository_files import Entry, Format

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 4
"""Of a request of the API that fails for a reason that may pass."""
BACKOFF_S: Final = 0.5
MAX_WAIT_S: Final = 20.0
"""The longest Retry-After that is waited for; a longer one is told to the caller."""
MAX_ENTRIES: Final = 20_000

Kind = Literal["", "chat", "embedding"]
Sort = Literal["downloads", "likes", "modified", "created", "trending"]
_SORTS: Final[dict[Sort, str]] = {
    "downloads": "downloads",
    "likes": "likes",
    "modified": "last_modified",
    "created": "created_at",
    "trending": "trending_score",
}
_TASKS: Final[dict[Kind, str | None]] = {
    "": None,
    "chat": "text-generation",
    "embedding": "feature-extraction",
}

T = TypeVar("T")


class RemoteFile(Struct, frozen=True, kw_only=True):
    """One file as the hub announces it."""

    name: str
    size: int
    sha256: str
    """64 hexadecimal digits of a file in large file storage; '' where the hub announces none."""
    etag: str
    """The sha256 again, or the git object id (sha1) of a small file; '' where the hub names neither."""
    url: str


class Repository(Struct, frozen=True, kw_only=True):
    """A repository at one commit, reduced to the files that a model needs."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str
    gated: bool
    endpoint: str
    format: Format = "openvino"
    """openvino: runs as it is; safetensors: has to be converted first; gguf: one file of weights."""
    task: str = ""
    """The hub's pipeline tag: text-generation, feature-extraction, …"""

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)


class Found(Struct, frozen=True, kw_only=True):
    """One answer of a search."""

    repo: str
    downloads: int
    likes: int
    kind: str
    gated: bool
    licence: str
    modified_at: datetime | None
    tags: tuple[str, ...]


def repository(
    repo: str,
    revision: str = "",
    *,
    token: str = "",
    endpoint: str = "",
    variant: str = "",
    limit_bytes: int = 0,
) -> Repository:
    """Look the repository up: two requests, the second one for each thousand files. Blocking.

    `variant` chooses among several GGUF files (Q4_K_M, say); `limit_bytes` is PULL_LIMIT_BYTES where 0. Raises
    HubError, and BadRequest for what is no repository's name.
    """
    endpoint = _endpoint(endpoint)
    api, hub = _api(endpoint, token), httpx.URL(endpoint)
    asked = Asked(repo, hub, bool(_token(endpoint, token)))
    info = _ask(asked, lambda: api.model_info(repo, revision=revision or None, timeout=hub_http.ANSWER_S))
    commit = str(info.sha or "")
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        raise HubUnavailable(f"the hub at {hub_http.shown(hub)} names no commit of {repo}")
    entries = _ask(asked, lambda: _entries(api, repo, commit))
    chosen_format, chosen = repository_files.choose(
        repo, entries, variant=variant, limit_bytes=limit_bytes or settings.PULL_LIMIT_BYTES
    )
    return Repository(
        repo=repo,
        commit=commit,
        files=tuple(
            RemoteFile(
                name=entry.name,
                size=entry.size,
                sha256=entry.sha256,
                etag=entry.sha256 or entry.blob_id,
                url=f"{endpoint}/{repo}/resolve/{commit}/{quote(entry.name)}",
            )
            for entry in chosen
        ),
        licence=_licence(info),
        gated=bool(info.gated),
        endpoint=endpoint,
        format=chosen_format,
        task=info.pipeline_tag or "",
    )


def search(
    query: str,
    *,
    limit: int = 20,
    sort: Sort = "downloads",
    kind: Kind = "",
    token: str = "",
    endpoint: str = "",
) -> tuple[Found, ...]:
    """Repositories with OpenVINO files whose name has the words of `query`. Blocking. Raises HubError."""
    endpoint = _endpoint(endpoint)
    api = _api(endpoint, token)
    asked = Asked("the search", httpx.URL(endpoint), bool(_token(endpoint, token)))

    def ask() -> list[ModelInfo]:
        found = api.list_models(
            search=query or None,
            filter="openvino",
            pipeline_tag=_TASKS[kind],
            sort=_SORTS[sort],
            limit=limit,
            full=True,
        )
        return list(found)

    return tuple(_found(info) for info in _ask(asked, ask))


def token_for(repository: Repository, token: str = "") -> str:
    """The token to fetch its files with: the request's, else HF_TOKEN where the hub is HF_ENDPOINT."""
    return _token(repository.endpoint, token)


class Asked(Struct, frozen=True):
    """Of whom what was asked, for the words of an error."""

    repo: str
    hub: httpx.URL
    with_token: bool


def _endpoint(endpoint: str) -> str:
    return (endpoint or str(settings.HF_ENDPOINT)).rstrip("/")


def _token(endpoint: str, token: str) -> str:
    """HF_TOKEN is for HF_ENDPOINT alone: a hub that a request named never gets it."""
    found = token or (settings.HF_TOKEN if endpoint == _endpoint("") else "")
    if not re.fullmatch(r"[!-~]*", found):
        raise Unauthorized("the token (HF_TOKEN) has characters that no token has; copy it anew")
    return found


@cache
def _configure() -> None:
    """Its own client waits for ever and follows redirects anywhere. Once: it closes the one that is in use."""
    set_client_factory(hub_http.api_client)


def _api(endpoint: str, token: str) -> HfApi:
    _configure()
    return HfApi(
        endpoint=endpoint,
        token=_token(endpoint, token) or False,
        library_name="npuproxy",
        library_version=settings.VERSION,
    )


def _ask(asked: Asked, call: Callable[[], T]) -> T:
    """The answer; tried again, with growing pauses, while the reason may pass."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if is_offline_mode():
                raise HubUnavailable("HF_HUB_OFFLINE is set: unset it to use a hub")
            return call()
        except HFValidationError:
            raise BadRequest("invalid model name", "model") from None
        except (HfHubHTTPError, httpx.HTTPError, HubError) as raised:
            error = _error(asked, raised)
            pause_s = (
                error.retry_after_s if isinstance(error, RateLimited) else BACKOFF_S * 2 ** (attempt - 1)
            )
            if error.is_final or attempt == ATTEMPTS or pause_s > MAX_WAIT_S:
                raise error from None
        except (KeyError, TypeError, ValueError, AttributeError) as raised:
            logger.warning("%s answered something else than a hub: %r", hub_http.shown(asked.hub), raised)
            raise HubUnavailable(
                f"the server at {hub_http.shown(asked.hub)} does not answer as a hub does; check HF_ENDPOINT"
            ) from None
        logger.info("%s; tried again in %.1f s", error, pause_s)
        time.sleep(pause_s)
    raise AssertionError


def _error(asked: Asked, raised: HfHubHTTPError | httpx.HTTPError | HubError) -> HubError:
    if isinstance(raised, HubError):
        return raised
    if isinstance(raised, RevisionNotFoundError):
        return RevisionNotFound(f"{asked.repo} has no such revision on {hub_http.shown(asked.hub)}")
    if isinstance(raised, HfHubHTTPError):
        return hub_http.refusal(raised.response, asked.repo, asked.hub, with_token=asked.with_token)
    return hub_http.unreachable(raised, asked.hub)


def _entries(api: HfApi, repo: str, commit: str) -> list[Entry]:
    found: list[Entry] = []
    for item in api.list_repo_tree(repo, recursive=True, revision=commit):
        if isinstance(item, RepoFile):
            found.append(
                Entry(
                    name=item.path,
                    size=int(item.lfs.size if item.lfs else item.size),
                    sha256=item.lfs.sha256.lower() if item.lfs else "",
                    blob_id=item.blob_id or "",
                )
            )
        else:
            found.append(Entry(name=item.path, size=0, sha256="", blob_id="", is_file=False))
        if len(found) > MAX_ENTRIES:
            raise TooLarge(f"{repo} has more than {MAX_ENTRIES} files")
    return found


def _licence(info: ModelInfo) -> str:
    named = getattr(info.card_data, "license", None) if info.card_data else None
    if isinstance(named, list):
        named = ", ".join(str(entry) for entry in named)
    tagged = (tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:"))
    return str(named or next(tagged, ""))


def _found(info: ModelInfo) -> Found:
    kinds = {task: kind for kind, task in _TASKS.items() if task} | {"sentence-similarity": "embedding"}
    return Found(
        repo=info.id,
        downloads=info.downloads or 0,
        likes=info.likes or 0,
        kind=kinds.get(info.pipeline_tag or "", ""),
        gated=bool(info.gated),
        licence=_licence(info),
        modified_at=info.last_modified,
        tags=tuple(info.tags or ()),
    )
