"""State of a worker: SQLite through SQLAlchemy, migrated with Alembic when it is opened."""

from .state import JoinedFarm, State, StateLocked, StateUnreadable

__all__ = ["JoinedFarm", "State", "StateLocked", "StateUnreadable"]
