"""Model names in Ollama's grammar: `[host/][namespace/]model[:tag]` <-> parts.

Written after Ollama's `types/model/name.go` and `internal/modelref/modelref.go` (api-contract 1.6). Matching
is case-insensitive, so everything that compares names compares `Name.key`; everything that shows one shows
`Name.display`. Answers to inference requests echo the client's own spelling and use neither.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from inference.errors import BadRequest, ModelNotFound

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


class CloudRefused(ModelNotFound):
    """A name that asks for ollama.com (`:cloud`); this server never sends a prompt there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = ("ollama cloud is disabled: remote inference is unavailable",)


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
