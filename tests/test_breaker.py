"""The breaker of a model on a device, with a clock of the test's own."""

from inference.breaker import OPEN_S, WINDOW_S, Breaker


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_three_crashes_in_a_minute_open_it_and_time_closes_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.crashed()
    breaker.crashed()
    assert breaker.retry_after_s() == 0
    breaker.crashed()
    assert breaker.retry_after_s() == OPEN_S
    clock.now += OPEN_S
    assert breaker.retry_after_s() == 0


def test_crashes_far_apart_do_not_open_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(5):
        breaker.crashed()
        clock.now += WINDOW_S
    assert breaker.retry_after_s() == 0


def test_a_failed_try_opens_it_for_twice_as_long() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(3):
        breaker.crashed()
    clock.now += OPEN_S
    breaker.crashed()
    assert breaker.retry_after_s() == 2 * OPEN_S


def test_an_answer_closes_it_and_starts_the_count_again() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(3):
        breaker.crashed()
    clock.now += OPEN_S
    breaker.answered()
    breaker.crashed()
    breaker.crashed()
    assert breaker.retry_after_s() == 0
