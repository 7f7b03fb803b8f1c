"""Marks of keys that a blind peer keeps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; every key of before is seeded and announced, and no blind peer's."""
    for name, value in (("blind_peer", sa.false()), ("seeded", sa.true()), ("announce", sa.true())):
        op.add_column("entry", sa.Column(name, sa.Boolean, nullable=False, server_default=value))
    op.add_column("entry", sa.Column("peers", sa.Text, nullable=False, server_default=""))
