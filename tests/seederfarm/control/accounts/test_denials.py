"""Events and alerts about refused attempts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from seederfarm.control.accounts import denials
from seederfarm.registry.models import Event

from ....support.databases import FarmDatabase

RECORDS: dict[str, Callable[[datetime], None]] = {
    "a worker": lambda now: denials._record_denials([denials.Denial("thief", "key", "farm:x", 1)], now),
    "a command": lambda now: denials._record_commands({"shutdown": 1}, now),
    "a message": lambda now: denials._record_messages({"reports: no JSON": 1}, now),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_no_event_is_seen_before_its_alert(
    record: Callable[[datetime], None],
    registry: FarmDatabase,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    def database_fails(*_: object) -> None:
        seen.append(Event.objects.exists())
        raise RuntimeError("the database fails")

    monkeypatch.setattr(denials, "raise_alerts", database_fails)
    with pytest.raises(RuntimeError, match="the database fails"):
        record(now)
    assert seen == [True]
    assert not Event.objects.exists()
