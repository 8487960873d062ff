"""What inference must know of another server; made by `registry` from a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Protocol = Literal["ollama", "openai", "anthropic"]
_VERSION = re.compile(r"/v\d+(beta\d*)?")

WHOLE_S = 600.0
"""So long the official clients of OpenAI and Anthropic wait for an answer unless told otherwise."""


class RemoteSpec(Struct, frozen=True, kw_only=True):
    """One server that can answer requests. `repr` shows no key: it may come into a log."""

    id: str
    """Its name for people, headers and metrics; unique, of [a-z0-9._-], never a device's."""
    protocol: Protocol
    url: str
    """Without a slash at its end and without the API's own path: 'http://box:11434'."""
    key: str = ""
    kind: str = "dgpu"
    """Hardware class: npu, igpu, dgpu or cpu."""
    watts: float | None = None
    """None: as assumed for its class, like the other two."""
    latency_s: float | None = None
    priority: int | None = None
    tokens_per_s: float | None = None
    models: Mapping[str, str] = {}
    """Names of ours -> as that server spells them; others go by their own names."""
    supported: tuple[str, ...] = ()
    """Patterns as of fnmatch, in any case; () is every model."""
    preferred: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    max_parameters: int = 0
    """Models with more never go there; 0: no bound."""
    verify_tls: bool = True
    ca_file: str = ""
    """Authorities to trust besides the system's; '' for none."""
    slots: int = 0
    """Requests at once; 0: no bound of ours."""
    first_byte_s: float = 120.0
    """Longest wait for the head of an answer, a load over there included."""
    between_s: float = 60.0
    """Longest silence inside an answer."""
    whole_s: float = WHOLE_S
    """Longest time for the body of an answer that is not streamed, whatever trickles in meanwhile."""

    def address(self, path: str) -> str:
        """Of a path of the API. A version at the end of the URL stands in the place of the API's own: OpenVINO Model
        Server has '/v3/chat/completions'."""
        head, slash, version = self.url.rpartition("/")
        if self.protocol == "openai" and path.startswith("/v1/") and _VERSION.fullmatch(slash + version):
            return f"{head}/{version}{path[3:]}"
        return self.url + path

    def __repr__(self) -> str:
        return f"RemoteSpec({self.id!r}, {self.protocol!r}, {self.url!r})"
