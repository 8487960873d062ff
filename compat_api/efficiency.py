"""GET and POST /efficiency: the mode that was chosen, the one that counts, and what it allows."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from compat_api.decoding import BodyDecoder
from compat_api.wire_view import WireView
from inference import engine
from inference.errors import BadRequest
from inference.modes import NAMES, Efficiency, named
from registry import efficiency as rows


class EfficiencyBody(Struct):
    mode: str | None = None


_decode = BodyDecoder(EfficiencyBody, "EfficiencyRequest", "missing request body")


class EfficiencyView(WireView):
    def get(self, request: Request) -> Response:
        return Response(shown(engine.current().efficiency))

    def post(self, request: Request) -> Response:
        """Counts at once, and after a restart."""
        wanted = _decode(self.body_of(request)).mode
        if not wanted:
            raise BadRequest(f'"mode" is required: one of {", ".join(NAMES)}', "mode")
        mode = named(wanted)
        rows.choose(mode)
        efficiency = engine.current().efficiency
        efficiency.choose(mode)
        return Response(shown(efficiency))


def shown(efficiency: Efficiency) -> dict[str, Any]:
    now = efficiency.now
    return {
        "mode": efficiency.stored,
        "effective_mode": now.mode.name,
        "reason": now.reason,
        "meaning": now.mode.meaning,
        "order": list(now.mode.order),
        "limits": {
            "max_watts": now.mode.max_watts,
            "max_fan_percent": now.mode.max_fan_percent,
            "max_celsius": now.mode.max_celsius,
        },
        "modes": list(NAMES),
    }
