"""Model names in Ollama's grammar: `[host/][namespace/]model[:tag]` <-> parts; and what a pull means by one.

Written after Ollama's `types/model/name.go` and `internal/modelref/modelref.go` (api-contract 1.6). Matching
is case-insensitive, so everything that compares names compares `Name.key`; everything that shows one shows
`Name.display`. Answers to inference requests echo the client's own spelling and use neither.

`parse` is the grammar alone. `refer` says where a model of that name comes from:

    qwen3:4b   qwen3:4b-int8               a short name of the catalogue, or one of its builds
    org/repo   hf.co/org/repo              a repository of the hub
    org/repo:tag   org/repo@revision       a branch, tag or commit of it; `:Q4_K_M` and its like name a GGUF file
    https://huggingface.co/org/repo/tree/revision
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from inference.errors import BadRequest, ModelNotFound
from registry import catalog

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
MAX_LENGTH = 350 + 80 + 80 + 80 + len("//:")
"""Characters of the longest valid name."""

Source = Literal["", "local", "cloud"]

_GRAMMAR = {
    "host": re.compile(r"[A-Za-z0-9_][\w.:-]{0,349}", re.ASCII),
    "namespace": re.compile(r"[A-Za-z0-9_][\w-]{0,79}", re.ASCII),
    "model": re.compile(r"[A-Za-z0-9_][\w.-]{0,79}", re.ASCII),
    "tag": re.compile(r"[A-Za-z0-9_][\w.-]{0,79}", re.ASCII),
}
_CLOUD_TAG = "-cloud"

HUB_HOSTS = ("hf.co", "huggingface.co")
"""Both mean the hub that is asked: Hugging Face, or the mirror that HF_ENDPOINT names."""

_PAGE = re.compile(r"((?:https?://)?[^/]+/[^/]+/[^/]+)/tree/([^?#]+)")
"""The address of a revision's page, as it stands in a browser."""
_REVISION = re.compile(r"[A-Za-z0-9_](?:(?!\.\.|//)[\w./-]){0,249}(?<![/.])", re.ASCII)
_GGUF_FILE = re.compile(r"I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32", re.ASCII | re.IGNORECASE)
"""Tags that choose a GGUF file by its quantisation, as Ollama reads them."""


class CloudRefused(ModelNotFound):
    """A name that asks for ollama.com (`:cloud`); this server never sends a prompt there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = ("ollama cloud is disabled: remote inference is unavailable",)


class UnknownModel(ModelNotFound):
    """A short name that the catalogue lacks. The first words are Ollama's: its command line looks for them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        near = catalog.similar(name)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        self.args = (
            f"pull model manifest: file does not exist: '{name}' is not in the catalogue; {meant}"
            "name a repository of the hub as org/repo",
        )


class Name(Struct, frozen=True):
    """The four parts, each valid, defaults filled in, case as it was written."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def display(self) -> str:
        """The shortest spelling that still means this model; always with its tag."""
        if self.host.lower() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    @property
    def key(self) -> str:
        """What two spellings of the same model have in common."""
        return self.display.lower()


class Reference(Struct, frozen=True):
    """What a pull of a name fetches. Nothing is known yet of what the hub has there."""

    name: Name
    """Under which the model is installed."""
    repo: str
    """`org/repo` on the hub; '' for a model that only ships with the program."""
    revision: str
    """Branch, tag or commit; '' for the hub's own default."""
    entry: catalog.Entry | None
    """Of the catalogue, if a short name was written."""
    build: catalog.Build | None = None
    """Which of the entry's builds was chosen."""
    variant: str = ""
    """Quantisation of the GGUF file that was asked for: `Q4_K_M`."""


def refer(text: str, device: str = "") -> Reference:
    """What `text` means to a pull. For an NPU (`device` begins with NPU) an entry's NPU build is chosen.

    Raises BadRequest (no name, or one of another registry), UnknownModel (a short name that the catalogue
    lacks) and CloudRefused.
    """
    plain, revision = _split_revision(text.strip())
    name = parse(plain)
    host, namespace = name.host.lower(), name.namespace.lower()
    if host == DEFAULT_HOST and namespace == DEFAULT_NAMESPACE:
        if revision:
            raise BadRequest(
                f"'{text}' asks a short name for a revision; write it with its repository: org/repo@{revision}",
                "model",
            )
        return _short(name, text, device)
    if host not in (DEFAULT_HOST, *HUB_HOSTS):
        raise BadRequest(
            f"'{text}' names the registry {name.host}; models come from {HUB_HOSTS[0]} or the hub that "
            "HF_ENDPOINT names: write org/repo",
            "model",
        )
    return _repository(name, revision)


def _short(name: Name, text: str, device: str) -> Reference:
    found = catalog.find(name.key, device)
    if found is None:
        raise UnknownModel(text)
    entry, build = found
    return Reference(name, build.repo if build else "", "", entry, build)


def _repository(name: Name, revision: str) -> Reference:
    if ".." in name.model or "--" in name.model or name.model.endswith(("-", ".", ".git")):
        raise BadRequest(f"'{name.model}' cannot be a repository of the hub", "model")
    variant = name.tag if _GGUF_FILE.fullmatch(name.tag) else ""
    if revision and name.tag == DEFAULT_TAG:
        name = Name(name.host, name.namespace, name.model, re.sub(r"[^\w.-]", "-", revision)[:80])
    elif not revision and not variant and name.tag.lower() != DEFAULT_TAG:
        revision = name.tag
    return Reference(name, f"{name.namespace}/{name.model}", revision, None, variant=variant)


def _split_revision(text: str) -> tuple[str, str]:
    """The name without its revision, and that: from `name@revision` or from the address of its page."""
    if text.lower().removeprefix("https://").startswith(HUB_HOSTS):
        text = text.rstrip("/")
    page = _PAGE.fullmatch(text)
    plain, at, revision = (page[1], "/", page[2]) if page else text.partition("@")
    if at and not _REVISION.fullmatch(revision):
        raise BadRequest(f"'{revision}' cannot be a revision: a branch, a tag or a commit", "model")
    return plain, revision


def parse(text: str) -> Name:
    """The name a client wrote, its `:local` suffix dropped.

    Raises BadRequest (`invalid model name`, or both source suffixes) and CloudRefused.
    """
    plain, source = split_source(text.strip())
    if source:
        if split_source(plain)[1]:
            raise BadRequest("use either :local or :cloud, not both", "model")
        if source == "cloud":
            raise CloudRefused(text)
    name = _split(plain)
    for part, grammar in _GRAMMAR.items():
        if not grammar.fullmatch(getattr(name, part)):
            raise BadRequest("invalid model name", "model")
    return name


def split_source(text: str) -> tuple[str, Source]:
    """The name without its source selector, and which one it carried: `m:local`, `m:cloud`, `m:20b-cloud`."""
    head, colon, suffix = text.rpartition(":")
    lowered = suffix.strip().lower()
    if not colon:
        return text, ""
    if lowered == "local":
        return head, "local"
    if lowered == "cloud":
        return head, "cloud"
    if lowered.endswith(_CLOUD_TAG) and "/" not in lowered:
        return f"{head}:{suffix.strip()[: -len(_CLOUD_TAG)]}", "cloud"
    return text, ""


def _split(text: str) -> Name:
    """The parts by position, not yet checked; a part that is promised by its separator and empty stays
    empty."""
    tag, namespace, host = DEFAULT_TAG, DEFAULT_NAMESPACE, DEFAULT_HOST
    if text.rfind(":") > text.rfind("/"):
        text, _, tag = text.rpartition(":")
    rest, slash, model = text.rpartition("/")
    if slash:
        head, slash, namespace = rest.rpartition("/")
        if slash:
            host = head.partition("://")[2] if "://" in head else head
    return Name(host=host, namespace=namespace, model=model, tag=tag)
