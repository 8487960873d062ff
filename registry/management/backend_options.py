"""Options of `manage.py backend add` and `edit`: a flag for each field of the row, and where a key comes from."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from inference.errors import BadRequest
from registry import backends
from registry.models import Backend

FLAGS = {
    "protocol": "--protocol", "url": "--url", "kind": "--class", "watts": "--watts", "latency_ms": "--latency-ms",
    "tokens_per_s": "--tokens-per-s", "priority": "--priority", "supported": "--models", "preferred": "--preferred",
    "excluded": "--excluded", "aliases": "--alias", "max_size": "--max-size", "verify_tls": "--no-verify-tls",
    "ca_file": "--ca-file", "slots": "--slots", "first_byte_s": "--first-byte-s", "silence_s": "--silence-s",
    "note": "--note", "name": "name",
}  # fmt: skip
"""Field of the row -> what a fault of it is called."""


def add_fields(parser: argparse.ArgumentParser, *, new: bool) -> None:
    protocols, kinds = Backend.Protocols.values, Backend.Kinds.values
    parser.add_argument("name", help="letters, digits, dot, dash, underscore; not a device's")
    parser.add_argument("--protocol", choices=protocols, required=new, help="the API that it speaks")
    parser.add_argument("--url", required=new, help="http://host:port; /v1 at its end may be left out")
    parser.add_argument("--class", dest="kind", choices=kinds, help="what it computes with; dgpu")
    for name, words in (
        ("watts", "while it answers"),
        ("latency-ms", "of an answer"),
        ("tokens-per-s", "as it decodes"),
        ("first-byte-s", "longest wait for an answer's head, 120"),
        ("silence-s", "longest silence inside an answer, 60"),
    ):
        parser.add_argument(f"--{name}", type=float, metavar="N", help=words)
    parser.add_argument("--priority", type=int, metavar="N", help="0-100")
    parser.add_argument("--slots", type=int, metavar="N", help="requests at once; 0: no bound")
    for name, words in (
        ("models", "patterns between commas; what it lists beyond them is left alone"),
        ("preferred", "patterns of models that it is best at"),
        ("excluded", "patterns of models that never go there"),
    ):
        field = "supported" if name == "models" else name
        parser.add_argument(f"--{name}", dest=field, metavar="PATTERNS", help=words)
    parser.add_argument(
        "--alias",
        dest="aliases",
        action="append",
        metavar="OURS=THEIRS",
        help="a model's other name; may be repeated",
    )
    parser.add_argument("--max-size", metavar="SIZE", help="largest model, in parameters: 70b")
    parser.add_argument(
        "--verify-tls", action=argparse.BooleanOptionalAction, default=None, help="check its certificate; yes"
    )
    parser.add_argument("--ca-file", metavar="FILE", help="PEM file of an authority of your own")
    parser.add_argument("--note", help="for people")
    parser.add_argument(
        "--enable", dest="enabled", action=argparse.BooleanOptionalAction, default=None, help="ask it; yes"
    )
    _add_key(parser, new)


def _add_key(parser: argparse.ArgumentParser, new: bool) -> None:
    """Never as an argument: every user of the machine sees those."""
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--key-stdin", action="store_true", help="its key is the line on standard input")
    keys.add_argument("--key-env", metavar="VAR", help="its key is in this variable now")
    if not new:
        keys.add_argument("--no-key", action="store_true", help="take its key away")


def fill(row: Backend, options: dict[str, Any]) -> None:
    """What was said on the command line goes into the row, which is then whole. Raises CommandError by flag."""
    for field in FLAGS:
        value = options.get(field)
        if value is not None and field != "name":
            setattr(row, field, "\n".join(value) if field == "aliases" else value)
    if options.get("enabled") is not None:
        row.enabled = options["enabled"]
    try:
        if options.get("no_key"):
            row.set_key("")
        elif (key := _key(options)) is not None:
            row.set_key(key)
        row.full_clean()
    except ValidationError as error:
        faults = [
            f"{FLAGS.get(field, field)}: {' '.join(words)}" for field, words in error.message_dict.items()
        ]
        raise CommandError("; ".join(faults)) from None
    except (ValueError, BadRequest) as error:
        raise CommandError(str(error)) from None


def _key(options: dict[str, Any]) -> str | None:
    if options.get("key_stdin"):
        if sys.stdin.isatty():
            sys.stderr.write("The key, then Enter: ")
            sys.stderr.flush()
        key = sys.stdin.readline().strip()
        if not key:
            raise BadRequest("standard input has no key; give it as its first line", "key")
        return key
    if options.get("key_env"):
        return backends.secret_of(options["key_env"])
    return None
