"""Secrets as they lie in a row: sealed with a key derived from SECRET_KEY, so that a copy of the database alone opens
nothing. Each purpose has a key of its own.
"""

from __future__ import annotations

import base64
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

DOWNLOAD: Final = "token of a download"
BACKEND: Final = "key of a backend"
_AGAIN = {
    DOWNLOAD: "pull again",
    BACKEND: "give it again with `manage.py backend edit NAME --key-stdin`",
}
"""By purpose: what mends a broken seal."""


class SealBroken(Exception):
    """The text was sealed under another SECRET_KEY, or changed. Holds nothing of it."""


def seal(secret: str, purpose: str = DOWNLOAD) -> str:
    """'' stays ''."""
    return _fernet(purpose).encrypt(secret.encode()).decode("ascii") if secret else ""


def unseal(sealed: str, purpose: str = DOWNLOAD) -> str:
    """'' stays ''. Raises SealBroken."""
    try:
        return _fernet(purpose).decrypt(sealed.encode()).decode() if sealed else ""
    except InvalidToken:
        raise SealBroken(
            f"the {purpose} was sealed by a server with another secret_key and cannot be read here; {_AGAIN[purpose]}, "
            "and give servers that share a database the same file secret_key in their data folders"
        ) from None


def _fernet(purpose: str) -> Fernet:
    key = HKDF(SHA256(), 32, salt=None, info=f"npuproxy {purpose}".encode()).derive(
        settings.SECRET_KEY.encode()
    )
    return Fernet(base64.urlsafe_b64encode(key))
