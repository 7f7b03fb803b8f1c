"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "fact",
        sa.Column("name", sa.String(50), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "entry",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(10)),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("max_fork", sa.Integer),
        sa.Column("blind_peer", sa.Boolean, nullable=False),
        sa.Column("seeded", sa.Boolean, nullable=False),
        sa.Column("announce", sa.Boolean, nullable=False),
        sa.Column("peers", sa.Text, nullable=False),
    )
    op.create_table(
        "removal",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("since", sa.Float, nullable=False),
    )
    op.create_table(
        "home",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("engine", sa.Integer, nullable=False),
    )
    op.create_table(
        "sender_window",
        sa.Column("sender", sa.String(52), primary_key=True),
        sa.Column("window", sa.Text, nullable=False),
    )
    for name in ("buffered_sample", "buffered_event"):
        op.create_table(
            name,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("body", sa.Text, nullable=False),
        )
    op.create_table(
        "refusal",
        sa.Column("reason", sa.String(30), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
    )
