"""The table of channels that wait for a decision, and what it counts."""

import pytest

from hypercore.errors import RemoteProtocolError
from hypercore.mux import MAX_BUFFERED_BYTES, MAX_PENDING_OPENS, PAUSE_BUFFERED_BYTES, UndecidedBudget
from hypercore.mux.undecided import BUFFERED_OVERHEAD, Undecided

KEY = ("p", b"1")
OTHER = ("p", b"2")


def test_channels_of_one_key_are_taken_in_the_order_in_which_they_were_opened() -> None:
    table = Undecided(UndecidedBudget())
    first, second, other = table.add(1, KEY, b""), table.add(2, KEY, b""), table.add(3, OTHER, b"")
    assert table.take_oldest(KEY) is first
    assert table.take_oldest(KEY) is second
    assert table.take_oldest(KEY) is None
    assert table.take_oldest(OTHER) is other
    assert len(table) == 0


def test_a_discarded_channel_leaves_the_others_of_its_key() -> None:
    table = Undecided(UndecidedBudget())
    first, second, third = (table.add(number, KEY, b"") for number in (1, 2, 3))
    table.discard(second)
    assert [table.take_oldest(KEY), table.take_oldest(KEY)] == [first, third]


def test_the_budget_counts_what_is_held_and_nothing_after_a_decision() -> None:
    budget = UndecidedBudget()
    table, neighbour = Undecided(budget), Undecided(budget)
    neighbour.add(1, KEY, b"")
    pending = table.add(1, KEY, b"handshake")
    table.buffer(pending, 7, b"message")
    assert pending.messages == [(7, b"message")]
    assert budget.held == 3 * BUFFERED_OVERHEAD + len(b"handshake" + b"message")
    table.discard(pending)
    assert budget.held == BUFFERED_OVERHEAD
    table.add(1, KEY, b"handshake")
    table.clear()
    assert (budget.held, len(table), table.take_oldest(KEY)) == (BUFFERED_OVERHEAD, 0, None)


def test_what_is_refused_is_not_counted() -> None:
    budget = UndecidedBudget()
    table = Undecided(budget)
    pending = table.add(1, KEY, b"")
    held = budget.held
    with pytest.raises(RemoteProtocolError):
        table.buffer(pending, 0, bytes(MAX_BUFFERED_BYTES))
    with pytest.raises(RemoteProtocolError):
        table.add(2, KEY, bytes(MAX_BUFFERED_BYTES))
    assert (budget.held, len(table), pending.messages) == (held, 1, [])


def test_it_pauses_and_is_full_at_its_limits() -> None:
    table = Undecided(UndecidedBudget())
    pending = table.add(1, KEY, b"")
    table.buffer(pending, 0, bytes(PAUSE_BUFFERED_BYTES))
    assert table.paused
    table.discard(pending)
    assert not table.paused
    for number in range(MAX_PENDING_OPENS):
        assert not table.full
        table.add(number, KEY, b"")
    assert table.full
