"""The event loop, made before anything imports Twisted's reactor.

Import nothing of daphne or twisted.internet before `install`: whoever imports `twisted.internet.reactor`
first decides which reactor the process has, and daphne.server decides for a loop of its own.
"""

from __future__ import annotations

import asyncio
import sys


def install(kind: str) -> asyncio.AbstractEventLoop:
    """'auto': uvloop where there is one; 'selector': the plain selector loop. Returns the loop, set as
    current.
    """
    loop = _uvloop() if kind == "auto" else None
    if loop is None:
        loop = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(loop)
    from twisted.internet import asyncioreactor

    asyncioreactor.install(loop)
    import daphne.server

    daphne.server.twisted_loop.close()  # made at import, for the case that nobody has installed a reactor
    return loop


def _uvloop() -> asyncio.AbstractEventLoop | None:
    if sys.platform == "win32":
        return None
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
