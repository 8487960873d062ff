"""Reading the environment: each call reads one variable, checks it and enters it in TABLE.

`docs/configuration.md` is written from TABLE, so a variable cannot be read without being described, nor
described without being read. Nonsense raises ConfigurationError, which names the variable (or the flag that
set it).
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS_BYTES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_DEVICE = re.compile(r"NPU|CPU|GPU(\.\d+)?")


class ConfigurationError(Exception):
    """A variable or flag has a value that means nothing; the message is one line and names it."""


@dataclass(frozen=True)
class Variable:
    """One row of docs/configuration.md."""

    name: str
    default: str
    meaning: str
    aliases: tuple[str, ...]
    group: str


TABLE: list[Variable] = []
OVERRIDES: dict[str, tuple[str, str]] = {}
"""Variable -> (flag, value): what the command line says goes before the environment."""

_groups: list[str] = [""]


def group(title: str) -> None:
    """The variables read from here on stand under this heading."""
    _groups.append(title)


def _read(
    name: str, parse: Callable[[str], T], default: T, shown: str, meaning: str, aliases: Sequence[str] = ()
) -> T:
    """`parse` raises ValueError saying what it expects. Empty is unset; spaces and quotes around are cut."""
    TABLE.append(Variable(name, shown, meaning, tuple(aliases), _groups[-1]))
    found = OVERRIDES.get(name)
    for source in () if found else (name, *aliases):
        value = os.environ.get(source, "").strip().strip("\"'")
        if value:
            found = source, value
            break
    if not found:
        return default
    try:
        return parse(found[1])
    except ValueError as error:
        raise ConfigurationError(f"{found[0]}: {found[1]!r} is not {error}") from None


def secret(variable: str) -> str:
    """What a variable holds that an operator names for a key, read when it is asked for. Raises KeyError where it is
    not set or empty."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise KeyError(variable)
    return value


def env_text(name: str, default: str, meaning: str, *, shown: str = "", aliases: Sequence[str] = ()) -> str:
    return _read(name, str, default, shown or default, meaning, aliases)


def env_value(name: str, parse: Callable[[str], str], default: str, shown: str, meaning: str) -> str:
    """A text that `parse` checks and turns into what is meant."""
    return _read(name, parse, default, shown, meaning)


def web_address(value: str) -> str:
    """An http(s) address without a slash at its end. Messages show it, so a password has no place in it."""
    parts = urlsplit(value)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username
        or parts.query
        or parts.fragment
    ):
        raise ValueError("an address such as https://hub.example.com")
    return value.rstrip("/")


def env_bool(name: str, default: bool, meaning: str) -> bool:
    return _read(name, _bool, default, str(default).lower(), meaning)


def env_switch(name: str, meaning: str) -> bool | None:
    """True, False, or None where nothing was said."""
    parse: Callable[[str], bool | None] = _bool
    return _read(name, parse, None, "–", meaning)


def _bool(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("true or false")


def env_int(
    name: str, default: int, meaning: str, *, least: int = 0, most: int = 2**31 - 1, shown: str = ""
) -> int:
    def parse(value: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise ValueError("a whole number")
        if not least <= int(value) <= most:
            raise ValueError(f"between {least} and {most}")
        return int(value)

    return _read(name, parse, default, shown or str(default), meaning)


def env_seconds(
    name: str,
    default: float,
    meaning: str,
    *,
    shown: str = "",
    least: float = 0,
    forever: bool = False,
    aliases: Sequence[str] = (),
) -> float:
    """Seconds as a number, or Go's spelling ('90s', '1h30m'). With `forever`, a negative one is math.inf."""

    def parse(value: str) -> float:
        negative, digits = value.startswith("-"), value.lstrip("-")
        try:
            seconds = float(digits)
        except ValueError:
            if _DURATION.sub("", digits):
                raise ValueError("a duration such as 90, 90s or 1h30m") from None
            seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION.findall(digits))
        if negative and forever:
            return math.inf
        if negative or seconds < least or not math.isfinite(seconds):
            raise ValueError(f"a duration of {least:g} or more")
        return seconds

    return _read(name, parse, default, shown or f"{default:g}", meaning, aliases)


def env_bytes(
    name: str, default: int, meaning: str, *, shown: str, total: Callable[[], int] | None = None
) -> int:
    """'8GB', '512 MiB', a bare number of bytes, or a percentage of `total`."""

    def parse(value: str) -> int:
        if (
            total
            and (share := re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", value))
            and 0 < float(share[1]) <= 100
        ):
            return int(total() * float(share[1]) / 100)
        match = _BYTES.fullmatch(value)
        if not match or float(match[1]) == 0:
            raise ValueError("a size such as 8GB or 512MB" + (", or a share such as 60%" if total else ""))
        return int(float(match[1]) * _UNITS_BYTES[match[2].lower()])

    return _read(name, parse, default, shown, meaning)


def env_choice(name: str, choices: Sequence[str], default: str, meaning: str) -> str:
    """One of `choices`, whatever its case; comes back as `choices` spells it."""

    def parse(value: str) -> str:
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise ValueError("one of " + ", ".join(choices))

    return _read(name, parse, default, default, meaning)


def env_device(
    name: str, default: str, meaning: str, *, also: str = "", shown: str = "", aliases: Sequence[str] = ()
) -> str:
    """NPU, CPU, GPU or GPU.<n> in upper case; `also` is one more word that is allowed, as it is spelled
    there.
    """

    def parse(value: str) -> str:
        if also and value.lower() == also.lower():
            return also
        if not _DEVICE.fullmatch(value.upper()):
            raise ValueError("NPU, GPU, GPU.<number>, CPU" + (f" or {also}" if also else ""))
        return value.upper()

    return _read(name, parse, default, shown or default, meaning, aliases)


def env_list(
    name: str, meaning: str, *, shown: str = "–", each: Callable[[str], T] | None = None
) -> tuple[T, ...]:
    """Entries between commas; `each` turns one into its value and raises ValueError as `_read` says."""

    def parse(value: str) -> tuple[T, ...]:
        entries = [entry.strip() for entry in value.split(",") if entry.strip()]
        return tuple((each or str)(entry) for entry in entries)  # type: ignore[misc]

    return _read(name, parse, (), shown, meaning)


def network(value: str) -> Network:
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("a list of networks such as 172.17.0.0/16 or fd00::/8") from None


def device(value: str) -> str:
    if not _DEVICE.fullmatch(value.upper()):
        raise ValueError("a list of devices such as CPU,GPU.0")
    return value.upper()


def env_path(
    name: str, default: Path | None, meaning: str, *, shown: str, aliases: Sequence[str] = ()
) -> Path | None:
    """`~` is expanded; the result is absolute."""

    def parse(value: str) -> Path | None:
        if "\0" in value:
            raise ValueError("a path")
        return Path(value).expanduser().absolute()

    return _read(name, parse, default, shown, meaning, aliases)
