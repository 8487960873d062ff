"""TLS and mTLS from files in PEM format: read at the start, so that a wrong file is one clear line and no server.

What a certificate is renewed to counts from the next start on.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from npuproxy.env import ConfigurationError
from npuproxy.tls_files import CERT, CLIENT_CA, KEY, Files

logger = logging.getLogger(__name__)


@implementer(IOpenSSLServerConnectionCreator)
class Connections:
    """Makes the server's side of each TLS connection."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


def connections(files: Files) -> Connections | None:
    """None for plain HTTP. Raises ConfigurationError, which names the variable and the file."""
    if files.cert is None:
        for name, path in ((KEY, files.key), (CLIENT_CA, files.client_ca)):
            if path is not None:
                raise ConfigurationError(
                    f"{name}: is set without {CERT}; give both, or neither for plain HTTP"
                )
        return None
    chain = _certificates(CERT, files.cert)
    _check_key(files, chain[0])
    _warn_of_dates(files.cert, chain[0])
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"npuproxy")
    try:
        context.use_certificate_chain_file(str(files.cert))
        context.use_privatekey_file(str(files.key or files.cert))
        context.check_privatekey()
    except SSL.Error as error:
        raise ConfigurationError(f"{CERT}: {files.cert} cannot be used ({_words(error)})") from None
    if files.client_ca is not None:
        _ask_for_certificates(context, files.client_ca)
    return Connections(context)


def _ask_for_certificates(context: SSL.Context, path: Path) -> None:
    store = context.get_cert_store()
    assert store is not None
    for authority in _certificates(CLIENT_CA, path):
        known = crypto.X509.from_cryptography(authority)
        store.add_cert(known)
        context.add_client_ca(known)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *found: bool(found[4]))


def _certificates(name: str, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_bytes(name, path))
    except ValueError:
        raise ConfigurationError(f"{name}: {path} holds no certificate in PEM format") from None


def _check_key(files: Files, certificate: x509.Certificate) -> None:
    """Here, and not by OpenSSL, which would ask for a passphrase on the terminal."""
    path, name = (files.key, KEY) if files.key else (files.cert, CERT)
    assert path is not None
    try:
        key = serialization.load_pem_private_key(_bytes(name, path), None)
    except TypeError:
        raise ConfigurationError(f"{name}: the key in {path} has a passphrase; give one without") from None
    except (ValueError, UnsupportedAlgorithm):
        way_out = "" if files.key else f"; {KEY} names the file that has it"
        raise ConfigurationError(f"{name}: {path} holds no private key in PEM format{way_out}") from None
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise ConfigurationError(f"{name}: the key in {path} is not that of the certificate in {files.cert}")


def _warn_of_dates(path: Path, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        logger.warning("%s: %s has expired on %s", CERT, path, certificate.not_valid_after_utc.date())
    elif certificate.not_valid_before_utc > now:
        logger.warning("%s: %s is not valid before %s", CERT, path, certificate.not_valid_before_utc.date())


def _public(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, form)
    return encoded


def _bytes(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}: {path} cannot be read ({error.strerror})") from None


def _words(error: SSL.Error) -> str:
    return str(error.args[0][0][-1]) if error.args and error.args[0] else "refused by OpenSSL"
