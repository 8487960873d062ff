"""Files that list backends -> what each row is to say. Two shapes, both YAML or JSON:

- our own, as `manage.py backend list --json` prints it: a list, or a list under `backends`, of entries with `protocol`;
- the config.yaml of Ollama Proxy, unchanged: `backends` with entries that have `type`.

Pure but for the variables that keys are read from. Every fault names the path of its key and the value; a path that
could hold a secret is cut before it, and no message repeats a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml
from msgspec import Struct, field

from inference.errors import BadRequest
from registry.backends import SET, secret_of

LARGEST: Final = 2**20
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)")
_CLASSES: Final = {
    **{name: name for name in ("npu", "igpu", "dgpu", "cpu")},
    **dict.fromkeys(("nvidia", "amd", "gpu", "cuda", "rocm", "cloud"), "dgpu"),
}
OFFICIAL: Final = {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com"}
_SECRETS: Final = ("api_keys", "api_key", "key", "keys", "token", "tokens", "password", "secret")
_ELSEWHERE: Final = {
    "server.http_port": "NPU_PROXY_PORT",
    "server.grpc_port": "NPU_PROXY_GRPC_PORT",
    "server.host": "NPU_PROXY_HOST",
    "server.auth": "`manage.py apikey create`",
    "server.rate_limit": "`manage.py apikey create --requests-per-minute`",
    "router": "`manage.py mode`",
    "routing": "`manage.py mode`, NPU_PROXY_DEVICE and NPU_PROXY_ROUTING",
    "thermal": "`manage.py mode`: each mode has its own limits",
    "efficiency": "`manage.py mode`",
    "monitoring": "/metrics, NPU_PROXY_LOG_LEVEL",
}
"""Where this program sets what such a key is about."""


class Entry(Struct):
    """One backend. `values` by the row's fields; what the file does not say is not there."""

    path: str
    values: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """Field of the row -> path of the key that says it."""
    key: str | None = None


class Found(Struct):
    """What a file says. `notes`: (path, words)."""

    entries: list[Entry] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Without anchors, which can make a small file a large one, and with no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "a text that begins with * needs quotes", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, "a key stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read(content: bytes) -> Found:
    """Raises BadRequest where nothing can be read at all; else the faults are in what is found."""
    tree = _tree(content)
    found = Found()
    listed = tree if isinstance(tree, list) else tree.get("backends") if isinstance(tree, dict) else None
    if not isinstance(listed, list):
        raise BadRequest("the file lists no backends: give a list, or a list under the key backends", "file")
    if isinstance(tree, dict):
        rest = {name: value for name, value in tree.items() if name != "backends"}
        found.unused += _leaves(rest, "")
    for at, entry in enumerate(listed):
        path = f"backends[{at}]" if isinstance(tree, dict) else f"[{at}]"
        if not isinstance(entry, dict):
            found.faults.append(f"{path}: {_shown(entry)} is no backend; give its keys")
        elif "type" in entry and "protocol" not in entry:
            _Reading(entry, path, found).of_ollama_proxy()
        else:
            _Reading(entry, path, found).ours()
    _check_twice(found)
    return found


def elsewhere(path: str) -> str:
    """Where what an unused key is about is set in this program; '' where nowhere."""
    return next(
        (where for begin, where in _ELSEWHERE.items() if path == begin or path.startswith(begin + ".")), ""
    )


class _Reading:
    """One entry. What is taken from it is no longer in `_left`."""

    def __init__(self, entry: dict[Any, Any], path: str, found: Found) -> None:
        self._left = dict(entry)
        self._found = found
        self._entry = Entry(path)

    def ours(self) -> None:
        names = {
            "name": "name", "protocol": "protocol", "url": "url", "class": "kind", "max_size": "max_size",
            "ca_file": "ca_file", "note": "note",
        }  # fmt: skip
        for key, to in names.items():
            self._take(key, to, _text)
        for key in ("watts", "latency_ms", "tokens_per_s", "first_byte_s", "silence_s"):
            self._take(key, key, _number)
        for key in ("priority", "slots"):
            self._take(key, key, _whole)
        for key in ("verify_tls", "enabled"):
            self._take(key, key, _flag)
        for key, to in {"models": "supported", "preferred": "preferred", "excluded": "excluded"}.items():
            self._take(key, to, _patterns)
        self._take("aliases", "aliases", _aliases)
        self._take_key("key")
        self._end("name", "protocol", "url")

    def of_ollama_proxy(self) -> None:
        self._take("id", "name", _text)
        self._take("type", "protocol", lambda value: _text(value).lower())
        self._take("name", "note", _text)
        self._take("hardware", "kind", _class_of)
        self._take("enabled", "enabled", _flag)
        self._take("endpoint", "url", _text)
        traits = self._part("characteristics")
        traits._take("power_watts", "watts", _number)
        traits._take("avg_latency_ms", "latency_ms", _number)
        traits._take("max_tokens_per_second", "tokens_per_s", _number)
        traits._take("priority", "priority", _whole)
        rules = self._part("model_capability")
        rules._take("supported_model_patterns", "supported", _patterns)
        rules._take("preferred_models", "preferred", _patterns)
        rules._take("excluded_patterns", "excluded", _patterns)
        if "max_model_size_gb" in rules._left:
            words = "sizes are told in parameters here: `manage.py backend edit NAME --max-size 8b`"
            self._found.notes.append((f"{rules._entry.path}.max_model_size_gb", words))
        self._take_key("api_key")
        self._take_variable("api_key_env")
        official = OFFICIAL.get(self._entry.values.get("protocol", ""))
        if "url" not in self._entry.values and official:
            self._entry.values["url"] = official
            self._found.notes.append((f"{self._entry.path}.endpoint", f"is not there: {official} is meant"))
        for part in (traits, rules):
            self._entry.values |= part._entry.values
            self._entry.keys |= part._entry.keys
            part._leave()
        self._end("id", "type", "endpoint")

    def _leave(self) -> None:
        for name, value in self._left.items():
            self._found.unused += _leaves(value, f"{self._entry.path}.{name}")

    def _part(self, name: str) -> _Reading:
        path, value = f"{self._entry.path}.{name}", self._left.pop(name, None)
        if value is not None and not isinstance(value, dict):
            self._found.faults.append(f"{path}: {_shown(value)} is no mapping")
        return _Reading(value if isinstance(value, dict) else {}, path, self._found)

    def _take(self, key: str, to: str, read: Callable[[Any], Any]) -> None:
        if key not in self._left:
            return
        value = self._left.pop(key)
        self._entry.keys[to] = f"{self._entry.path}.{key}"
        try:
            self._entry.values[to] = read(value)
        except ValueError as error:
            self._found.faults.append(f"{self._entry.path}.{key}: {error}")

    def _take_key(self, name: str) -> None:
        """Plain, or `${VARIABLE}`. What `list --json` shows of one stands for a key that stays as it is."""
        value = self._left.pop(name, None)
        path = f"{self._entry.path}.{name}"
        if value is None or value == "":
            return
        if not isinstance(value, str):
            self._found.faults.append(f"{path}: is no text")
        elif value == SET:
            self._found.notes.append((path, "is not in the file; one that is set here stays"))
        elif reference := _REFERENCE.fullmatch(value.strip()):
            self._from_variable(path, reference[1] or reference[2])
        else:
            self._entry.key = value

    def _take_variable(self, name: str) -> None:
        value = self._left.pop(name, None)
        path = f"{self._entry.path}.{name}"
        if value is None or value == "":
            return
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            self._found.faults.append(f"{path}: is no name of a variable")
        else:
            self._from_variable(path, value)

    def _from_variable(self, path: str, variable: str) -> None:
        try:
            self._entry.key = secret_of(variable)
        except BadRequest as error:
            if self._entry.values.get("enabled", True):
                self._found.faults.append(f"{path}: {error}")
            else:
                self._found.notes.append((path, f"{error} with `manage.py backend edit NAME --key-env`"))

    def _end(self, *needed: str) -> None:
        fields = dict(zip(needed, ("name", "protocol", "url"), strict=True))
        said = {fault.partition(":")[0] for fault in self._found.faults}
        for key, to in fields.items():
            path = self._entry.keys.setdefault(to, f"{self._entry.path}.{key}")
            if to not in self._entry.values and path not in said:
                self._found.faults.append(f"{path}: is missing")
        self._leave()
        self._found.entries.append(self._entry)


def _tree(content: bytes) -> Any:
    if len(content) > LARGEST:
        raise BadRequest(
            f"the file has {len(content):,} bytes; a list of backends has less than {LARGEST:,}", "file"
        )
    try:
        return yaml.load(content.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError:
        raise BadRequest("the file is not UTF-8 text", "file") from None
    except RecursionError:
        raise BadRequest("the file is nested too deeply", "file") from None
    except yaml.MarkedYAMLError as error:  # its words without the line itself, which may hold a key
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise BadRequest(f"the file is neither YAML nor JSON: {where}: {error.problem}", "file") from None
    except (yaml.YAMLError, ValueError):
        raise BadRequest("the file is neither YAML nor JSON", "file") from None


def _leaves(tree: Any, path: str) -> Iterator[str]:
    """The paths of what holds no further keys. Keys below what may be secret are not named."""
    if not isinstance(tree, dict) or not tree or path.rpartition(".")[2].lower() in _SECRETS:
        if path:
            yield path
        return
    for name, value in tree.items():
        yield from _leaves(value, f"{path}.{name}" if path else str(name))


def _check_twice(found: Found) -> None:
    seen: dict[str, str] = {}
    for entry in found.entries:
        name = str(entry.values.get("name", "")).lower()
        if name and name in seen:
            found.faults.append(f"{entry.path}: {name!r} stands in {seen[name]} already")
        seen.setdefault(name, entry.path)


def _shown(value: object) -> str:
    return repr(value)[:80]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value).strip()
    raise ValueError(f"{_shown(value)} is no text")


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{_shown(value)} is no number")
    return float(value)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"{_shown(value)} is no whole number")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return value


def _patterns(value: Any) -> str:
    if value is None:
        return ""
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"{_shown(value)} is no list of patterns such as '*:7b'; write each in quotes")
    return "\n".join(entries)


def _aliases(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, dict) or not all(
        isinstance(part, str) for pair in value.items() for part in pair
    ):
        raise ValueError(f"{_shown(value)} is no mapping of our names to theirs")
    return "\n".join(f"{ours}={theirs}" for ours, theirs in value.items())


def _class_of(value: Any) -> str:
    name = _text(value).lower()
    if name not in _CLASSES:
        raise ValueError(f"{_shown(value)} is no class; give {', '.join(_CLASSES)}")
    return _CLASSES[name]
