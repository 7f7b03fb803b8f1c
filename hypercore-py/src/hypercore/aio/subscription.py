"""Callbacks of many listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Subscription(Generic[T]):
    """Call it to unsubscribe. Each `subscribe` makes one, so the same callable may subscribe twice."""

    __slots__ = ("_subscribers", "callback")

    def __init__(self, callback: Callable[[T], None], subscribers: dict[Subscription[T], None]) -> None:
        self.callback = callback
        self._subscribers = subscribers
        subscribers[self] = None

    def __call__(self) -> None:
        self._subscribers.pop(self, None)
