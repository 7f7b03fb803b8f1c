"""Streams of clients with and without a login."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from workers.gateway.failures import ReadingFailed
from workers.gateway.slots import MAX_PUBLIC, MAX_PUBLIC_EACH, MAX_READERS, Slots


def test_visitors_without_a_login_leave_slots_to_people_of_the_farm() -> None:
    slots = Slots()
    with ExitStack() as streams:
        for number in range(MAX_PUBLIC):
            streams.enter_context(slots.taken_by(f"public {number}", is_public=True))
        with (
            pytest.raises(ReadingFailed, match="Too many visitors"),
            slots.taken_by("public x", is_public=True),
        ):
            pass
        for number in range(MAX_READERS - MAX_PUBLIC):
            streams.enter_context(slots.taken_by(f"user {number}"))
        assert slots.taken == MAX_READERS
    assert slots.taken == 0
    with slots.taken_by("public x", is_public=True):
        assert slots.taken == 1, "those that ended are counted no more"


def test_one_address_without_a_login_has_as_many_streams_as_a_browser_opens() -> None:
    slots = Slots()
    with ExitStack() as streams:
        for _ in range(MAX_PUBLIC_EACH):
            streams.enter_context(slots.taken_by("public a", is_public=True))
        with pytest.raises(ReadingFailed, match="too many files"), slots.taken_by("public a", is_public=True):
            pass
        with slots.taken_by("public b", is_public=True):
            assert slots.taken == MAX_PUBLIC_EACH + 1
