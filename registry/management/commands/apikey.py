"""`manage.py apikey create NAME | list | revoke NAME`: who may ask this server from elsewhere.

Needs no running server; one that runs knows of a change within a second. Everything prints JSON with `--json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from registry import api_keys
from registry.management.verb_command import VerbCommand
from registry.models import ApiKey, ApiKeyUse

HEAD = (
    "NAME",
    "BEGINS WITH",
    "SCOPE",
    "STATE",
    "EXPIRES",
    "MODELS",
    "DEVICES",
    "REQUESTS",
    "TOKENS",
    "LAST USED",
)
PRIORITIES = {label: value for value, label in ApiKey.Priority.choices}


class Command(VerbCommand):
    help = "Make, list and revoke API keys."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", metavar="create | list | revoke", required=True)
        create = verbs.add_parser("create", help="make a key; it is shown now and never again")
        _add_bounds(create)
        listing = verbs.add_parser("list", help="every key, what it may do and when it was used")
        revoke = verbs.add_parser("revoke", help="end a key for ever")
        revoke.add_argument("name", help="or the letters that the key begins with")
        self.add_verb(create, self.create)
        self.add_verb(listing, self.list_keys)
        self.add_verb(revoke, self.revoke)

    def create(
        self,
        *,
        name: str,
        as_json: bool,
        priority: str,
        models: str | None,
        devices: str | None,
        local_only: bool,
        **options: Any,
    ) -> None:
        try:
            allowed = api_keys.devices_text(devices) if devices is not None else ""
        except ValueError as error:
            raise CommandError(f"--devices: {error}") from None
        row = ApiKey(
            name=name.strip(),
            scope=options["scope"],
            models_allowed=models or "",
            devices_allowed=allowed,
            remote_allowed=not local_only,
            priority=PRIORITIES[priority],
            default_priority=PRIORITIES[options["default_priority"]],
            requests_per_minute=options["requests_per_minute"],
            tokens_per_minute=options["tokens_per_minute"],
            expires_at=options["expires"],
        )
        try:
            row.clean_fields(exclude=("sha256", "shown"))
        except ValidationError as error:
            faults = [f"{field}: {' '.join(words)}" for field, words in error.message_dict.items()]
            raise CommandError("; ".join(faults)) from None
        secret = api_keys.issue(row)
        if as_json:
            self.print_json({"key": secret} | _facts(row))
            return
        self.stdout.write(f"{secret}\n")
        self.stderr.write(
            "This is shown only now. Clients send it as `Authorization: Bearer` or `x-api-key`."
        )

    def list_keys(self, *, as_json: bool, **_: Any) -> None:
        facts = [_facts(row) for row in ApiKey.objects.select_related("use")]
        if as_json:
            self.print_json(facts)
        elif not facts:
            self.stdout.write('no keys; "manage.py apikey create NAME" makes one')
        else:
            self.print_table(HEAD, [_line(entry) for entry in facts])

    def revoke(self, *, name: str, as_json: bool, **_: Any) -> None:
        row = api_keys.revoke(name)
        if as_json:
            self.print_json(_facts(row))
        else:
            self.stdout.write(f"'{row.name}' is revoked; a running server refuses it within two seconds")


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="who or what will have it")
    parser.add_argument(
        "--scope", choices=ApiKey.Scope.values, default="infer", help="each includes those before it"
    )
    parser.add_argument(
        "--expires", type=_said(api_keys.expiry), help="12h, 30d, 1y or a date; never if left out"
    )
    parser.add_argument(
        "--models", type=_said(api_keys.models_text), help="names between commas, with *; all"
    )
    parser.add_argument(
        "--devices", help="NPU, GPU, GPU.1, CPU and names of other servers between commas; all"
    )
    parser.add_argument(
        "--local-only", action="store_true", help="its requests never leave this machine for another server"
    )
    parser.add_argument(
        "--priority", choices=PRIORITIES, default="critical", help="the highest it may ask for"
    )
    parser.add_argument(
        "--default-priority",
        choices=PRIORITIES,
        default="normal",
        help="of its requests that ask for none; normal",
    )
    parser.add_argument("--requests-per-minute", type=int, metavar="N", help="then 429 with Retry-After")
    parser.add_argument("--tokens-per-minute", type=int, metavar="N", help="of prompts and answers together")


def _said(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse shows the words of its own error alone."""

    def parsed(value: str) -> Any:
        try:
            return parse(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def _facts(row: ApiKey) -> dict[str, Any]:
    """Everything known of a key; its secret is not."""
    use: ApiKeyUse | None = getattr(row, "use", None)
    return {
        "name": row.name,
        "begins_with": row.shown,
        "scope": row.scope,
        "state": api_keys.state(row),
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        "models": row.models_allowed,
        "devices": row.devices_allowed,
        "local_only": not row.remote_allowed,
        "priority": row.get_priority_display(),
        "default_priority": row.get_default_priority_display(),
        "requests_per_minute": row.requests_per_minute,
        "tokens_per_minute": row.tokens_per_minute,
        "requests": use.requests if use else 0,
        "tokens": use.tokens if use else 0,
        "last_used_at": use.used_at.isoformat() if use else None,
    }


def _line(facts: dict[str, Any]) -> tuple[str, ...]:
    def day(name: str) -> str:
        return str(facts[name])[:16].replace("T", " ") if facts[name] else "never"

    return (
        *(facts["name"], facts["begins_with"], facts["scope"], facts["state"], day("expires_at")),
        *(facts["models"] or "all", _devices(facts)),
        *(f"{facts['requests']:,}", f"{facts['tokens']:,}", day("last_used_at")),
    )


def _devices(facts: dict[str, Any]) -> str:
    return (facts["devices"] or "all") + (" (this machine)" if facts["local_only"] else "")
