"""Run by Alembic: migrates over the connection that `State` hands in."""

from __future__ import annotations

from alembic import context

from workers.state.models import Base

connection = context.config.attributes["connection"]
# SQLite cannot change columns in place; batch mode copies the table.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
