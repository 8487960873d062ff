"""The time of each token after the one before, in buckets."""

from __future__ import annotations

import pytest

from inference.token_gaps import BOUNDS_S, TokenGaps


def test_the_tokens_of_a_step_share_its_time() -> None:
    gaps, more = TokenGaps(), TokenGaps()
    gaps.add(0.02, 1)  # on the bound of its bucket
    gaps.add(0.04, 2)
    more.add(60.0, 1)
    gaps.fold(more)
    counts = dict(zip((*BOUNDS_S, None), gaps.counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.02: 3, None: 1}
    assert gaps.total_s == pytest.approx(60.06)
