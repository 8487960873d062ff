"""How another server is, by real calls: its model list, asked for at the start, each half minute, and when in doubt."""

from __future__ import annotations

import asyncio
import logging
import ssl

from inference.backends import upstream
from inference.backends.upstream import VIA, Session
from inference.backends.wire import Wire, WireError
from inference.errors import RemoteFailed
from inference.listing import Listing
from inference.remote import RemoteSpec

logger = logging.getLogger(__name__)

REFRESH_S = 30.0
AILING_S = 5.0
"""Between looks at one that is not well: it comes back by itself."""
LEAST_S = 1.0
_NOT_LOOKED_AT = "has not answered yet"


class Health:
    """What is known of one server now. `fault` is for the operator and for refusals: '' while it is well."""

    def __init__(self, spec: RemoteSpec, wire: Wire, session: Session, via: str) -> None:
        self.spec = spec
        self.listing = Listing(spec)
        self.fault = _NOT_LOOKED_AT
        self.tls: ssl.SSLContext | bool = True
        self._wire = wire
        self._session = session
        self._via = via
        self._doubted = asyncio.Event()

    def doubt(self, fault: str = "") -> None:
        """Something came of a request that a look at the list will explain. `fault`: what is known already."""
        if fault:
            self._now(fault)
        self._doubted.set()

    async def watch(self) -> None:
        """For as long as the backend is one."""
        while True:
            self._doubted.clear()
            await self._look()
            await asyncio.sleep(LEAST_S)
            try:
                async with asyncio.timeout(AILING_S if self.fault else REFRESH_S):
                    await self._doubted.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(upstream.LIST_S):
                self.tls = await asyncio.to_thread(upstream.tls_of, self.spec)
                self.listing = Listing(self.spec, self._wire.models(await self._list()))
            self._now("")
        except RemoteFailed as error:
            self._now(str(error).removeprefix(f"{self.spec.id}: "))
        except WireError as error:
            self._now(f"its list of models is not one: {error}")
        except TimeoutError:
            self._now(f"its list of models did not come within {upstream.LIST_S:g} s")
        except OSError as error:
            logger.error("backend %s: %s", self.spec.id, error)
            self._now("the file of certificates that it is to be trusted by cannot be read; see the log")
        except Exception:  # whatever its list holds, the others must not suffer
            logger.exception("backend %s: its list of models", self.spec.id)
            self._now("its list of models cannot be read; see the log")

    async def _list(self) -> bytes:
        spec, path = self.spec, self._wire.models_path
        headers = self._wire.headers(spec.key) | {
            "Accept-Encoding": "identity",
            "User-Agent": "npuproxy",
            VIA: self._via,
        }
        headers.pop("Content-Type", None)
        response = await self._session.open(spec, self.tls, path, headers, None)
        try:
            most = upstream.LONGEST_LIST if response.status == 200 else upstream.LONGEST_ERROR
            body = await upstream.whole(spec, response, most, upstream.LIST_S)
            if response.status == 404:
                raise RemoteFailed(
                    spec.id,
                    f"it has no list of models at {path}: is this address the right one, without a path?",
                )
            if response.status != 200:
                raise upstream.judged(spec.id, response, self._wire.refusal(body))
            return body
        finally:
            response.release() if response.content.at_eof() else response.close()

    def _now(self, fault: str) -> None:
        if fault == self.fault:
            return
        if fault:
            logger.warning("backend %s: %s", self.spec.id, fault)
        else:
            logger.info("backend %s is well: %d models", self.spec.id, len(self.listing.offers))
        self.fault = fault
