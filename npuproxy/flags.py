"""The flags of `manage.py serve`: each stands for one variable and goes before the environment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

FLAGS: dict[str, tuple[str, str]] = {
    "--host": ("NPU_PROXY_HOST", "address to listen on; 'auto' is loopback and, on Windows, the WSL switch"),
    "--port": ("NPU_PROXY_PORT", "port to listen on"),
    "--tls-cert": ("NPU_PROXY_TLS_CERT", "serve HTTPS with this certificate"),
    "--tls-key": ("NPU_PROXY_TLS_KEY", "private key of the certificate"),
    "--tls-client-ca": (
        "NPU_PROXY_TLS_CLIENT_CA",
        "refuse clients without a certificate of these authorities",
    ),
    "--device": ("NPU_PROXY_DEVICE", "preferred device: NPU, GPU, GPU.1, CPU or AUTO"),
    "--token-limit": ("NPU_PROXY_TOKEN_LIMIT", "prompts with more tokens leave the NPU"),
    "--log-level": ("NPU_PROXY_LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR"),
    "--log-file": ("NPU_PROXY_LOG_FILE", "log to this file as well"),
    "--allowed-hosts": (
        "NPU_PROXY_ALLOWED_HOSTS",
        "further names that a Host header may carry, between commas",
    ),
}


def add_to(parser: argparse.ArgumentParser) -> None:
    """For the help text and the check of the command line; the values are taken by `overrides`."""
    for flag, (variable, meaning) in FLAGS.items():
        parser.add_argument(flag, metavar=flag.strip("-").upper(), help=f"{meaning} ({variable})")


def overrides(arguments: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Variable -> (flag, value) for the flags that are given. Settings are read before Django parses
    anything.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_to(parser)
    try:
        given, _ = parser.parse_known_args(list(arguments))
    except (argparse.ArgumentError, SystemExit):
        raise SystemExit(2) from None
    values = {flag: getattr(given, flag.strip("-").replace("-", "_")) for flag in FLAGS}
    return {FLAGS[flag][0]: (flag, value) for flag, value in values.items() if value is not None}
