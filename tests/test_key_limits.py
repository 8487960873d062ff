"""The parts of keys that need no server: limits of a minute, what they allow, the ring of rows, the command."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from msgspec import structs

from compat_api import headers, key_bounds
from inference.errors import BadRequest, NotAllowed
from inference.types import Placement
from registry import api_keys
from registry.key import Key
from registry.key_ring import KeyRing
from registry.key_use import KeyUse, Window
from registry.models import ApiKey, ApiKeyUse

# --- Limits ---------------------------------------------------------------------------------------------


def test_no_minute_has_more_than_the_limit_wherever_it_begins() -> None:
    window = Window()
    granted = []
    for tenth in range(3000):
        now = 1000 + tenth / 10
        if not window.wait_s(5, now):
            window.add(1, now)
            granted.append(now)
    assert len(granted) >= 20
    assert all(later - earlier > 60 for earlier, later in zip(granted, granted[5:], strict=False))


@pytest.mark.parametrize("amounts", [[(0.0, 3), (10.5, 3), (59.9, 4)], [(0.0, 10)], [(0.0, 1), (1.0, 99)]])
def test_who_waits_as_long_as_he_is_told_may_go_on(amounts: list[tuple[float, int]]) -> None:
    window = Window()
    for moment, amount in amounts:
        window.add(amount, moment)
    now = amounts[-1][0]
    wait_s = window.wait_s(10, now)
    assert wait_s > 0
    assert window.wait_s(10, now + wait_s) == 0


def test_a_refused_request_counts_for_nothing() -> None:
    use, key = KeyUse(), Key(id=1, name="a", requests_per_minute=1)
    assert use.begin(key, 100.0) == (0, "")
    assert use.begin(key, 100.5) == (61, "1 requests")
    assert use.begin(key, 161.0) == (0, "")


def test_keys_have_limits_of_their_own() -> None:
    use = KeyUse()
    one, other = (Key(id=n, name=str(n), tokens_per_minute=10) for n in (1, 2))
    use.spend(one, 10, 100.0)
    assert use.begin(one, 101.0)[1] == "10 tokens"
    assert use.begin(other, 101.0) == (0, "")


# --- Bounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "asked", "allowed"),
    [
        ((), "anything:1", True),
        (("demo:latest",), "demo:latest", True),
        (("demo:latest",), "Demo:LATEST", True),
        (("demo:latest",), "demo:1", False),
        (("qwen3:*",), "qwen3:4b", True),
        (("qwen*",), "qwen3:4b", True),
        (("qwen3:*",), "qwen33:4b", False),
        (("a:latest", "b:latest"), "b:latest", True),
    ],
)
def test_which_models_a_key_allows(patterns: tuple[str, ...], asked: str, allowed: bool) -> None:
    assert Key(id=1, name="a", models=patterns).allows_model(asked) is allowed


def test_a_wish_is_lowered_to_what_the_key_allows() -> None:
    key = Key(id=1, name="a", priority=1, devices=("CPU",))
    wish = Placement(priority=3, device="GPU")
    assert key_bounds.within(key, wish) == structs.replace(wish, priority=1, allowed=("CPU",))
    assert key_bounds.within(key, Placement(priority=0)).priority == 0
    assert key_bounds.within(None, wish) is wish


@pytest.mark.parametrize(
    ("key", "sent", "wanted"),
    [
        (None, {}, 1),
        (Key(id=1, name="a"), {}, 1),
        (Key(id=1, name="a", default_priority=2), {}, 2),
        (Key(id=1, name="a", default_priority=0), {}, 0),
        (Key(id=1, name="a", default_priority=3, priority=2), {}, 2),
        (Key(id=1, name="a", default_priority=2), {"x-priority": "normal"}, 1),
        (Key(id=1, name="a", default_priority=0), {"x-media-type": "audio"}, 2),
        (Key(id=1, name="a", default_priority=0), {"x-priority": "critical"}, 3),
    ],
)
def test_a_key_says_how_urgent_requests_are_that_do_not(
    key: Key | None, sent: dict[str, str], wanted: int
) -> None:
    given = [(name.encode(), value.encode()) for name, value in sent.items()]
    wished = headers.placement(given, default_priority=key_bounds.default_priority(key))
    assert key_bounds.within(key, wished).priority == wanted
    assert wished.latency_critical is (wanted == 3)


def test_what_changes_models_may_touch_only_those_of_the_key() -> None:
    key = Key(id=1, name="a", models=("demo:latest",))
    key_bounds.check_names(key, "demo", "DEMO:latest", "")
    with pytest.raises(NotAllowed, match="does not allow the model 'other'; it allows demo:latest"):
        key_bounds.check_names(key, "demo", "other")


# --- Rows -----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_ring_follows_the_rows() -> None:
    async def look(ring: KeyRing, secret: str) -> Key | None:
        await asyncio.gather(*(ring.refresh() for _ in range(20)))
        return ring.find(secret.encode())

    ring = KeyRing()
    row = ApiKey(
        name="a",
        scope="manage",
        models_allowed="Demo, qwen*",
        devices_allowed="CPU, GPU",
        requests_per_minute=7,
    )
    secret = api_keys.issue(row)
    key = asyncio.run(look(ring, secret))
    assert key is not None
    assert (key.scope, key.models, key.devices, key.requests_per_minute, key.tokens_per_minute) == (
        *("manage", ("demo:latest", "qwen*"), ("CPU", "GPU"), 7, 0),
    )
    assert key.ended() == ""
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expired = asyncio.run(look(ring, secret))
    assert expired
    assert expired.ended() == "expired"
    api_keys.revoke("a")
    revoked = asyncio.run(look(ring, secret))
    assert revoked
    assert revoked.ended() == "revoked"
    row.delete()
    assert asyncio.run(look(ring, secret)) is None
    ring.close()


@pytest.mark.django_db(transaction=True)
def test_use_is_summed_and_a_key_that_went_is_left_out() -> None:
    rows = [ApiKey(name=name) for name in ("stays", "goes")]
    for row in rows:
        api_keys.issue(row)
    use = KeyUse()

    async def work() -> None:
        for turn in range(2):
            for row in rows:
                key = Key(id=row.pk, name=row.name)
                use.begin(key, 1_000_000.0 + turn)
                use.spend(key, 5, 1_000_001.0 + turn)
            await use.write()
            if not turn:
                await asyncio.to_thread(ApiKey.objects.filter(name="goes").delete)
        await use.close()

    asyncio.run(work())
    found = ApiKeyUse.objects.get()
    assert (found.key.name, found.requests, found.tokens, found.used_at.timestamp()) == (
        "stays",
        2,
        10,
        1_000_002.0,
    )


# --- The command ----------------------------------------------------------------------------------------


def run(*arguments: str) -> Any:
    out = StringIO()
    call_command("apikey", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.django_db(transaction=True)
def test_a_key_is_made_listed_and_revoked() -> None:
    bounds = ("--devices", "gpu.1, cpu", "--priority", "normal", "--default-priority", "best-effort")
    made = run("create", "anna", "--expires", "30d", *bounds)
    secret = made.pop("key")
    row = ApiKey.objects.get()
    assert secret.startswith(row.shown)
    assert secret not in json.dumps(run("list"))
    assert (row.devices_allowed, row.priority, row.default_priority) == ("GPU.1, CPU", 1, 0)
    assert timedelta(days=29) < row.expires_at - timezone.now() <= timedelta(days=30)  # type: ignore[operator]
    assert run("revoke", secret[:10])["state"] == "revoked"
    first = ApiKey.objects.get().revoked_at
    assert run("revoke", "anna")["state"] == "revoked"
    assert ApiKey.objects.get().revoked_at == first


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["create", "taken"], "there is a key 'taken' already"),
        (["create", " "], "name"),
        (["create", "x", "--expires", "tomorrow"], "12h, 30d, 1y or a date"),
        (["create", "x", "--expires", "2020-01-01"], "is in the past"),
        (["create", "x", "--devices", ""], "'' names no device; leave it out for a key that allows all"),
        (["create", "x", "--models", " , "], "' , ' names no model; leave it out for a key that allows all"),
        (["create", "x", "--expires", "0d"], "'0d' is no time"),
        (["create", "x", "--devices", "TPU"], "'TPU' is not a device"),
        (["create", "x", "--tokens-per-minute", "0"], "tokens_per_minute"),
        (["create", "x", "--scope", "root"], "invalid choice"),
        (["revoke", "nobody"], "there is no key 'nobody'"),
    ],
)
def test_what_makes_no_key_is_named(arguments: list[str], fault: str) -> None:
    api_keys.issue(ApiKey(name="taken"))
    with pytest.raises(CommandError, match=fault):
        call_command("apikey", *arguments)
    assert ApiKey.objects.count() == 1


def test_a_name_that_is_taken_is_refused_by_the_table(db: None) -> None:
    api_keys.issue(ApiKey(name="a"))
    with pytest.raises(BadRequest, match="choose another name"):
        api_keys.issue(ApiKey(name="a"))
