"""Who gets how much of the loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

import pytest

from hypercore.aio.cores.debts import Debt
from hypercore.aio.cores.turns import (
    ACTIVE_SECONDS,
    ASSUMED_BLOCK_BYTES,
    DEBT_SHARE,
    DEBTORS_TURN_SECONDS,
    MAX_DEBT_SECONDS,
    SLICE_SECONDS,
    SMALL_DEBT_SECONDS,
    TURN_SECONDS,
    Turns,
    Useful,
)


class Clock:
    """Time that passes by working only, and while the loop has other things to do."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Busy:
    """Always has more to do, in steps of 100 us, of which every second one may be useful."""

    def __init__(self, clock: Clock, *, useful: bool = False, left: int = 10**9) -> None:
        self.debt = Debt()
        self.spent = 0.0
        self.longest = 0.0
        self._clock = clock
        self._useful = useful
        self._left = left
        self._done = 0
        self.requested = self.unprocessed = 0

    def work(self, expired: Callable[[], bool]) -> bool:
        began = self._clock.now
        while self._left:
            self._left -= 1
            self._clock.now += 1e-4
            self._done += self._useful
            if expired():
                break
        took = self._clock.now - began
        self.spent += took
        self.longest = max(self.longest, took)
        return self._left > 0

    def take_useful(self) -> Useful:
        done, self._done = self._done, 0
        return Useful(done, 0, received=True)


def simulate(takers: Callable[[Clock, Turns], None], seconds: float) -> float:
    """Runs turns until so much time has passed; returns the longest turn."""

    async def main() -> float:
        clock, longest = Clock(), 0.0
        turns = Turns(asyncio.get_running_loop(), clock=clock, work_clock=clock)
        takers(clock, turns)
        end = clock.now + seconds
        while clock.now < end:
            before = clock.now
            await asyncio.sleep(0)
            longest = max(longest, clock.now - before)
            clock.now += 1e-4
        return longest

    return asyncio.run(main())


def test_a_turn_and_a_slice_are_short_however_many_want_to_work() -> None:
    busy: list[Busy] = []

    def start(clock: Clock, turns: Turns) -> None:
        busy.extend(Busy(clock) for _ in range(500))
        for taker in busy:
            turns.add(taker)
            turns.add(taker)

    longest = simulate(start, 3)
    assert longest <= TURN_SECONDS + 2e-3
    assert max(taker.longest for taker in busy) <= SLICE_SECONDS + 2e-4
    assert all(taker.spent > 0 for taker in busy)


def test_those_that_do_useful_work_come_before_those_that_only_keep_us_busy() -> None:
    found: list[Busy] = []

    def start(clock: Clock, turns: Turns) -> None:
        found.append(Busy(clock, useful=True))
        found.extend(Busy(clock) for _ in range(200))
        for taker in found:
            turns.add(taker)

    simulate(start, 10)
    useful, *useless = found
    assert useful.spent > 0.6 * 10
    assert sum(taker.spent for taker in useless) > DEBT_SHARE * 10 * 0.8


@pytest.mark.slow
def test_a_peer_that_keeps_us_busy_alone_gets_its_share_and_no_more() -> None:
    found: list[Busy] = []
    rested: list[float] = []

    async def main() -> None:
        clock = Clock()
        turns = Turns(asyncio.get_running_loop(), clock=clock, work_clock=clock)
        found.append(Busy(clock))
        turns.add(found[0])
        for _ in range(4_000):
            before = clock.now
            await asyncio.sleep(0)
            if clock.now == before:
                await asyncio.sleep(0.0005)
                clock.now += 0.001
                rested.append(0.001)

    asyncio.run(main())
    total = found[0].spent + sum(rested)
    assert found[0].spent > MAX_DEBT_SECONDS
    assert found[0].spent < MAX_DEBT_SECONDS * 2 + 2 * DEBT_SHARE * total


@pytest.mark.slow
def test_of_links_in_debt_the_one_that_owes_less_comes_first() -> None:
    """A moment of a newcomer does not wait for as many turns as there are others."""
    busy: list[Busy] = []
    late: list[Busy] = []

    async def main() -> None:
        clock = Clock()
        turns = Turns(asyncio.get_running_loop(), clock=clock, work_clock=clock)
        busy.extend(Busy(clock) for _ in range(200))
        for taker in busy:
            turns.add(taker)
        while not all(taker.spent > 4 * SMALL_DEBT_SECONDS for taker in busy):
            await asyncio.sleep(0)
        late.append(Busy(clock, left=200))
        turns.charge(late[0], SMALL_DEBT_SECONDS + SLICE_SECONDS)
        turns.add(late[0])
        began = clock.now
        while late[0].spent < 0.004:
            await asyncio.sleep(0)
        assert clock.now - began < 0.01

    asyncio.run(main())


@pytest.mark.slow
def test_those_in_debt_keep_to_their_share_while_others_have_something_to_do_now_and_then() -> None:
    """What a peer in small debt says finds the loop free, though it says little at a time."""
    spent, waits = [0.0], []

    class Asking(Busy):
        asked_at = 0.0

        def work(self, expired: Callable[[], bool]) -> bool:
            waits.append(self._clock.now - self.asked_at)
            self._clock.now += 1e-5
            return False

    async def main() -> None:
        clock = Clock()
        turns = Turns(asyncio.get_running_loop(), clock=clock, work_clock=clock)
        asking = Asking(clock)
        busy = [Busy(clock) for _ in range(100)]
        for taker in busy:
            turns.charge(taker, 2 * SMALL_DEBT_SECONDS)
            turns.add(taker)
        began = asked = clock.now
        while clock.now < began + 3:
            if clock.now >= asked + ACTIVE_SECONDS / 2:
                asked = asking.asked_at = clock.now
                turns.add(asking)
            before = clock.now
            await asyncio.sleep(0.0002)
            if clock.now == before:
                clock.now += 0.001  # the loop rests
        spent[0] = sum(taker.spent for taker in busy)

    asyncio.run(main())
    assert 0.5 * DEBT_SHARE * 3 < spent[0] < 1.5 * DEBT_SHARE * 3
    assert len(waits) > 100
    assert max(waits) < DEBTORS_TURN_SECONDS + 3e-4


def test_turns_are_shorter_if_all_are_in_debt() -> None:
    def start(clock: Clock, turns: Turns) -> None:
        for _ in range(20):
            taker = Busy(clock)
            turns.charge(taker, 2 * SMALL_DEBT_SECONDS)
            turns.add(taker)

    assert simulate(start, 0.5) < DEBTORS_TURN_SECONDS + 3e-4


def test_what_packets_take_is_owed_like_the_work_of_turns() -> None:
    found: list[Busy] = []

    def start(clock: Clock, turns: Turns) -> None:
        found.extend((Busy(clock), Busy(clock)))
        turns.charge(found[0], 2.0)
        for taker in found:
            turns.add(taker)

    simulate(start, 1)
    assert found[0].spent < 1.2 * DEBT_SHARE
    assert found[1].spent > 0.2


def test_connections_that_come_and_go_while_others_wait_leave_nothing_behind() -> None:
    async def main() -> None:
        clock = Clock()
        turns = Turns(asyncio.get_running_loop(), clock=clock, work_clock=clock)
        waiting = Busy(clock)
        turns.charge(waiting, 100.0)
        turns.add(waiting)
        gone = []
        for _ in range(200):
            taker = Busy(clock)
            turns.charge(taker, 100.0)
            turns.add(taker)
            gone.append(weakref.ref(taker))
            turns.discard(taker)
            del taker
        assert sum(each() is not None for each in gone) < 20

    asyncio.run(main())


def test_a_link_that_fails_or_is_gone_holds_up_no_peer() -> None:
    async def main() -> None:
        loop, errors = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda loop, context: errors.append(context))
        clock = Clock()
        turns = Turns(loop, clock=clock, work_clock=clock)

        class Failing(Busy):
            def work(self, expired: Callable[[], bool]) -> bool:
                raise RuntimeError("broken")

        gone, fine = Busy(clock), Busy(clock, left=3)
        for taker in (Failing(clock), gone, fine):
            turns.add(taker)
        turns.discard(gone)
        await asyncio.sleep(0.01)
        assert len(errors) == 1
        assert gone.spent == 0
        assert fine.spent > 0

    asyncio.run(main())


def test_a_worker_that_is_alone_has_the_whole_turn() -> None:
    found: list[Busy] = []

    def start(clock: Clock, turns: Turns) -> None:
        found.append(Busy(clock, useful=True))
        turns.add(found[0])

    longest = simulate(start, 0.1)
    assert TURN_SECONDS * 0.9 < found[0].longest <= longest <= TURN_SECONDS + 2e-4


def test_time_taken_away_while_work_is_measured_shortens_no_slice() -> None:
    async def main() -> None:
        clock = Clock()

        def work_clock() -> float:
            clock.now += 0.75 * SLICE_SECONDS  # another process has the processor
            return clock.now

        turns = Turns(asyncio.get_running_loop(), clock=clock, work_clock=work_clock)
        both = [Busy(clock, useful=True) for _ in range(2)]
        for taker in both:
            turns.add(taker)
        await asyncio.sleep(0)
        assert all(taker.longest > 0.9 * SLICE_SECONDS for taker in both)

    asyncio.run(main())


def wait_of_one_that_receives(requested: int) -> float:
    """Seconds until a connection gets its turn that has received 4 MB of an unfinished message, among 300
    others in less debt, if so many blocks were requested from it."""
    waited: list[float] = []

    class Receives(Busy):
        def work(self, expired: Callable[[], bool]) -> bool:
            waited.append(self._clock.now - began)
            return False

    began = 0.0

    def start(clock: Clock, turns: Turns) -> None:
        nonlocal began
        for _ in range(300):
            taker = Busy(clock)
            turns.charge(taker, 1.5 * SMALL_DEBT_SECONDS)
            turns.add(taker)
        one, began = Receives(clock), clock.now
        one.requested, one.unprocessed = requested, 64 * ASSUMED_BLOCK_BYTES
        turns.charge(one, 5 * SMALL_DEBT_SECONDS)
        turns.add(one)

    simulate(start, 0.5)
    return waited[0] if waited else 0.5


def test_packets_of_requested_blocks_do_not_put_their_sender_behind_others() -> None:
    assert wait_of_one_that_receives(requested=64) < ACTIVE_SECONDS


def test_bytes_without_a_request_do() -> None:
    assert wait_of_one_that_receives(requested=0) > 0.4
    assert wait_of_one_that_receives(requested=2) > 0.4
