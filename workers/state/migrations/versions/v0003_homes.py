"""In which engine's store the blocks of a key are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """None yet: `workers.agent.shard_map` knows where keys were put before."""
    op.create_table(
        "home",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("engine", sa.Integer, nullable=False),
    )
