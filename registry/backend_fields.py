"""What may be written about another server, field by field. Pure: each raises ValueError in words that name the value
and the way out."""

from __future__ import annotations

import re
import ssl
from urllib.parse import urlsplit

from inference.errors import ModelNotFound
from registry import names

NAME_LENGTH = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_DEVICES = ("npu", "gpu", "cpu", "auto")
_API_PATHS = {"openai": ("/v1",), "anthropic": ("/v1",), "ollama": ("/api", "/v1")}
"""What people copy along with an address, and the API's own paths begin with. Not `/api` for OpenAI's: servers have
it before `/v1`."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmbt])?", re.IGNORECASE)
_COUNTS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def name(text: str) -> str:
    """As the row keeps it: lower case."""
    found = text.strip().lower()
    if len(found) > NAME_LENGTH or not _NAME.fullmatch(found):
        raise ValueError(
            f"{text!r} is no name for a backend; use letters, digits, dot, dash and underscore, at most {NAME_LENGTH}"
        )
    if found.partition(".")[0] in _DEVICES:
        raise ValueError(f"{text!r} means a device of this machine; choose another name, say 'box-{found}'")
    return found


def url(text: str, protocol: str) -> str:
    """Without a slash at its end and without the path of the API itself."""
    written = text.strip()
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no address ({error}); write http://host:port") from None
    if parts.username is not None or parts.password is not None:
        host = parts.netloc.rpartition("@")[2]
        raise ValueError(f"the address of {host!r} holds a password; leave it out and give it as the key")
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"{text!r} is no address of a server; write http://host:port or https://host")
    if parts.query or parts.fragment:
        raise ValueError(f"{text!r} has more than an address; leave out what follows the path")
    if re.search(r"[\s\\<>\"{}|^`]", written) or not written.isprintable():
        raise ValueError(f"{text!r} holds characters that no address has")
    path = parts.path.rstrip("/")
    for ending in _API_PATHS.get(protocol, ()):
        if path.lower().endswith(ending):
            path = path[: -len(ending)].rstrip("/")
            break
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{path}"


def patterns(text: str) -> tuple[str, ...]:
    """One a line, or between commas, in lower case; as of fnmatch."""
    found = (part.strip().lower() for line in text.splitlines() for part in line.split(","))
    return tuple(dict.fromkeys(part for part in found if part))


def aliases(text: str) -> dict[str, str]:
    """`ours=theirs`, one a line -> ours in lower case with its tag: theirs as it is written."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        ours, equals, theirs = (part.strip() for part in line.partition("="))
        if not (ours and equals and theirs):
            raise ValueError(f"{line!r} is no alias; write ours=theirs, one a line")
        try:
            key = names.parse(ours).key
        except ModelNotFound as error:
            raise ValueError(f"{ours!r}: {error}") from None
        except Exception as error:
            raise ValueError(f"{ours!r} in {line!r}: {error}") from error
        if key in found:
            raise ValueError(f"{ours!r} stands twice")
        found[key] = theirs
    return found


def parameters(text: str) -> int:
    """`70b`, `1.5B`, `500m` -> parameters; '' -> 0."""
    if not text.strip():
        return 0
    found = _SIZE.fullmatch(text.strip())
    count = round(float(found[1]) * _COUNTS.get((found[2] or "").lower(), 1)) if found else 0
    if count < 1000:
        raise ValueError(f"{text!r} is no size of a model; write its parameters as 70b, 1.5b or 500m")
    return count


def key(text: str) -> str:
    """What a header can carry, without the line's end. The words never hold the value."""
    found = text.strip()
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", found):
        raise ValueError("the key holds characters that no header carries, or is empty or longer than 4,096")
    return found


def ca_file(text: str) -> str:
    """A file of certificates in PEM format that can be read here; '' for none."""
    path = text.strip()
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            words = getattr(error, "strerror", "") or error
            raise ValueError(f"{path!r} is no file of certificates in PEM format ({words})") from None
    return path
