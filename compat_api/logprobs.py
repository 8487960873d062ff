"""Log probabilities on the wire: what may be asked, and one token's entry, which Ollama and OpenAI share."""

from __future__ import annotations

from typing import Any

from compat_api.refusals import refuse
from inference.errors import BadRequest
from inference.shown_token import Token

_MOST_TOP = 20
_LEAST = -9999.0
"""As OpenAI gives what is as good as impossible: JSON has no infinity."""


def wanted(logprobs: bool | None, top_logprobs: int | None) -> bool:
    """Raises BadRequest for alternatives: GenAI gives the chosen token's own and reads any logprobs > 1 as 1
    (openvino-facts 6)."""
    if not 0 <= (top_logprobs or 0) <= _MOST_TOP:
        raise BadRequest(f"top_logprobs must be between 0 and {_MOST_TOP}", "top_logprobs")
    refuse(
        "top_logprobs",
        top_logprobs,
        "the engine gives no alternatives to the chosen token; send logprobs without top_logprobs for the chosen one's",
    )
    return bool(logprobs)


def entry(token: Token) -> dict[str, Any]:
    return {"token": token.text, "logprob": bounded(token.logprob), "bytes": list(token.spelled)}


def bounded(logprob: float) -> float:
    return logprob if logprob > _LEAST else _LEAST
