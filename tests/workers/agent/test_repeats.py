"""How often a worker records what happens to a key."""

from __future__ import annotations

import pytest

from workers.agent import repeats
from workers.agent.repeats import REPEAT_INTERVAL, Repeats


def test_a_drive_that_is_written_to_all_day_has_a_row_an_hour_with_a_count() -> None:
    tracked = Repeats()
    rows = [count for second in range(86_400) if (count := tracked.admit("a", "synced", second)) is not None]
    assert rows == [0] + [REPEAT_INTERVAL - 1] * 23


def test_keys_and_codes_do_not_share_their_hour_and_a_quiet_one_is_recorded_at_once() -> None:
    tracked = Repeats()
    assert [tracked.admit(key, code, 0.0) for key in "ab" for code in ("synced", "fork")] == [0] * 4
    assert tracked.admit("a", "synced", 1.0) is None
    assert tracked.admit("a", "synced", 2 * REPEAT_INTERVAL) == 1
    assert tracked.admit("b", "synced", 2 * REPEAT_INTERVAL) == 0


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_TRACKED", 10)
    tracked = Repeats()
    for number in range(100):
        assert tracked.admit(str(number), "synced", float(number)) == 0
    assert len(tracked._tracked) == 10
    assert tracked.admit("99", "synced", 100.0) is None
    assert tracked.admit("0", "synced", 100.0) == 0
