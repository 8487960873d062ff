"""Which texts go into one inference: turns of the requests, like lengths together, bounds on texts and tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.worker.text_batches import TextBatches


def drained(batches: TextBatches) -> list[list[tuple[int, int]]]:
    found = []
    while batches:
        found.append(batches.take())
    return found


@pytest.mark.parametrize(
    ("most_texts", "most_tokens", "tokens", "indices"),
    [
        (4, 1000, [9, 3, 5], [[1, 2, 0]]),  # short texts first
        (2, 1000, [9, 3, 5], [[1, 2], [0]]),
        (4, 20, [9, 3, 5, 4], [[1, 3, 2], [0]]),  # four of nine tokens are too many
        (4, 20, [50, 3], [[1], [0]]),  # longer than any bound: alone
        (1, 1000, [2, 2], [[0], [1]]),
    ],
)
def test_a_batch_has_the_next_texts_that_fit(
    most_texts: int, most_tokens: int, tokens: list[int], indices: list[list[int]]
) -> None:
    batches = TextBatches(most_texts, most_tokens)
    batches.add(7, tokens)
    assert drained(batches) == [[(7, index) for index in each] for each in indices]


def test_what_came_from_several_requests_is_one_batch() -> None:
    batches = TextBatches(8, 1000)
    for id in (1, 2, 3):
        batches.add(id, [5])
    assert batches.take() == [(1, 0), (2, 0), (3, 0)]
    assert not batches


def test_a_large_request_waits_for_its_turn_behind_the_small() -> None:
    batches = TextBatches(2, 1000)
    batches.add(1, [5] * 5)
    assert batches.take() == [(1, 0), (1, 1)]
    batches.add(2, [5])
    batches.add(3, [5])
    assert drained(batches) == [[(1, 2), (1, 3)], [(2, 0), (3, 0)], [(1, 4)]]


def test_a_request_that_does_not_fit_beside_another_comes_next() -> None:
    batches = TextBatches(4, 20)
    for id, tokens in ((1, [5]), (2, [15]), (3, [15])):
        batches.add(id, tokens)
    assert drained(batches) == [[(1, 0)], [(2, 0)], [(3, 0)]]


def test_what_was_dropped_is_not_embedded() -> None:
    batches = TextBatches(2, 1000)
    batches.add(1, [5] * 5)
    batches.add(2, [5])
    batches.take()
    batches.drop(1)
    assert drained(batches) == [[(2, 0)]]


@given(
    requests=st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=40), min_size=1, max_size=6),
    most_texts=st.integers(1, 33),
    most_tokens=st.integers(1, 2000),
)
def test_every_text_is_taken_once_and_within_the_bounds(
    requests: list[list[int]], most_texts: int, most_tokens: int
) -> None:
    batches = TextBatches(most_texts, most_tokens)
    for id, tokens in enumerate(requests):
        batches.add(id, tokens)
    taken = drained(batches)
    assert sorted(text for batch in taken for text in batch) == [
        (id, index) for id, tokens in enumerate(requests) for index in range(len(tokens))
    ]
    for batch in taken:
        padded = len(batch) * max(requests[id][index] for id, index in batch)
        assert 1 <= len(batch) <= most_texts
        assert len(batch) == 1 or padded <= most_tokens
