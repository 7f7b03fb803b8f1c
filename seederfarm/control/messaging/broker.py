"""What the control plane asks of a broker. Needs no Django, so that the Celery app can be imported first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class BrokerDown(Exception):
    """The broker did not take the message."""


class Broker(Protocol):
    """Where messages go: Celery, or a stand-in in tests. All methods raise BrokerDown."""

    def send(self, task: str, message: dict[str, object], *, queue: str, expires: float) -> None:
        """To a worker."""

    def defer(self, task: str, args: Sequence[Any]) -> None:
        """To the control plane itself."""

    def waiting(self, queue: str) -> int:
        """Messages that nobody has taken yet."""

    def leave(self, key: str, message: dict[str, object], *, expires: float) -> None:
        """For whoever joins, to be fetched within `expires` seconds. Replaces what is there."""
