"""What a browser may do with a page of ours: run our files, and nothing that came in as text."""

from __future__ import annotations

from typing import Final, TypeVar

from django.http.response import HttpResponseBase

Response = TypeVar("Response", bound=HttpResponseBase)

_OURS: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
)
ADMIN_POLICY: Final = "; ".join(_OURS)
"""Of Django's admin, whose scripts write markup."""
POLICY: Final = "; ".join((*_OURS, "require-trusted-types-for 'script'", "trusted-types 'none'"))
"""No inline script or style, nothing from elsewhere, and no text that becomes markup."""


def guarded(response: Response) -> Response:
    """With the policy, and kept by nobody."""
    response["Content-Security-Policy"] = POLICY
    response["Cache-Control"] = "no-store"
    return response
