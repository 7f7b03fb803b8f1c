"""Puts a backup in the place of a farm, in a process of its own: settings are read as they will be then."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from workers import units

from ..settings.env import SettingsWrong
from ..settings.load import load
from ..settings.secrets import private_directory
from ..settings.table import FarmSettings
from ..supervisor.home import AlreadyRunning, RunFiles
from . import home_files, tables
from .manifest import BackupFailed, Manifest, read

STAGE: Final = "restore.new"
LEAVE_WAIT: Final = 5.0
"""Seconds that connections of processes that have just ended may still be there."""
SQLITE_SUFFIXES: Final = ("", "-wal", "-shm")
REMADE: Final = ("secrets/redis.crt", "secrets/redis.key", "secrets/redis.names")
"""Signed by the authority that was there before: made again from the restored one."""


class Restored(NamedTuple):
    """The result of a restore."""

    manifest: Manifest
    migrated: list[str]
    replaced: list[Path]
    """Where files are now that were in the way."""


def restore(home: Path, source: Path, *, replace_old: bool = False) -> Restored:
    """Restore into `home` and the database that the settings name. Django must not be set up yet.

    Raises BackupFailed, OSError, django.db.Error; home and database are unchanged then.
    """
    manifest = read(source)
    made_home = not home.exists()
    files = RunFiles(home)
    stage = home / STAGE
    old_mask = os.umask(0o077)
    try:
        private_directory(home)
        with _stopped(files):
            shutil.rmtree(stage, ignore_errors=True)  # of a restore that was killed
            staged = [name for name in manifest.files if name.startswith("home/")]
            for name in staged:
                home_files.copy(source / name, stage / name.removeprefix("home/"))
            farm = _settings(home, stage)
            if farm.database.engine != manifest.database:
                raise BackupFailed(
                    f"it is of a farm on {manifest.database}, and DATABASE_URL names {farm.database.engine}: "
                    "set it to a database of the same kind"
                )
            names = [name.removeprefix("home/") for name in staged]
            if farm.database.engine == "sqlite":
                return _with_sqlite(farm, source, manifest, names, replace_old=replace_old)
            return _with_postgresql(farm, source, manifest, names, replace_old=replace_old)
    finally:
        os.umask(old_mask)
        shutil.rmtree(stage, ignore_errors=True)
        if made_home and not (home / home_files.CONTROL_KEY).exists():
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _stopped(files: RunFiles) -> Iterator[None]:
    """Hold the farm's locks, so that it does not start meanwhile. Raises BackupFailed while it runs."""
    try:
        files.take()
    except AlreadyRunning as error:
        raise BackupFailed(str(error)) from None
    try:
        yield
    finally:
        files.give_up()


def _settings(home: Path, stage: Path) -> FarmSettings:
    """The settings with the restored files, for this process and Django in it. Raises BackupFailed."""
    os.environ["SEEDERFARM_HOME"] = str(stage)
    try:
        farm = load().checked()
    except SettingsWrong as error:
        raise BackupFailed(f"its settings are wrong here: {error}") from None
    return replace(farm, home=home)


def _with_sqlite(
    farm: FarmSettings, source: Path, manifest: Manifest, names: list[str], *, replace_old: bool
) -> Restored:
    target = farm.database_path
    beside = target.with_name(f".{target.name}.restore")
    try:
        _refuse_files(farm.home, [*(farm.home / name for name in names), target], replace_old=replace_old)
        for suffix in SQLITE_SUFFIXES:
            beside.with_name(beside.name + suffix).unlink(missing_ok=True)
        home_files.copy(source / "registry.sqlite3", beside)
        os.environ["DATABASE_URL"] = f"sqlite:///{quote(str(beside))}"
        os.environ.pop("DATABASE_URL_FILE", None)
        _set_up(manifest)
        migrated = _migrate()
        from django.db import connections

        connections.close_all()
        tables.join_wal(beside)
        moves = [(farm.home / STAGE / name, farm.home / name) for name in names]
        with _moved(farm.home, [*moves, (beside, target)]) as replaced:
            pass
        return Restored(manifest, migrated, replaced)
    finally:
        for suffix in SQLITE_SUFFIXES:
            beside.with_name(beside.name + suffix).unlink(missing_ok=True)


def _with_postgresql(
    farm: FarmSettings, source: Path, manifest: Manifest, names: list[str], *, replace_old: bool
) -> Restored:
    _refuse_files(farm.home, [farm.home / name for name in names], replace_old=replace_old)
    os.environ.update(SEEDERFARM_DATABASE_POOL="1")  # more of our own would count as another's
    _set_up(manifest)
    from django.db import connection, transaction

    _refuse_used(farm, replace_old=replace_old)
    moves = [(farm.home / STAGE / name, farm.home / name) for name in names]
    with ExitStack() as undo, transaction.atomic():
        tables.load_postgresql(connection, source / "registry", manifest.tables, manifest.migrations)
        migrated = _migrate()
        # Ends after the commit: files move back if that fails
        replaced = undo.enter_context(_moved(farm.home, moves))
    return Restored(manifest, migrated, replaced)


def _set_up(manifest: Manifest) -> None:
    """Set Django up. Raises BackupFailed for a backup of a newer version."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
    import django

    django.setup()
    from django.db.migrations.loader import MigrationLoader

    known = MigrationLoader(None).disk_migrations
    apps = {app for app, _ in known}
    applied = [(app, name) for app, name in manifest.migrations if app in apps]
    unknown = [f"{app}.{name}" for app, name in applied if (app, name) not in known]
    if unknown:
        raise BackupFailed(
            f"it was made by a newer version of Seeder Farm ({manifest.software}; {', '.join(unknown)}): "
            "restore it with that version"
        )


def _migrate() -> list[str]:
    """Migrate the default database to this version. Returns the migrations that were new to it."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        call_command("migrate", verbosity=0, interactive=False)
    return [str(migration) for migration, _ in plan]


def _refuse_used(farm: FarmSettings, *, replace_old: bool) -> None:
    """Raises BackupFailed for a PostgreSQL database that is in use, newer, or not empty."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    from ..supervisor.prepare import NotReady, refuse_newer

    until = time.monotonic() + LEAVE_WAIT
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND usename = current_user AND pid <> pg_backend_pid()"
            )
            others = cursor.fetchone()[0]
            if not others or time.monotonic() > until:
                break
            time.sleep(0.2)
    if others:
        raise BackupFailed(
            f"{units.plural(others, 'other connection')} of this user to the database {farm.database.name}: "
            "stop the processes of the farm first"
        )
    loader = MigrationExecutor(connection).loader
    try:
        refuse_newer(loader)
    except NotReady as error:
        raise BackupFailed(str(error)) from None
    if loader.applied_migrations and not replace_old:
        raise BackupFailed(
            f"the database {farm.database.name} has a farm in it: --replace deletes that; back it up first"
        )


def _refuse_files(home: Path, wanted: Iterable[Path], *, replace_old: bool) -> None:
    """Raises BackupFailed where files of a farm are in the way."""
    there = [path for path in (*_single_files(home), *wanted) if os.path.lexists(path)]
    if there and not replace_old:
        raise BackupFailed(
            f"there is a farm in {home} ({there[0]} exists): --replace keeps its files under other names and "
            "puts the backup in their place"
        )


def _single_files(home: Path) -> list[Path]:
    return [home / name for name in home_files.SINGLE_FILES]


@contextmanager
def _moved(home: Path, moves: list[tuple[Path, Path]]) -> Iterator[list[Path]]:
    """Move files to their places, and what is there to other names; undone when the body fails. Yields the
    other names."""
    done: list[tuple[Path, Path]] = []
    replaced: list[Path] = []
    suffix = f"{home_files.REPLACED}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"

    def move(old: Path, new: Path) -> None:
        old.rename(new)
        done.append((old, new))

    def put_aside(path: Path, end: str = "") -> None:
        full = path.with_name(path.name + end)
        if os.path.lexists(full):
            # A database finds its -wal by its own name
            move(full, path.with_name(path.name + suffix + end))
            replaced.append(done[-1][1])

    try:
        remade = [home / name for name in REMADE]
        for path in dict.fromkeys((*_single_files(home), *remade, *(new for _, new in moves))):
            for end in SQLITE_SUFFIXES:
                put_aside(path, end)
        for staged, target in moves:
            private_directory(target.parent)
            move(staged, target)
        for folder in {target.parent for _, target in moves}:
            home_files.sync(folder)
        yield replaced
    except BaseException:
        for old, new in reversed(done):
            with suppress(OSError):
                new.rename(old)
        raise
