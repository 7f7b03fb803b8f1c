"""Alerts open when a condition lasts, and close when it is over for long enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from seederfarm.control.alerts.hysteresis import Step, step

START = datetime(2026, 8, 24, 14, 0, tzinfo=UTC)


class Farm:
    """Runs one rule in virtual time, with the rows that a database would have."""

    def __init__(self, opens_after: float, closes_after: float) -> None:
        self.now = START
        self.after = {"opens_after": opens_after, "closes_after": closes_after}
        self.watched: dict[str, datetime] = {}
        self.open: dict[str, datetime | None] = {}

    def run(self, *holding: str, after: float = 30) -> Step:
        self.now += timedelta(seconds=after)
        done = step(holding, self.watched, self.open, self.now, **self.after)
        self.watched = {**self.watched, **done.watched}
        for subject in done.unwatched:
            del self.watched[subject]
        for subject in done.closed:
            del self.open[subject]
        self.open.update({subject: None for subject in (*done.opened, *done.lasting)})
        self.open.update({subject: self.now for subject in done.clearing})
        return done


def test_an_alert_opens_once_when_its_condition_has_lasted() -> None:
    farm = Farm(60, 60)
    assert not farm.run("a").opened
    assert not farm.run("a").opened
    assert farm.run("a").opened == ["a"]
    assert not farm.watched, "an open alert is not watched any more"
    assert farm.run("a") == Step(lasting=["a"])


def test_a_condition_that_comes_and_goes_opens_nothing() -> None:
    farm = Farm(60, 60)
    for _ in range(100):
        assert not farm.run("a").opened
        assert not farm.run("a").opened
        assert farm.run().unwatched == ["a"]


def test_an_open_alert_survives_a_pause_of_its_condition() -> None:
    farm = Farm(0, 60)
    assert farm.run("a").opened == ["a"]
    assert farm.run().clearing == ["a"]
    assert farm.run("a").lasting == ["a"]
    assert farm.run().clearing == ["a"], "the pause begins anew"
    assert not farm.run().closed
    assert farm.run().closed == ["a"]


def test_rules_without_delays_open_and_close_at_once() -> None:
    farm = Farm(0, 0)
    assert farm.run("a", "b").opened == ["a", "b"]
    assert farm.run("b") == Step(lasting=["b"], closed=["a"])


@given(
    st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.integers(1, 100)), max_size=60),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_what_is_open_held_long_enough_and_what_closed_was_over_long_enough(
    runs: list[tuple[set[str], int]], opens: int, closes: int
) -> None:
    farm = Farm(opens, closes)
    held_since: dict[str, datetime] = {}
    over_since: dict[str, datetime] = {}
    for holding, after in runs:
        before = dict(farm.open)
        done = farm.run(*sorted(holding), after=after)
        for subject in "abc":
            (held_since if subject in holding else over_since).setdefault(subject, farm.now)
            (over_since if subject in holding else held_since).pop(subject, None)
        for subject in done.opened:
            assert subject not in before
            assert (farm.now - held_since[subject]).total_seconds() >= opens
        for subject in done.closed:
            assert (farm.now - over_since[subject]).total_seconds() >= closes
        for subject in holding:
            if (farm.now - held_since[subject]).total_seconds() >= opens:
                assert subject in farm.open, "nothing that lasted is missed"
        assert not farm.watched.keys() & farm.open.keys()
        assert farm.watched.keys() <= holding
