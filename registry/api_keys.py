"""API keys: made, listed, revoked; what an operator may write in one. All by rows, for commands and admin alike."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from inference.errors import BadRequest
from registry.key import PREFIX, SECRET_BYTES, hashed
from registry.models import ApiKey, Backend

SHOWN = len(PREFIX) + 6

_DEVICE = re.compile(r"NPU|CPU|GPU(\.\d{1,2})?|NPU\.\d{1,2}")
_AGE = re.compile(r"([1-9]\d{0,4})([mhdwy])")
_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10080, "y": 525600}


def issue(row: ApiKey) -> str:
    """Save a new key. Returns its secret, which exists nowhere else. Raises BadRequest for a name that is taken."""
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    row.sha256, row.shown = hashed(secret.encode()), secret[:SHOWN]
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise BadRequest(f"there is a key '{row.name}' already; choose another name", "name") from None
    return secret


def revoke(name: str) -> ApiKey:
    """By its name or by the letters it begins with; a revoked one stays revoked. Raises BadRequest."""
    found = list(ApiKey.objects.filter(Q(name=name) | Q(shown=name[:SHOWN], shown__startswith=PREFIX))[:2])
    if len(found) != 1:
        raise BadRequest(f"there is no key '{name[:SHOWN]}'; `manage.py apikey list` shows them", "name")
    ApiKey.objects.filter(pk=found[0].pk, revoked_at=None).update(revoked_at=timezone.now())
    found[0].refresh_from_db()
    return found[0]


def state(row: ApiKey) -> str:
    """`active`, `expired` or `revoked`."""
    if row.revoked_at:
        return "revoked"
    return "expired" if row.expires_at and row.expires_at <= timezone.now() else "active"


def models_text(value: str) -> str:
    """Names between commas, as the row keeps them. Raises ValueError: nothing at all would allow everything."""
    names = [entry for part in value.split(",") if (entry := part.strip())]
    if not names:
        raise ValueError(f"{value!r} names no model; leave it out for a key that allows all")
    return ", ".join(names)


def devices_text(value: str) -> str:
    """As the row keeps them: devices in upper case, names of other servers in lower case. Raises ValueError that says
    what is expected; asks the database where a name is no device's."""
    wanted = [entry for part in value.split(",") if (entry := part.strip())]
    if not wanted:
        raise ValueError(f"{value!r} names no device; leave it out for a key that allows all")
    named = [entry.upper() if _DEVICE.fullmatch(entry.upper()) else entry.lower() for entry in wanted]
    servers = {entry for entry in named if entry.islower()}
    known = list(Backend.objects.values_list("name", flat=True)) if servers else []
    for entry, written in zip(named, wanted, strict=True):
        if entry in servers and entry not in known:
            others = f", or another server: {', '.join(known)}" if known else ""
            raise ValueError(f"{written!r} is not a device; give NPU, GPU, GPU.1, CPU between commas{others}")
    return ", ".join(named)


def expiry(value: str) -> datetime:
    """`90m`, `12h`, `30d`, `2w`, `1y` from now, or a date. Raises ValueError that says what is expected."""
    age = _AGE.fullmatch(value.strip().lower())
    try:
        if age:
            return timezone.now() + timedelta(minutes=int(age[1]) * _MINUTES[age[2]])
        moment = datetime.fromisoformat(value.strip())
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no time; give 12h, 30d, 1y or a date such as 2030-12-31") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= timezone.now():
        raise ValueError(f"{value!r} is in the past; give 12h, 30d, 1y or a later date")
    return moment
