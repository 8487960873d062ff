"""Tokens of requests as they lie in a row: sealed with a key derived from SECRET_KEY, so that a copy of the database
alone opens nothing.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class SealBroken(Exception):
    """The text was sealed under another SECRET_KEY, or changed."""


def seal(secret: str) -> str:
    """'' stays ''."""
    return _fernet().encrypt(secret.encode()).decode("ascii") if secret else ""


def unseal(sealed: str) -> str:
    """'' stays ''. Raises SealBroken."""
    try:
        return _fernet().decrypt(sealed.encode()).decode() if sealed else ""
    except InvalidToken:
        raise SealBroken(
            "the token of this pull was sealed by a server with another secret_key and cannot be read here; pull again "
            "and give servers that share a database the same file secret_key in their data folders"
        ) from None


def _fernet() -> Fernet:
    key = HKDF(SHA256(), 32, salt=None, info=b"npuproxy token of a download").derive(
        settings.SECRET_KEY.encode()
    )
    return Fernet(base64.urlsafe_b64encode(key))
