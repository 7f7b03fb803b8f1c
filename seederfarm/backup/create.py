"""Makes a backup of a farm that may run."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..settings.env import COMMAND
from ..settings.table import FarmSettings
from . import home_files, tables
from .manifest import BackupFailed, Manifest, describe


def create(farm: FarmSettings, target: Path) -> Manifest:
    """Back the farm up into a new directory, which appears when it is complete. Django is set up.

    Raises BackupFailed, OSError, django.db.Error; the directory does not exist then.
    """
    target = target.absolute()
    if os.path.lexists(target):
        raise BackupFailed(f"{target} exists already: name a directory that does not")
    folder = target.with_name(f"{target.name}.new")
    if not (farm.home / home_files.CONTROL_KEY).is_file():
        raise BackupFailed(
            f"{farm.home / home_files.CONTROL_KEY} is missing, and workers obey only it: `{COMMAND} init` "
            "makes one if the farm never had one"
        )
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise BackupFailed(
            f"{folder} exists already: another backup writes it, or one was killed; delete it then"
        ) from None
    old_mask = os.umask(0o077)
    try:
        manifest = _fill(farm, folder)
        manifest.write(folder)
        for path in (folder / "manifest.json", folder):
            home_files.sync(path)
        folder.rename(target)
        home_files.sync(target.parent)
    finally:
        os.umask(old_mask)
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def software() -> str:
    """The version of the distribution."""
    try:
        return version("seederfarm")
    except PackageNotFoundError:
        return "unknown"


def _fill(farm: FarmSettings, folder: Path) -> Manifest:
    # The registry first: a key or secret that it needs was on disk before it
    columns: dict[str, list[str]] = {}
    if farm.database.engine == "sqlite":
        tables.save_sqlite(farm.database_path, folder / "registry.sqlite3")
        applied = tables.sqlite_migrations(folder / "registry.sqlite3")
    else:
        columns, applied = tables.save_postgresql(folder / "registry")
    for name in home_files.names(farm.home):
        home_files.copy(farm.home / name, folder / "home" / name)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return Manifest(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        software=software(),
        database=farm.database.engine,
        migrations=applied,
        files={path.relative_to(folder).as_posix(): describe(path) for path in found},
        tables=columns,
    )
