"""The farm's database in tests, SQLite and PostgreSQL alike: migrated once, each test in a transaction or
flushed."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from seederfarm.settings import base, env, table

from .postgres import Postgres

_STAYING: Final = {"django_migrations", "django_content_type", "auth_permission"}
"""Tables that tests do not write to."""


def migrated_once(path: Path, shared: Path) -> str:
    """URL of a migrated SQLite file at `path`. Processes of one run migrate one between them, `shared`, and
    copy it."""
    url = f"sqlite:///{path}"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            database = FarmDatabase(f"sqlite:///{shared}")
            database.close()
    with closing(sqlite3.connect(shared)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    return url


def migrated_on(server: Postgres) -> str:
    """URL of the migrated database `farm` of this server, a copy of one that is migrated once."""
    if server.template is None:
        FarmDatabase(server.create_database("migrated")).close()
        server.template = "migrated"
    return server.create_database("farm", template=server.template)


class FarmDatabase:
    """A migrated database that can take the place of `default`.

    Django has one pool for `default`, whatever database that is: only one at a time may be `pooled`.
    """

    def __init__(self, url: str, *, pooled: bool = True, migrate: bool = True) -> None:
        self.url = url
        farm = table.FarmSettings(database=env.database(url))
        given = base.database(farm, wrong=False)
        if not pooled:
            given["OPTIONS"].pop("pool", None)
        self.settings: dict[str, Any] = connections.configure_settings({"default": given})["default"]
        backend = load_backend(given["ENGINE"])
        self.wrapper: BaseDatabaseWrapper = backend.DatabaseWrapper(self.settings, "default")
        if migrate:
            with self.in_place():
                call_command("migrate", verbosity=0)

    @property
    def vendor(self) -> str:
        return self.wrapper.vendor

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Make it Django's `default`, in this thread and in those that begin meanwhile."""
        before, settings_before = connections["default"], connections.settings["default"]
        connections["default"] = self.wrapper
        connections.settings["default"] = self.settings
        ContentType.objects.clear_cache()
        try:
            yield
        finally:
            connections["default"] = before
            connections.settings["default"] = settings_before
            ContentType.objects.clear_cache()

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        with self.in_place(), transaction.atomic():
            try:
                yield
            finally:
                transaction.set_rollback(True)

    @contextmanager
    def flushed(self) -> Iterator[None]:
        """For tests that need real commits, or other threads."""
        with self.in_place():
            try:
                yield
            finally:
                self._empty()

    def _empty(self) -> None:
        """As `manage.py flush`, which takes up to a second: it truncates every table and makes permissions
        anew. Here only tables with rows are emptied, and permissions stay."""
        ops = self.wrapper.ops
        filled = " UNION ALL ".join(
            f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {name})" for table, name in self._tables.items()
        )
        with transaction.atomic(), self.wrapper.cursor() as cursor:
            cursor.execute(filled)
            found = {table for (table,) in cursor.fetchall()}
            for table in found:  # in any order: foreign keys are checked at the end
                cursor.execute(f"DELETE FROM {self._tables[table]}")
            sequences = [row for row in self._sequences if row["table"] in found]
            for statement in ops.sequence_reset_by_name_sql(no_style(), sequences):
                cursor.execute(statement)

    @cached_property
    def _tables(self) -> dict[str, str]:
        """Those that tests write to, and how SQL names them."""
        found = self.wrapper.introspection.django_table_names(only_existing=True, include_views=False)
        return {table: self.wrapper.ops.quote_name(table) for table in sorted(set(found) - _STAYING)}

    @cached_property
    def _sequences(self) -> list[Any]:
        return list(self.wrapper.introspection.sequence_list())

    def close(self) -> None:
        self.wrapper.close()
        close_pool = getattr(self.wrapper, "close_pool", None)
        if close_pool is not None and self.settings["OPTIONS"].get("pool"):
            close_pool()
