"""The ASGI application: the gate, and behind it inference (consumers of compat_api) and Django."""

from __future__ import annotations

from typing import cast

from django.conf import settings

from compat_api.asgi import application as inference
from npuproxy.django_handler import Handler
from npuproxy.gate import Application, Gate, Rules
from npuproxy.listening import is_loopback, trusted_networks
from npuproxy.origins import Hosts, Origins
from npuproxy.page.keys import AllKeys
from npuproxy.page.socket import PageConsumer
from npuproxy.peers import Peers
from registry import key_ring, key_use


def build() -> Gate:
    """The gate as the settings want it."""
    rules = Rules(
        hosts=Hosts(settings.HOST_NAMES),
        origins=Origins(settings.ORIGINS),
        peers=Peers(trusted_networks(settings.TRUSTED_NETWORKS), settings.TRUSTED_PROXIES),
        guards_all=is_loopback(settings.HOST) or bool(settings.HOST_NAMES),
        version=settings.VERSION,
        keys=AllKeys(key_ring.RING),
        use=key_use.USE,
    )
    sockets = {"/status/ws": cast(Application, PageConsumer())}
    return Gate(rules, inference, cast(Application, Handler()), sockets)
