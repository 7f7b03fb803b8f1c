"""The tables. A change here needs a migration in `migrations/versions` (a test compares)."""

from __future__ import annotations

from sqlalchemy import Float, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Of all tables."""


class KeyValue(Base):
    """Whatever there is one of, by name: the control key, the broker, the manifest's version."""

    __tablename__ = "fact"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Entry(Base):
    """A key of the manifest."""

    __tablename__ = "entry"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str | None] = mapped_column(String(10))
    priority: Mapped[int] = mapped_column(Integer)
    max_fork: Mapped[int | None] = mapped_column(Integer)


class PendingRemoval(Base):
    """A key that a manifest no longer has and whose blocks may still be on disk."""

    __tablename__ = "removal"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[float] = mapped_column(Float)


class ShardAssignment(Base):
    """In which engine's store the blocks of a key are, or will be. Outlives the key's entry."""

    __tablename__ = "home"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    engine: Mapped[int] = mapped_column(Integer)


class SenderWindow(Base):
    """Which numbers of a sender were seen."""

    __tablename__ = "sender_window"

    sender: Mapped[str] = mapped_column(String(52), primary_key=True)
    window: Mapped[str] = mapped_column(Text)


class BufferedSample(Base):
    """Counters that control was not told yet."""

    __tablename__ = "buffered_sample"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    body: Mapped[str] = mapped_column(Text)


class BufferedEvent(Base):
    """What happened and control was not told yet."""

    __tablename__ = "buffered_event"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    body: Mapped[str] = mapped_column(Text)


class RejectCount(Base):
    """Messages that were refused, by reason."""

    __tablename__ = "refusal"

    reason: Mapped[str] = mapped_column(String(30), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
