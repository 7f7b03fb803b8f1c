"""Workers hear that they were retired before their logins end."""

from __future__ import annotations

from typing import Any

import pytest

from seederfarm.control.accounts import retirement
from seederfarm.registry.models import Worker

NODE = "y" * 52


class Broker:
    """A message that is queued, in neither list while it is taken, unacknowledged, and done."""

    def __init__(self, states: list[tuple[int, int]]) -> None:
        self._states = states
        self.polls = 0

    def llen(self, key: str) -> int:
        self._now = self._states[min(self.polls, len(self._states) - 1)]
        self.polls += 1
        return self._now[0]

    def zcard(self, key: str) -> int:
        return self._now[1]


@pytest.mark.usefixtures("database")
def test_a_message_that_is_being_taken_is_not_taken_for_done(monkeypatch: pytest.MonkeyPatch) -> None:
    Worker.objects.create(node_id=NODE, name="gone", state="retired")
    sent: list[Any] = []
    monkeypatch.setattr(retirement.outbox, "send_now", lambda *args: sent.append(args))
    monkeypatch.setattr(retirement, "CHECK_AGAIN_AFTER", 0.01)
    broker = Broker([(1, 0), (0, 0), (0, 1), (0, 1), (0, 0)])
    retirement.notify_retired(broker, [NODE])
    assert len(sent) == 1 and broker.polls >= 6
