"""What has come of an answer so far."""

from __future__ import annotations

from msgspec import Struct

from inference.token_gaps import TokenGaps


class Meter(Struct):
    """Counts the tokens of one answer while it runs, for whoever must tell of one that did not end."""

    completion_tokens: int = 0
    reasoning_tokens: int = 0
    """Of those, how many were thoughts, shown or not."""
    gaps: TokenGaps | None = None
    """Where a worker of ours gives the tokens."""
