"""Every route against every kind of caller: a route that has no policy fails here."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from keys import SECRETS, ring_of_scopes

from compat_api.urls import OPERATIONS, Operation, Resolved
from npuproxy import callers
from npuproxy.gate import Answer, Gate, Rules
from npuproxy.origins import Hosts, Origins
from npuproxy.peers import Peers
from registry.key import RANKS

LOOPBACK, ELSEWHERE = "127.0.0.1", "192.0.2.1"
CALLERS = ("", "infer", "manage", "admin")

EXPECTED = {
    # what a route needs: (from loopback, from elsewhere), each without a key, and with infer, manage, admin
    "open": ((200, 200, 200, 200), (200, 200, 200, 200)),
    "infer": ((200, 200, 200, 200), (401, 200, 200, 200)),
    "manage": ((200, 403, 200, 200), (401, 403, 200, 200)),
    "admin": ((403, 403, 403, 200), (401, 403, 403, 200)),
    "asks itself": ((200, 200, 200, 200), (200, 200, 200, 200)),
    "signed in": ((200, 403, 403, 200), (401, 403, 403, 200)),
}


async def nobody(*_: object) -> None:
    raise AssertionError("the gate passed a request on that it was only to judge")


def answered(method: str, path: str, peer: str, scope: str) -> int:
    """The gate's status for a caller with a key of that scope, '' for none; 200 stands for a request that goes on."""
    gate = Gate(Rules(Hosts(()), Origins(()), Peers((), ()), True, "1.2.3", ring_of_scopes()), nobody, nobody)
    headers = [(b"host", b"localhost")]
    if scope:
        headers.append((b"authorization", f"Bearer {SECRETS[scope]}".encode()))
    verdict = gate.judge(method, path, headers, [peer, 5])
    return verdict.status if isinstance(verdict, Answer) else 200


def check(method: str, path: str, policy: str) -> None:
    for peer, expected in zip((LOOPBACK, ELSEWHERE), EXPECTED[policy], strict=True):
        found = tuple(answered(method, path, peer, scope) for scope in CALLERS)
        assert found == expected, f"{method} {path} from {peer}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_for_those_whom_its_scope_says(operation: Operation) -> None:
    assert operation.scope in RANKS
    for method in operation.methods:
        check(method, operation.path.replace("{id}", "demo"), operation.scope)


def pages(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[str]:
    """A path for each pattern that Django has and the table of operations has not."""
    for pattern in patterns:
        shown = re.sub(r"<[^>]*>|\(\?P<\w+>[^)]*\)|\(\?P", "1", str(pattern.pattern))
        path = prefix + re.sub(r"[\^$?()\\]|\[[^]]*\]", "", shown)
        if isinstance(pattern, URLResolver):
            yield from pages(pattern.url_patterns, path)
        elif pattern.name not in {operation.name for operation in OPERATIONS if not operation.streaming}:
            yield path


def all_pages() -> list[str]:
    return sorted(set(pages(get_resolver().url_patterns)))


def test_the_walk_sees_the_pages_that_are_known() -> None:
    assert {
        "/status",
        "/playground",
        "/admin/",
        "/admin/login/",
        "/admin/registry/apikey/add/",
    } <= set(all_pages())


@pytest.mark.parametrize("path", all_pages())
def test_every_page_is_for_those_whom_its_entry_says(path: str) -> None:
    page = callers.page_of(path)
    assert page is not None, f"{path} has no policy; callers.PAGES has them"
    policy = "asks itself" if page in callers.ASKS_ITSELF else callers.PAGES[page]
    check("GET", path, "signed in" if page in callers.SIGNED_IN else policy)


def test_open_to_everyone_is_what_the_design_names_and_nothing_else() -> None:
    everyone = {operation.path for operation in OPERATIONS if operation.scope == "open"}
    assert everyone | {page for page, scope in callers.PAGES.items() if scope == "open"} == {
        "/",
        "/api/version",
        "/openapi.json",
        "/healthz",
        "/health/liveness",
        "/login",
        "/logout",
        "/static",
    }


def test_an_operation_of_administration_is_not_for_this_machine_without_a_key() -> None:
    """None has that scope yet; the first that gets it must not be open here."""
    resolved = Resolved(Operation("keys", "ollama", "admin", ("GET",), "/api/keys"))
    for trusted, status in ((True, 403), (False, 401)):
        verdict = callers.judge(resolved, "/api/keys", trusted, [], ring_of_scopes().find)
        assert isinstance(verdict, callers.Refused)
        assert verdict.status == status


def test_a_route_without_a_policy_is_refused_to_everyone() -> None:
    for trusted in (True, False):
        key = (b"x-api-key", SECRETS["admin"].encode())
        verdict = callers.judge(Resolved(), "/nowhere", trusted, [key], ring_of_scopes().find)
        assert isinstance(verdict, callers.Refused)
