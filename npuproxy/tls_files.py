"""Where the files of TLS are, for the settings and for commands that ask their own server."""

from __future__ import annotations

import ssl
from pathlib import Path

from msgspec import Struct

from npuproxy import env

CERT, KEY, CLIENT_CA = "NPU_PROXY_TLS_CERT", "NPU_PROXY_TLS_KEY", "NPU_PROXY_TLS_CLIENT_CA"


class Files(Struct, frozen=True):
    """As they are configured; without `cert` the server speaks plain HTTP."""

    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


def read_settings() -> Files:
    """Called once, where the rows are to stand in docs/configuration.md."""
    return Files(
        env.env_path(
            CERT, None, "serve HTTPS with this certificate, its chain behind it (PEM)", shown="plain HTTP"
        ),
        env.env_path(
            KEY, None, "its private key, without a passphrase (PEM)", shown="in the certificate's file"
        ),
        env.env_path(
            CLIENT_CA,
            None,
            "refuse clients without a certificate of these authorities (mTLS, PEM); keys are asked for all the same",
            shown="clients need no certificate",
        ),
    )


def own_client(files: Files) -> ssl.SSLContext:
    """For a command that asks the server of its own data folder, by address: it must be the one with this certificate.

    Under mTLS the server's certificate is shown as the client's too; where its authorities do not know it, the
    server cannot be asked.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    if files.cert is None:
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(files.cert)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if files.client_ca is not None:
        context.load_cert_chain(files.cert, files.key)
    return context
