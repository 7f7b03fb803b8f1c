"""The part of the engine that a blind peer uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Room(NamedTuple):
    """Room for content."""

    left: int
    total: int
    lacking: int
    """Bytes that a waiting download needs."""


class Host(Protocol):
    """The members of the engine that a blind peer uses."""

    def room(self) -> Room | None:
        """The room for content; None while it is not measured, or ample."""

    def content_deleted(self) -> None:
        """Measure it again."""

    def announce(self, keys: Iterable[bytes]) -> None:
        """Seed these cores: announced, and looked up while they are incomplete."""

    async def withdraw(self, key: bytes) -> None:
        """Seed a core no longer."""

    def is_wanted(self, key: bytes) -> bool:
        """Whether a core is kept for another reason as well."""
