"""When keys are reviewed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest
import uvloop

from workers.engine.seeds import review_schedule
from workers.engine.seeds.review_schedule import DELAY_OF_ACTIVE_KEY, REVIEW_DELAY, ReviewSchedule

A, B, C, LAST = b"a" * 32, b"b" * 32, b"c" * 32, b"z" * 32


class Reviews:
    """A schedule and what it reviewed."""

    def __init__(self) -> None:
        self.loaded = {A, B, C, LAST}
        self.reviewed: list[bytes] = []
        self.schedule = ReviewSchedule(self._review, self.loaded.__contains__)

    def _review(self, key: bytes) -> None:
        self.reviewed.append(key)

    async def until_idle(self) -> None:
        """Returns when a review requested now for the latest moment of all has come."""
        self.schedule.at(LAST, monotonic() + 2 * REVIEW_DELAY)
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
        reviews.loaded.remove(A)
        if how == "soon":
            reviews.schedule.soon(A)
        else:
            reviews.schedule.at(A, monotonic())
        await reviews.until_idle()
        assert reviews.reviewed == []
        reviews.loaded.add(A)
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


def test_what_may_make_a_key_known_or_synced_is_reviewed_before_other_activity() -> None:
    async def test(reviews: Reviews) -> None:
        for key in (A, B, C):
            reviews.schedule.soon(key)
        reviews.schedule.soon(B, prompt=True)
        reviews.schedule.soon(B)
        await reviews.until_idle()
        assert reviews.reviewed[0] == B
        assert sorted(reviews.reviewed) == [A, B, C]

    play(test)


def test_each_key_with_activity_delays_the_reviews_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of keys that are downloaded at once take no more than a part of the time."""
    assert 0 < DELAY_OF_ACTIVE_KEY < REVIEW_DELAY
    monkeypatch.setattr(review_schedule, "DELAY_OF_ACTIVE_KEY", 1000.0)

    async def test(reviews: Reviews) -> None:
        reviews.schedule.soon(A)
        reviews.schedule.soon(B)
        reviews.schedule.at(C, monotonic() + 0.01)
        reviews.schedule.soon(C)
        await reviews.until_idle()
        assert reviews.reviewed == [C]
        reviews.schedule.soon(B, prompt=True)
        await reviews.until_idle()
        assert reviews.reviewed == [C, B]
        reviews.schedule.close()

    play(test)


def test_reviews_that_are_due_together_leave_time_for_the_rest_of_the_loop() -> None:
    async def test(reviews: Reviews) -> None:
        many = [number.to_bytes(32) for number in range(200)]
        reviews.loaded.update(many)
        turns = 0

        def slow(key: bytes) -> None:
            began = monotonic()
            while monotonic() < began + 0.001:
                pass
            reviews.reviewed.append(key)

        schedule = ReviewSchedule(slow, reviews.loaded.__contains__)
        now = monotonic()
        for key in many:
            schedule.at(key, now)
        while len(reviews.reviewed) < len(many):
            await asyncio.sleep(0)
            turns += 1
        assert reviews.reviewed == many
        assert turns >= len(many) * 0.001 / review_schedule.SLICE_SECONDS

    play(test)


def test_a_review_that_fails_does_not_end_the_others() -> None:
    async def test(reviews: Reviews) -> None:
        def fail(key: bytes) -> None:
            reviews.reviewed.append(key)
            if key == A:
                raise ValueError("a bug")

        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        schedule = ReviewSchedule(fail, reviews.loaded.__contains__)
        for key in (A, B):
            schedule.soon(key)
        await reviews.until_idle()
        assert sorted(reviews.reviewed) == [A, B]
        assert len(errors) == 1

    play(test)


def test_a_review_that_asks_for_another_one_now_waits_for_the_next_turn() -> None:
    async def test(reviews: Reviews) -> None:
        seen: list[int] = []
        turn = 0

        def again(key: bytes) -> None:
            seen.append(turn)
            if len(seen) < 3:
                schedule.at(key, monotonic())

        schedule = ReviewSchedule(again, reviews.loaded.__contains__)
        schedule.at(A, monotonic())
        while len(seen) < 3:
            await asyncio.sleep(0)
            turn += 1
        assert len(set(seen)) == 3

    play(test)


def test_moments_that_no_longer_count_are_not_kept() -> None:
    async def test(reviews: Reviews) -> None:
        now = monotonic()
        for number in range(10_000):
            reviews.schedule.at(A, now + 1000 - number / 1000)
        assert len(reviews.schedule._heap) < 100
        reviews.schedule.close()

    play(test)
