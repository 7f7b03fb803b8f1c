"""Migrates a database to the newest schema."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

SCRIPTS = Path(__file__).parent / "migrations"
NEWEST: Final = "0001"
"""The last revision of the scripts."""


class SchemaTooNew(Exception):
    """The database was written by a newer version of this program."""


def migrate(connection: Connection) -> None:
    """Apply all missing steps. Raises SchemaTooNew."""
    if _revision(connection) == NEWEST:
        return
    # Imported here: Alembic has 11 MB, and most starts change nothing
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = _revision(connection)
    if current is not None and current not in {each.revision for each in script.walk_revisions()}:
        raise SchemaTooNew(f"its schema is {current}, the newest known here is {script.get_current_head()}")
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """That of the database, where Alembic keeps it. None: it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
