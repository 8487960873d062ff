"""DELETE /api/requests: the operator ends a request that is under way, whoever sent it."""

from __future__ import annotations

import asyncio

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from compat_api.decoding import BodyDecoder
from compat_api.wire_view import WireView
from inference import engine
from inference.errors import BadRequest
from inference.in_flight import IN_FLIGHT

_ANSWER_S = 10.0


class CancelBody(Struct):
    id: str | None = None


_decode = BodyDecoder(CancelBody, "CancelRequest", "missing request body")


class CancelView(WireView):
    def delete(self, request: Request) -> Response:
        request_id = _decode(self.body_of(request)).id
        if not request_id:
            raise BadRequest('"id" is required: the X-Request-ID of a request that is under way', "id")
        count = _cancel(request_id)
        if not count:
            return Response({"error": f"no request {request_id!r} is under way"}, 404)
        return Response({"cancelled": count})


def _cancel(request_id: str) -> int:
    """On the event loop, to which requests belong."""

    async def cancel() -> int:
        return IN_FLIGHT.cancel(request_id)

    loop = engine.current().loop
    assert loop is not None, "a server that answers has started its engine"
    return asyncio.run_coroutine_threadsafe(cancel(), loop).result(_ANSWER_S)
