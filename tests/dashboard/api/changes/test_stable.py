"""Rows are read when no lower number can appear any more."""

from __future__ import annotations

import random

import pytest

from dashboard.api.changes.stable import AGAIN, LONGEST, MAX_ID, Position, Seen, Stable


def test_numbers_in_order_are_stable_at_once() -> None:
    stable = Stable(0)
    assert stable.update(Seen([1, 2, 3], 5, 6), 0.0) == 3
    assert stable.update(Seen([], 5, 6), 1.0) == 3
    assert stable.update(Seen([4], 5, 6), 2.0) == 4


def test_a_missing_number_is_waited_for_while_its_transaction_may_run() -> None:
    stable = Stable(0)
    assert stable.update(Seen([1, 3, 4], 50, 60), 0.0) == 1
    assert stable.update(Seen([3, 4, 5], 50, 61), 1.0) == 1
    assert stable.update(Seen([3, 4, 5], 60, 70), 2.0) == 1, "transaction 60 may have number 2"
    assert stable.update(Seen([2, 3, 4, 5], 60, 70), 3.0) == 5, "it appeared"


def test_a_number_that_no_transaction_can_take_any_more_is_passed() -> None:
    stable = Stable(0)
    assert stable.update(Seen([1, 3, 5], 50, 60), 0.0) == 1
    assert stable.update(Seen([3, 5, 7], 50, 60), 1.0) == 1
    assert stable.update(Seen([3, 5, 7, 9], 60, 61), 2.0) == 7, "8 was taken later than 60 began"
    assert stable.update(Seen([9], 61, 61), 3.0) == 7
    assert stable.update(Seen([9], 61, 61), 4.0) == 9


def test_a_gap_is_looked_at_twice_and_not_waited_for_forever() -> None:
    stable = Stable(0)
    stable.update(Seen([2], 1, 1), 0.0)
    assert stable.update(Seen([2], 1, 1), AGAIN / 2) == 0
    assert stable.update(Seen([2], 1, 9), AGAIN) == 0
    assert stable.update(Seen([2], 1, 9), LONGEST - 1) == 0
    assert stable.update(Seen([2], 1, 9), LONGEST) == 2


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_of_commits_no_row_is_missed(seed: int) -> None:
    """A database with transactions that take numbers, end in any order, and are sometimes rolled back."""
    rng = random.Random(seed)
    running: dict[int, list[int]] = {}
    committed: set[int] = set()
    read: set[int] = set()
    stable, transaction, row = Stable(0), 1, 0

    def ids() -> list[int]:
        return sorted(pk for pk in committed if pk > stable.last)

    for step in range(400):
        if step < 350 and rng.random() < 0.6:
            running[transaction] = []
            transaction += 1
        for mine in running.values():
            if rng.random() < 0.7:
                row += 1
                mine.append(row)
        for number in list(running):
            if rng.random() < 0.4 or step >= 350:
                done = running.pop(number)
                committed |= set(done if rng.random() < 0.9 else [])
        oldest = min(running, default=transaction)
        before = stable.last
        stable.update(Seen(ids(), oldest, transaction), float(step))
        read |= {pk for pk in committed if before < pk <= stable.last}
    assert read == committed


def test_a_position_has_one_form() -> None:
    assert Position.read("17-4") == Position(17, 4)
    assert str(Position(17, 4)) == "17-4"
    for text in (
        "",
        "17",
        "17-",
        "-4",
        "17-4-1",
        "a-b",
        "１7-4",
        "17-4\n",
        f"{MAX_ID + 1}-0",
        "1" * 30 + "-0",
    ):
        with pytest.raises(ValueError, match="expected two numbers"):
            Position.read(text)
