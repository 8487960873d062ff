"""Answers that pass through as they come, where a backend speaks the caller's own dialect. Pure.

Only whole events are let through, so that a stream that breaks can be ended in its dialect. Up to the first token each
event is read; from then on their ends are counted, and the tail is kept for what it says of usage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw, Struct

from inference.backends.wire import Ended
from inference.errors import RemoteFailed
from inference.events import FinishReason
from inference.remote import Protocol

_LONGEST_EVENT = 16 * 1024 * 1024
_TAIL = 4096
"""Bytes at the end of a stream in which its last events are."""
_FAILED = ("error", "response.failed")
_OPENS = rb"[{,\s]"
"""Before the name of a field: inside a text a quotation mark has a backslash before it."""


class Path(Struct, frozen=True, kw_only=True):
    """How one operation looks on the wire."""

    protocol: Protocol
    path: str
    lines: bool = False
    """NDJSON; else server-sent events."""
    has_token: Callable[[dict[str, Any]], bool]
    """An event of the stream, read."""
    end: re.Pattern[bytes]
    """In the event that ends a stream that is complete."""
    answer: str
    """A field that every answer has that is not streamed."""
    trailing: int = 0
    """Events without a token after the first one, the end's included."""


def _choice(event: dict[str, Any]) -> bool:
    choices = event.get("choices") or ()
    if not choices:
        return False
    delta = choices[0].get("delta") or choices[0]
    names = ("content", "text", "reasoning", "reasoning_content", "tool_calls", "refusal")
    return any(delta.get(name) for name in names) or bool(choices[0].get("finish_reason"))


def _ollama(event: dict[str, Any]) -> bool:
    said = event.get("message") or event
    names = ("content", "response", "thinking", "tool_calls")
    return bool(event.get("done")) or any(said.get(name) for name in names)


def _response(event: dict[str, Any]) -> bool:
    kind = str(event.get("type"))
    return kind.endswith(".delta") or kind in ("response.completed", "response.incomplete")


def _block(event: dict[str, Any]) -> bool:
    return event.get("type") in ("content_block_delta", "message_delta", "message_stop")


_DONE = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)
_LINE_DONE = re.compile(_OPENS + rb'"done"\s*:\s*true')
_COMPLETED = re.compile(_OPENS + rb'"type"\s*:\s*"response\.(completed|incomplete)"')
_STOPPED = re.compile(_OPENS + rb'"type"\s*:\s*"message_stop"')

PATHS: Final[Mapping[str, Path]] = {
    "openai.chat": Path(
        protocol="openai", path="/v1/chat/completions", has_token=_choice, end=_DONE, answer="choices", trailing=2
    ),
    "openai.completions": Path(
        protocol="openai", path="/v1/completions", has_token=_choice, end=_DONE, answer="choices", trailing=2
    ),
    "openai.responses": Path(
        protocol="openai", path="/v1/responses", has_token=_response, end=_COMPLETED, answer="output", trailing=3
    ),
    "chat": Path(
        protocol="ollama", path="/api/chat", lines=True, has_token=_ollama, end=_LINE_DONE, answer="message", trailing=1
    ),
    "generate": Path(
        protocol="ollama", path="/api/generate", lines=True, has_token=_ollama, end=_LINE_DONE, answer="response",
        trailing=1,
    ),
    "anthropic.messages": Path(
        protocol="anthropic", path="/v1/messages", has_token=_block, end=_STOPPED, answer="content", trailing=3
    ),
}  # fmt: skip
"""By operation: what can pass where the backend's protocol is this."""

COUNTED_IF_ASKED: Final = ("openai.chat", "openai.completions")
"""Their streams say what they took where the request asks for it."""

EMBED_PATHS: Final[Mapping[str, tuple[Protocol, str]]] = {
    "openai.embeddings": ("openai", "/v1/embeddings"),
    "embed": ("ollama", "/api/embed"),
    "embeddings": ("ollama", "/api/embeddings"),
}

_decode_fields = msgspec.json.Decoder(dict[str, Raw])


def renamed(body: bytes, model: str, asked: str) -> bytes:
    """The request with `model` in the place of the name that was `asked` for; every other byte of a value stays."""
    if model == asked:
        return body
    fields = _decode_fields.decode(body)
    return msgspec.json.encode(fields | {"model": Raw(msgspec.json.encode(model))})


def asking_usage(body: bytes) -> bytes:
    """A body of OpenAI's API that asks for the count of tokens at the end of its stream; the same if it did."""
    fields = _decode_fields.decode(body)
    try:
        options = _decode_fields.decode(fields.get("stream_options", b"{}"))
    except msgspec.MsgspecError:  # null, or what that server will refuse
        options = {}
    if bytes(options.get("include_usage", b"")) == b"true":
        return body
    options["include_usage"] = Raw(b"true")
    return msgspec.json.encode(fields | {"stream_options": Raw(msgspec.json.encode(options))})


class Names:
    """Puts the name that was asked for back into the answer, where the server there has another one for the model."""

    def __init__(self, theirs: str, asked: str, *, lines: bool = False) -> None:
        """`lines`: NDJSON, where the name stands first and the arguments of a call may have a `model` too."""
        spelled = re.escape(orjson.dumps(theirs))
        before = rb"^(\{\s*)" if lines else b"(" + _OPENS + b")"
        pattern = before + rb'"model"\s*:\s*' + spelled
        self._find = re.compile(pattern, re.MULTILINE) if theirs != asked else None
        self._put = b'"model":' + orjson.dumps(asked)

    def back(self, data: bytes) -> bytes:
        return data if self._find is None else self._find.sub(lambda found: found[1] + self._put, data)


class Scan:
    """One streamed answer: fed what comes, it gives what may be passed on."""

    def __init__(self, backend: str, path: Path, names: Names, *, hides_usage: bool = False) -> None:
        """`hides_usage`: the event of it was asked for by us alone."""
        self._hides_usage = hides_usage
        self._backend = backend
        self._path = path
        self._names = names
        self._held = b""
        self._end = b""
        """What ends an event: known with the first line."""
        self._head = b""
        self._tail = b""
        self.tokens = 0
        """Events from that with the first token on."""
        self.begun = False
        """The first token has come."""
        self.complete = False
        """The stream has come to its proper end."""

    def feed(self, data: bytes) -> bytes:
        """Whole events; b'' while there is no token in them yet. Raises RemoteFailed for an error in the stream."""
        if self._held:
            data, self._held = self._held + data, b""
        if not self._end and b"\n" in data:
            self._end = b"\n" if self._path.lines else b"\r\n\r\n" if b"\r\n" in data else b"\n\n"
        if not self._end or not data.endswith(self._end):
            data = self._whole_events(data)
        return self._passed(data) if data else b""

    def rest(self) -> bytes:
        """At the end of the body: a last event that nothing ends."""
        data, self._held = self._held, b""
        return self._passed(data + (self._end or b"\n")) if self._path.end.search(data) else b""

    def _passed(self, data: bytes) -> bytes:
        if b'"error"' in data:
            self._check(data)
        if not self.complete and self._path.end.search(data):
            self.complete = True
        if not self.begun:
            return self._until_token(data)
        self.tokens += data.count(self._end)
        self._tail = data[-_TAIL:] if len(data) >= _TAIL else (self._tail + data)[-_TAIL:]
        return self._names.back(self._shown(data))

    def _shown(self, data: bytes) -> bytes:
        if not self._hides_usage or b'"usage"' not in data:
            return data
        events = data.split(self._end)[:-1]
        return b"".join([event + self._end for event in events if not self._is_usage(event)])

    def _is_usage(self, event: bytes) -> bool:
        return any(read.get("usage") and not read.get("choices") for read in self._events(event))

    def _whole_events(self, data: bytes) -> bytes:
        """What is whole of it; the rest is held."""
        at = data.rfind(self._end) if self._end else -1
        cut = at + len(self._end) if at >= 0 else 0
        self._held = data[cut:]
        if len(self._held) > _LONGEST_EVENT:
            raise RemoteFailed(self._backend, f"an event has more than {_LONGEST_EVENT // 1024 // 1024} MiB")
        return data[:cut]

    def _until_token(self, data: bytes) -> bytes:
        self._head += data
        if len(self._head) > _LONGEST_EVENT:
            raise RemoteFailed(self._backend, "it says much and generates nothing")
        events = self._events(data)
        for at, event in enumerate(events):
            if self._path.has_token(event):
                self.begun, self.tokens = True, len(events) - at
                self._tail = self._head[-_TAIL:]
                return self._names.back(self._shown(self._head))
        return b""

    def _events(self, data: bytes) -> list[dict[str, Any]]:
        """Raises RemoteFailed for what is no JSON."""
        lines = data.splitlines()
        if not self._path.lines:
            lines = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        try:
            read = [orjson.loads(line) for line in lines if line and line != b"[DONE]"]
        except orjson.JSONDecodeError:
            raise RemoteFailed(self._backend, "its stream is not what this API sends") from None
        return [event for event in read if isinstance(event, dict)]

    def _check(self, data: bytes) -> None:
        for event in self._events(data):
            if event.get("type") in _FAILED or event.get("error"):
                raise RemoteFailed(self._backend, error_words(event) or "it failed in mid-stream")

    def usage(self) -> Ended:
        """As the server said it; tokens that it did not count are those that were seen."""
        first = self._head if self._path.protocol == "anthropic" else b""
        ended = usage_in(first + self._tail)
        if ended.completion_tokens is None:
            return msgspec.structs.replace(ended, completion_tokens=max(1, self.tokens - self._path.trailing))
        return ended


def _numbers(*names: str) -> re.Pattern[bytes]:
    return re.compile(_OPENS + rb'"(?:' + "|".join(names).encode() + rb')"\s*:\s*(\d{1,12})')


_PROMPT = _numbers("prompt_tokens", "input_tokens", "prompt_eval_count")
_COMPLETION = _numbers("completion_tokens", "output_tokens", "eval_count")
_REASONING = _numbers("reasoning_tokens")
_LENGTH = re.compile(_OPENS + rb'"(?:finish_reason|done_reason|stop_reason)"\s*:\s*"(?:length|max_tokens)"')


def usage_in(data: bytes) -> Ended:
    """The last numbers that it names."""
    reason: FinishReason = "length" if _LENGTH.search(data) else "stop"
    return Ended(
        reason=reason,
        prompt_tokens=_last(_PROMPT, data),
        completion_tokens=_last(_COMPLETION, data),
        reasoning_tokens=_last(_REASONING, data),
    )


def _last(pattern: re.Pattern[bytes], data: bytes) -> int | None:
    found = pattern.findall(data)
    return int(found[-1]) if found else None


def error_words(body: object) -> str:
    """Of an error in any of the three APIs, read; '' where there are none."""
    if not isinstance(body, dict):
        return ""
    within = body.get("response")
    said = (within if isinstance(within, dict) else body).get("error", body)
    if isinstance(said, dict):
        said = said.get("message") or said.get("error") or ""
    return said[:2000] if isinstance(said, str) else ""
