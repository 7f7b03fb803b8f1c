"""Up to which fork the writer of a key is followed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """None, as before: onto any."""
    op.add_column("entry", sa.Column("max_fork", sa.Integer))
