"""Who may see a page: this machine and trusted networks as they are, everyone else when they have signed in.

Whoever tries passwords is slowed down: after FREE_TRIES failures from one address the form answers 429 for a while.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, Final

from django.contrib.auth import logout
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST
from msgspec import Struct

from npuproxy.page.keys import PAGE_KEYS
from npuproxy.page.policy import guarded

FREE_TRIES: Final = 5
WAIT_S: Final = 60.0
"""After each failure beyond them."""
_MOST_ADDRESSES: Final = 4096


class Visitor(Struct, frozen=True):
    """Who looks at a page. `key` is '' where none is needed."""

    name: str
    may_manage: bool
    key: str = ""


def visitor(request: HttpRequest) -> Visitor | None:
    """None for somebody who must sign in first."""
    scope: dict[str, Any] = getattr(request, "scope", {})
    held = scope.get("npuproxy.key")
    if held is not None:
        return Visitor(held.name, held.includes("manage"))
    if scope.get("npuproxy.trusted"):
        return Visitor("", True)
    user = request.user
    if not (user.is_authenticated and user.is_active and request.session.session_key):
        return None
    secret, key = PAGE_KEYS.issue(request.session.session_key, user)
    return Visitor(key.name, key.includes("manage"), secret)


def to_sign_in(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(f"/login?{urlencode({'next': request.path})}")


class Failures:
    """By address; bounded, the oldest forgotten first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """Seconds until a try is taken from there; 0 for at once."""
        count, last = self._seen.get(address, (0, 0.0))
        return max(0.0, last + WAIT_S - now) if count >= FREE_TRIES else 0.0

    def note(self, address: str, now: float) -> None:
        count, _ = self._seen.pop(address, (0, 0.0))
        self._seen[address] = (count + 1, now)
        while len(self._seen) > _MOST_ADDRESSES:
            self._seen.popitem(last=False)

    def forget(self, address: str) -> None:
        self._seen.pop(address, None)


FAILURES = Failures()


class SignIn(LoginView):
    """The form, with the pages' own policy."""

    template_name = "login.html"
    next_page = "/"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return guarded(super().dispatch(request, *args, **kwargs))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        wait_s = FAILURES.wait_s(_address(request), time.monotonic())
        if not wait_s:
            return super().post(request, *args, **kwargs)
        response = HttpResponse(
            f"too many wrong passwords from your address; try again in {wait_s:.0f} s\n",
            status=429, content_type="text/plain; charset=utf-8",
        )  # fmt: skip
        response["Retry-After"] = f"{wait_s:.0f}"
        return response

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        FAILURES.forget(_address(self.request))
        return super().form_valid(form)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        FAILURES.note(_address(self.request), time.monotonic())
        return super().form_invalid(form)


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    if request.session.session_key:
        PAGE_KEYS.end(request.session.session_key)
    logout(request)
    return HttpResponseRedirect("/login")


def new_key(request: HttpRequest) -> HttpResponse:
    """For a page that has been open for long: the next key of its session."""
    seen = visitor(request)
    if seen is None:
        return JsonResponse({"error": "sign in again"}, status=401)
    response = JsonResponse({"key": seen.key})
    response["Cache-Control"] = "no-store"
    return response
