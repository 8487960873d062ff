"""Slots and the waiting line of a device, on a real event loop."""

import asyncio
from collections.abc import Coroutine

import pytest

from inference.admission import DeviceQueue
from inference.errors import DeadlineExceeded, QueueFull, QueueTimeout


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 10))


def test_first_come_first_served() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(1, 10)
        first = await queue.acquire()
        order: list[str] = []

        async def wait(name: str) -> None:
            slot = await queue.acquire()
            order.append(name)
            slot.release()

        tasks = [asyncio.create_task(wait(name)) for name in "abc"]
        await asyncio.sleep(0)
        assert (queue.running, queue.waiting) == (1, 3)
        first.release()
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "c"]
        assert (queue.running, queue.waiting) == (0, 0)

    run(scenario())


def test_a_full_line_refuses_with_a_time_to_come_back() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(1, 1)
        await queue.acquire()
        waiting = asyncio.create_task(queue.acquire())
        await asyncio.sleep(0)
        with pytest.raises(QueueFull) as caught:
            await queue.acquire()
        assert caught.value.retry_after_s >= 1
        waiting.cancel()

    run(scenario())


def test_requests_that_wait_for_a_load_count_against_the_bound() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(1, 2)
        queue.loading = 2
        with pytest.raises(QueueFull):
            queue.check_room()
        queue.loading = 1
        queue.check_room()

    run(scenario())


def test_a_caller_that_leaves_is_out_of_the_line() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(1, 10)
        slot = await queue.acquire()
        gone, stays = asyncio.create_task(queue.acquire()), asyncio.create_task(queue.acquire())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert queue.waiting == 1
        slot.release()
        (await stays).release()
        assert queue.running == 0

    run(scenario())


def test_a_slot_granted_to_a_caller_that_leaves_in_the_same_turn_is_passed_on() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(1, 10)
        slot = await queue.acquire()
        leaves, next_one = asyncio.create_task(queue.acquire()), asyncio.create_task(queue.acquire())
        await asyncio.sleep(0)
        slot.release()
        leaves.cancel()
        (await next_one).release()
        assert (queue.running, queue.waiting) == (0, 0)

    run(scenario())


def test_a_wait_over_the_queue_timeout_ends_with_503s_error() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(1, 10)
        await queue.acquire()
        with pytest.raises(QueueTimeout):
            await queue.acquire(timeout_s=0.01)
        assert queue.waiting == 0

    run(scenario())


def test_a_deadline_that_passes_while_waiting_is_told_from_the_timeout() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(1, 10)
        await queue.acquire()
        with pytest.raises(DeadlineExceeded):
            await queue.acquire(timeout_s=5, deadline_s=0.01)
        with pytest.raises(DeadlineExceeded):
            await queue.acquire(deadline_s=-1)

    run(scenario())


def test_releasing_twice_frees_one_slot() -> None:
    async def scenario() -> None:
        queue = DeviceQueue(2, 10)
        one, _two = await queue.acquire(), await queue.acquire()
        one.release()
        one.release()
        assert queue.running == 1

    run(scenario())
