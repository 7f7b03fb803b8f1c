"""The tables. A change here needs a migration in `migrations/versions` (a test compares)."""

from __future__ import annotations

from sqlalchemy import Boolean, Float, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of all tables."""


class KeyValue(Base):
    """Single values by name: the control key, the broker, the assignment's version."""

    __tablename__ = "fact"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Entry(Base):
    """A key of the assignment."""

    __tablename__ = "entry"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str | None] = mapped_column(String(10))
    priority: Mapped[int] = mapped_column(Integer)
    max_fork: Mapped[int | None] = mapped_column(Integer)
    blind_peer: Mapped[bool] = mapped_column(Boolean)
    seeded: Mapped[bool] = mapped_column(Boolean)
    announce: Mapped[bool] = mapped_column(Boolean)
    peers: Mapped[str] = mapped_column(Text)
    """Hex, with spaces between."""


class PendingRemoval(Base):
    """A key that left the assignment and whose blocks may still be on disk."""

    __tablename__ = "removal"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[float] = mapped_column(Float)


class ShardAssignment(Base):
    """The engine that stores the blocks of a key. Outlives the key's entry."""

    __tablename__ = "home"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    engine: Mapped[int] = mapped_column(Integer)


class SenderWindow(Base):
    """The accepted numbers of a sender."""

    __tablename__ = "sender_window"

    sender: Mapped[str] = mapped_column(String(52), primary_key=True)
    window: Mapped[str] = mapped_column(Text)


class BufferedSample(Base):
    """Counters not yet reported."""

    __tablename__ = "buffered_sample"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    body: Mapped[str] = mapped_column(Text)


class BufferedEvent(Base):
    """Events not yet reported."""

    __tablename__ = "buffered_event"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    body: Mapped[str] = mapped_column(Text)


class RejectCount(Base):
    """Rejected messages, by reason."""

    __tablename__ = "refusal"

    reason: Mapped[str] = mapped_column(String(30), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
