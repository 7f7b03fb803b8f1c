"""The registry as files: a SQLite file, or the tables of a PostgreSQL database through COPY.

COPY needs no `pg_dump`, whose version would have to be that of the server, and all tables are read in one
snapshot.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import home_files
from .manifest import BackupFailed

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.loader import MigrationLoader

CHUNK: Final = 1 << 20
MIGRATIONS: Final = "django_migrations"


def save_sqlite(database: Path, target: Path) -> None:
    """Copy the file, consistent while others write. Raises BackupFailed for a damaged one, OSError."""
    home_files.create(target).close()
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it
            (state,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupFailed(f"{database} cannot be copied to {target}: {error}") from None
    if state != "ok":
        raise BackupFailed(f"{database} is damaged: {state}")
    home_files.sync(target)


def join_wal(database: Path) -> None:
    """Make a closed SQLite database one file, on disk. Raises BackupFailed, OSError."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise BackupFailed(f"the registry cannot be written: {error}") from None
    home_files.sync(database)


def sqlite_migrations(database: Path) -> list[list[str]]:
    """The applied migrations of a SQLite file. Raises BackupFailed."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(f"SELECT app, name FROM {MIGRATIONS} ORDER BY id").fetchall()
    except sqlite3.Error as error:
        raise BackupFailed(f"{database} cannot be read: {error}") from None
    return [list(row) for row in rows]


def columns_at(loader: MigrationLoader, applied: list[list[str]]) -> dict[str, list[str]]:
    """The tables after these migrations, and their columns that hold data of their own."""
    known = [key for app, name in applied if (key := (app, name)) in loader.disk_migrations]
    models = loader.project_state(known).apps.get_models(include_auto_created=True)
    return {
        model._meta.db_table: [
            str(field.column) for field in model._meta.local_concrete_fields if not field.generated
        ]
        for model in models
        if model._meta.managed and not model._meta.proxy
    }


def save_postgresql(folder: Path) -> tuple[dict[str, list[str]], list[list[str]]]:
    """Write each table of the default database into a file below `folder`, all as of one moment. Returns
    tables with their columns, and the applied migrations. Raises OSError, django.db.Error."""
    from django.db import connection, transaction
    from django.db.migrations.executor import MigrationExecutor
    from psycopg import sql

    folder.mkdir(mode=0o700)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SELECT app, name FROM {MIGRATIONS} ORDER BY id")
            applied = [list(row) for row in cursor.fetchall()]
        tables = columns_at(MigrationExecutor(connection).loader, applied)
        for table, columns in tables.items():
            statement = sql.SQL("COPY {} ({}) TO STDOUT").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            path = folder / f"{table}.copy"
            raw: Any = connection.connection
            with (
                connection.wrap_database_errors,
                home_files.create(path) as file,
                raw.cursor() as cursor,
                cursor.copy(statement) as rows,
            ):
                for block in rows:
                    file.write(block)
            home_files.sync(path)
    return tables, applied


def load_postgresql(
    connection: BaseDatabaseWrapper, folder: Path, tables: dict[str, list[str]], applied: list[list[str]]
) -> None:
    """Make the tables as of these migrations and fill them, within the caller's transaction. Raises OSError,
    django.db.Error, BackupFailed."""
    from django.db.migrations.executor import MigrationExecutor
    from psycopg import sql

    executor = MigrationExecutor(connection)
    expected = columns_at(executor.loader, applied)
    if {name: set(columns) for name, columns in tables.items()} != {
        name: set(columns) for name, columns in expected.items()
    }:
        raise BackupFailed("its tables are not those of its migrations in this version of Seeder Farm")
    drop_tables(connection)
    executor = MigrationExecutor(connection)
    executor.migrate(_last(executor.loader, applied))
    with connection.cursor() as cursor:
        names = sql.SQL(", ").join(map(sql.Identifier, tables))
        cursor.execute(sql.SQL("TRUNCATE {}").format(names))
    for table, columns in tables.items():
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        raw: Any = connection.connection
        path = folder / f"{table}.copy"
        with (
            connection.wrap_database_errors,
            path.open("rb") as file,
            raw.cursor() as cursor,
            cursor.copy(statement) as rows,
        ):
            while block := file.read(CHUNK):
                rows.write(block)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a reference to nothing fails here
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table, columns in tables.items():
            for column in columns:
                cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{table}"', column])
                if (sequence := cursor.fetchone()[0]) is not None:
                    cursor.execute(
                        sql.SQL("SELECT setval(%s, COALESCE(max({0}), 0) + 1, false) FROM {1}").format(
                            sql.Identifier(column), sql.Identifier(table)
                        ),
                        [sequence],
                    )


def drop_tables(connection: BaseDatabaseWrapper) -> None:
    """Drop our tables, and no others."""
    from django.db.migrations.executor import MigrationExecutor
    from psycopg import sql

    loader = MigrationExecutor(connection).loader
    applied = [list(key) for key in loader.applied_migrations]
    ours = {*columns_at(loader, applied), MIGRATIONS} & set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in sorted(ours):
            cursor.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(table)))


def _last(loader: MigrationLoader, applied: list[list[str]]) -> list[tuple[str, str]]:
    """Of each app the migrations that no other applied one follows."""
    known = {key for app, name in applied if (key := (app, name)) in loader.disk_migrations}
    followed = {
        parent for key in known for parent in loader.disk_migrations[key].dependencies if parent[0] == key[0]
    }
    return sorted(known - followed)
