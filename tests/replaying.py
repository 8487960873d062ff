"""Sequences of requests of real clients, kept as data in tests/replays: read, sent byte for byte, and checked.

A file is one client: its headers in its own order and spelling, the names it gives to models, and steps. A step
says what is sent and what the client then depends on. Besides plain values a file may say:

    <text> <int> <number> <bool> <list> <object>   a value of that kind; texts and lists are not empty
    <time>                 RFC 3339 with an offset
    <absent>               there is no such key
    !re PATTERN            the whole text matches; !lines PATTERN: each of its lines does
    !has VALUE             the list or the text contains it; !without VALUE: it does not
    !at_least N            a number
    !repeat [TEXT, N]      in a body: TEXT until it has N characters
    {{name}}               in a body: what an earlier step kept

Paths go through objects and lists: `models/0/name`; `*` is every one of at least one.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
import zstandard
from replay_answers import Answer, read

FOLDER = Path(__file__).parent / "replays"
_KEPT = re.compile(r"\{\{(\w+)\}\}")
_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
}
_STEP = {"does", "sends", "headers", "without", "body", "raw", "encoded", "leaves_after", "gets", "keeps"}
_GETS = {"status", "type", "headers", "body", "json", "said", "events", "first", "last", "each", "some"}


class Check:
    """What a value must be, named as it stands in the file."""

    def __init__(self, name: str, holds: Callable[[Any], bool]) -> None:
        self.name = name
        self.holds = holds

    def __repr__(self) -> str:
        return self.name


ABSENT = object()


def _is(kind: type | tuple[type, ...], *, filled: bool = False) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        return right and (not filled or len(value) > 0)

    return holds


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    text = re.sub(r"(\.\d{6})\d+", r"\1", value)  # Go has nanoseconds
    return datetime.fromisoformat(text).utcoffset() is not None


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "<text>": _is(str, filled=True),
    "<int>": _is(int),
    "<number>": _is((int, float)),
    "<bool>": _is(bool),
    "<list>": _is(list, filled=True),
    "<object>": _is(dict),
    "<time>": _is_time,
    "<absent>": lambda value: value is ABSENT,
}
_GIVEN: dict[str, Callable[[Any, Any], bool]] = {
    "re": lambda given, value: isinstance(value, str) and re.fullmatch(given, value, re.DOTALL) is not None,
    "lines": lambda given, value: all(re.fullmatch(given, line) for line in value.split("\n")),
    "has": lambda given, value: given in value,
    "without": lambda given, value: given not in value,
    "at_least": lambda given, value: _is((int, float))(value) and value >= given,
}


class _Loader(yaml.SafeLoader):
    pass


def _construct(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        given: Any = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.ScalarNode)
        given = node.value if suffix in ("re", "lines") else yaml.safe_load(node.value)
    if suffix == "repeat":
        text, length = given
        return (text * (length // len(text) + 1))[:length]
    holds = _GIVEN[suffix]
    return Check(f"!{suffix} {given}", lambda value: holds(given, value))


yaml.add_multi_constructor("!", _construct, Loader=_Loader)


def load(path: Path) -> dict[str, Any]:
    """One client. Keys that nobody reads are refused: a check that is misspelt would check nothing."""
    replay: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=_Loader)
    assert set(replay) <= {"client", "seen", "headers", "models", "hub", "key", "parts", "steps"}, set(replay)
    for step in replay["steps"]:
        assert set(step) <= _STEP, set(step) - _STEP
        assert set(step.get("gets", {})) <= _GETS, set(step["gets"]) - _GETS
        assert "status" in step.get("gets", {}) or "leaves_after" in step, step["does"]
    return replay


class Player:
    """Sends the steps of one client over one connection, as the client keeps one."""

    def __init__(self, port: int, replay: dict[str, Any], kept: dict[str, Any]) -> None:
        self._port = port
        self._headers: dict[str, str] = replay["headers"]
        self.kept = kept
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def play(self, step: dict[str, Any]) -> None:
        response = self._send(step)
        if "leaves_after" in step:
            self._leave(response, step["leaves_after"])
            return
        headers = {name.lower(): value for name, value in response.getheaders()}
        assert "content-encoding" not in headers, "the answer is compressed, which this client did not decode"
        closes = headers.get("connection", "").lower() == "close"
        assert not closes or self._head("Connection", step) == "close", "the server closed the connection"
        answer = read(response.status, headers, response.read())
        try:
            check(answer, step["gets"], self.kept)
        except AssertionError as error:
            raise AssertionError(f"{step['does']}: {error}\n{answer.body[:3000]!r}") from None
        view = {"json": answer.json, "said": asdict(answer.said), "headers": headers, "parts": answer.parts}
        for name, path in step.get("keeps", {}).items():
            self.kept[name] = only(view, path)

    def _head(self, wished: str, step: dict[str, Any]) -> str:
        headers = self._headers | step.get("headers", {})
        return next((value for name, value in headers.items() if name.lower() == wished.lower()), "")

    def _send(self, step: dict[str, Any]) -> http.client.HTTPResponse:
        method, target = filled(step["sends"], self.kept).split(" ")
        body = _body(step, self.kept)
        headers = filled(self._headers | step.get("headers", {}), self.kept)
        connection = self._connection
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", f"127.0.0.1:{self._port}")
        for name, value in headers.items():
            if name not in step.get("without", ()):
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    def _leave(self, response: http.client.HTTPResponse, lines: int) -> None:
        """In the middle of the stream, as an editor does when the user types on."""
        assert response.status == 200, response.read()
        for _ in range(lines):
            assert response.readline()
        response.close()
        self._connection.close()


def _body(step: dict[str, Any], kept: dict[str, Any]) -> bytes | None:
    if "raw" in step:
        body = filled(step["raw"], kept).encode()
    elif "body" in step:
        body = json.dumps(filled(step["body"], kept), ensure_ascii=False, separators=(",", ":")).encode()
    else:
        return None
    return _ENCODERS[step["encoded"]](body) if "encoded" in step else body


def filled(value: Any, kept: dict[str, Any]) -> Any:
    """The same with what was kept in its places; a text that is nothing but a place becomes the value itself."""
    if isinstance(value, dict):
        return {name: filled(inner, kept) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, kept) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _KEPT.fullmatch(value)
    for name in _KEPT.findall(value):
        assert name in kept, f"nothing was kept as {name}"
    return kept[whole[1]] if whole else _KEPT.sub(lambda match: str(kept[match[1]]), value)


def check(answer: Answer, gets: dict[str, Any], kept: dict[str, Any]) -> None:
    """Raises AssertionError for the first thing that the client would miss."""
    assert answer.status == gets["status"], f"status {answer.status}"
    if "type" in gets:
        found = answer.headers.get("content-type", "")
        assert gets["type"] in (found, found.partition(";")[0]), f"content type {found}"
    compare(answer.headers, gets.get("headers", {}), kept)
    if "body" in gets:
        compare({"body": answer.body.decode()}, {"body": gets["body"]}, kept)
    if "events" in gets:
        names = "".join(f"{name} " for name in answer.events)
        assert re.fullmatch(_of_words(gets["events"]), names), f"events: {names}"
    compare(answer.json, gets.get("json", {}), kept)
    compare(asdict(answer.said), gets.get("said", {}), kept)
    for at, part in (("first", 0), ("last", -1)):
        compare(answer.parts[part] if answer.parts else None, gets.get(at, {}), kept)
    for part in answer.parts if "each" in gets else ():
        compare(part, gets["each"], kept)
    for wished in gets.get("some", ()):
        assert any(_holds(part, wished, kept) for part in answer.parts), f"no event with {wished}"


def _of_words(pattern: str) -> str:
    """The same regular expression over words, each of which ends with a space."""
    tokens = re.findall(r"[\w.]+|[^\w.\s]", pattern)
    return "".join(f"(?:{re.escape(token)} )" if re.match(r"\w", token) else token for token in tokens)


def _holds(value: Any, wished: dict[str, Any], kept: dict[str, Any]) -> bool:
    try:
        compare(value, wished, kept)
    except AssertionError:
        return False
    return True


def compare(value: Any, wished: dict[str, Any], kept: dict[str, Any]) -> None:
    """`wished`: path -> a Check, or the value itself."""
    for path, expected in wished.items():
        values = list(_at(value, path.split("/")))
        assert values, f"{path}: nothing there"
        for found in values:
            if isinstance(expected, str) and expected in _PLAIN:
                right = _PLAIN[expected](found)
            elif isinstance(expected, Check):
                right = found is not ABSENT and expected.holds(found)
            else:
                right = found is not ABSENT and found == filled(expected, kept)
            shown = "nothing" if found is ABSENT else repr(found)[:300]
            assert right, f"{path} is {shown}, not {expected!r}"


def only(value: Any, path: str) -> Any:
    """What stands at a path that must be there."""
    (found,) = _at(value, path.split("/"))
    assert found is not ABSENT, f"{path}: nothing there"
    return found


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif path[0] == "*":
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _at(inner, path[1:])
    elif isinstance(value, list) and re.fullmatch(r"-?\d+", path[0]):
        position = int(path[0])
        there = -len(value) <= position < len(value)
        yield from _at(value[position], path[1:]) if there else (ABSENT,)
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])
    else:
        yield ABSENT
