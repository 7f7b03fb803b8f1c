"""What is owed, forgiven and kept in favour."""

from __future__ import annotations

import pytest

from hypercore.aio.cores.debts import FORGIVEN_SHARE, MAX_CREDIT_SECONDS, PRUNE_SECONDS, Debt, Debts


def in_debt(debts: Debts, count: int, seconds: float) -> list[Debt]:
    found = [Debt() for _ in range(count)]
    for debt in found:
        debts.charge(debt, seconds)
    return found


def test_debts_are_forgiven_in_equal_parts() -> None:
    debts = Debts(10.0)
    few = in_debt(debts, 3, 1.0)
    debts.advance(12.0)
    assert [debts.owed(debt) for debt in few] == pytest.approx([1.0 - 2 * FORGIVEN_SHARE / 3] * 3)


def test_links_that_take_equally_much_owe_equally_much_however_many_were_in_debt_meanwhile() -> None:
    """Looked at only now and then, each would be forgiven at the pace of the moment."""
    debts = Debts(0.0)
    early, late = in_debt(debts, 2, 0.2)
    debts.advance(0.5)
    assert debts.owed(early) == pytest.approx(0.2 - 0.5 * FORGIVEN_SHARE / 2)
    crowd = in_debt(debts, 98, 0.2)
    for second in range(1, 11):
        debts.advance(float(second))
    forgiven = 0.5 * FORGIVEN_SHARE / 2 + 9.5 * FORGIVEN_SHARE / 100
    assert debts.owed(late) == debts.owed(early) == pytest.approx(0.2 - forgiven)
    for debt in crowd:
        debts.discard(debt)
    debts.advance(10.1)
    assert debts.owed(late) == debts.owed(early)


def test_useful_work_pays_and_what_is_left_of_it_is_kept_only_if_it_was_of_use_to_us() -> None:
    debts = Debts(0.0)
    (debt,) = in_debt(debts, 1, 0.010)
    debts.charge(debt, 0.001, paid=0.004)
    assert debts.owed(debt) == pytest.approx(0.007)
    debts.charge(debt, 0.0, paid=0.010)
    assert debts.owed(debt) == debt.credit == 0
    debts.charge(debt, 0.001, paid=0.003, earned=0.003)
    assert debt.credit == pytest.approx(0.002)
    debts.charge(debt, 0.003)
    assert debt.credit == 0
    assert debts.owed(debt) == pytest.approx(0.001)


def test_credit_is_bounded() -> None:
    debts = Debts(0.0)
    debt = Debt()
    for _ in range(1000):
        debts.charge(debt, 0.0, paid=0.01, earned=0.01)
    assert debt.credit == MAX_CREDIT_SECONDS
    debts.charge(debt, MAX_CREDIT_SECONDS + 1.0)
    assert debts.owed(debt) == pytest.approx(1.0)


def test_idle_time_gives_no_peer_an_advantage() -> None:
    debts = Debts(0.0)
    idle, busy = Debt(), Debt()
    for second in range(100):
        debts.advance(float(second))
        debts.charge(busy, 0.3)
    debts.charge(idle, 0.3)
    assert debts.owed(idle) == pytest.approx(0.3)


def test_a_debtor_that_has_paid_or_is_gone_slows_the_clock_no_more() -> None:
    debts = Debts(0.0)
    paid, gone, forgiven, left = in_debt(debts, 4, 0.1)
    debts.charge(paid, 0.0, paid=0.2)
    debts.discard(gone)
    debts.charge(left, 10.0)
    assert len(debts) == 2
    debts.advance(5.0)
    assert debts.owed(forgiven) == 0
    debts.advance(5.0 + 2 * PRUNE_SECONDS)
    assert len(debts) == 1
