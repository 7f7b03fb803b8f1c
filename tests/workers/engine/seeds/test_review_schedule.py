"""When keys are reviewed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest
import uvloop

from workers.engine.seeds.review_schedule import ReviewSchedule

A, B, C, LAST = b"a" * 32, b"b" * 32, b"c" * 32, b"z" * 32


class Reviews:
    """A schedule and what it reviewed."""

    def __init__(self) -> None:
        self.delays: dict[bytes, float] = {A: 0.01, B: 0.01, C: 0.01}
        self.reviewed: list[bytes] = []
        self.schedule = ReviewSchedule(self.reviewed.append, self.delays.get)

    async def until_idle(self) -> None:
        """Returns when a review requested now for the latest moment of all has come."""
        self.delays[LAST] = 0.05
        self.schedule.soon(LAST)
        async with asyncio.timeout(10):
            while LAST not in self.reviewed:
                await asyncio.sleep(0.001)
        self.reviewed.remove(LAST)


async def _with_reviews(test: Callable[[Reviews], Awaitable[None]]) -> None:
    await test(Reviews())


def play(test: Callable[[Reviews], Awaitable[None]]) -> None:
    asyncio.run(_with_reviews(test))


def test_many_changes_of_a_key_are_one_review_and_later_ones_another() -> None:
    async def test(reviews: Reviews) -> None:
        for _ in range(100):
            reviews.schedule.soon(A)
        reviews.schedule.soon(B)
        await reviews.until_idle()
        assert sorted(reviews.reviewed) == [A, B]
        reviews.schedule.soon(A)
        await reviews.until_idle()
        assert sorted(reviews.reviewed) == [A, A, B]

    play(test)


def test_the_earliest_moment_counts() -> None:
    async def test(reviews: Reviews) -> None:
        now = monotonic()
        reviews.schedule.at(A, now + 1000)
        reviews.schedule.soon(A)
        reviews.schedule.at(A, now + 2000)
        reviews.schedule.at(B, now + 0.01)
        reviews.schedule.at(B, now + 1000)
        reviews.schedule.at(C, now + 1000)
        await reviews.until_idle()
        assert sorted(reviews.reviewed) == [A, B]

    play(test)


@pytest.mark.parametrize("how", ["soon", "at"])
def test_a_key_that_is_not_loaded_is_not_reviewed(how: str) -> None:
    async def test(reviews: Reviews) -> None:
        del reviews.delays[A]
        if how == "soon":
            reviews.schedule.soon(A)
        else:
            reviews.schedule.at(A, monotonic())
        await reviews.until_idle()
        assert reviews.reviewed == []
        reviews.delays[A] = 0.01  # loaded now
        reviews.schedule.soon(A)
        await reviews.until_idle()
        assert reviews.reviewed == [A]

    play(test)


def test_a_cancelled_review_does_not_come_and_leaves_the_next_one() -> None:
    async def test(reviews: Reviews) -> None:
        reviews.schedule.soon(A)
        reviews.schedule.soon(B)
        reviews.schedule.cancel(A)
        await reviews.until_idle()
        assert reviews.reviewed == [B]
        reviews.schedule.soon(A)
        await reviews.until_idle()
        assert reviews.reviewed == [B, A]

    play(test)


def test_a_closed_schedule_reviews_nothing() -> None:
    async def test(reviews: Reviews) -> None:
        other = Reviews()
        reviews.schedule.soon(A)
        reviews.schedule.close()
        reviews.schedule.soon(B)
        reviews.schedule.at(C, monotonic())
        await other.until_idle()
        assert reviews.reviewed == []

    play(test)


def test_a_review_that_is_due_already_is_requested_again() -> None:
    async def test(reviews: Reviews) -> None:
        now = monotonic()
        reviews.schedule.at(A, now - 1)
        reviews.schedule.at(A, now - 2)
        reviews.schedule.soon(A)
        await reviews.until_idle()
        assert reviews.reviewed == [A]

    for loop_factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_with_reviews(test))
