"""`seederfarm backup`, `restore`: the whole farm as a directory, without content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from hypercore.printable import visible
from workers import units

from ...backup.manifest import BackupFailed
from ...settings.env import COMMAND
from ..common.extras import FARM, require
from ..common.failures import Failure
from .checked_settings import settings
from .django_setup import open_farm
from .output import json_lines, json_option

PATH = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("directory", type=PATH, metavar="DIR")
@json_option
def backup(directory: Path, as_json: bool) -> None:
    """Write the registry, keys, secrets and settings into a new directory DIR. The farm may run.

    Content is not part of it: workers keep that. A person who can read DIR can act as the farm.
    """
    farm = open_farm()
    from ...backup.create import create

    with _failures(f"no backup was made of {farm.home}"):
        manifest = create(farm, directory)
    size = sum(file["bytes"] for file in manifest.files.values())
    if as_json:
        json_lines([{"directory": str(directory), "made_at": manifest.made_at, "bytes": size}])
        return
    click.echo(
        f"Backed up {visible(farm.home)} into {visible(directory)} "
        f"({units.plural(len(manifest.files), 'file')}, {units.format_size(size)}), readable by you only."
    )
    click.echo(
        "It holds the farm's keys and accounts: keep it safe, on another machine. "
        f"`{COMMAND} restore {visible(directory)}` reads it."
    )


@click.command()
@click.argument("directory", type=PATH, metavar="DIR")
@click.option("--replace", "replace_old", is_flag=True, help="Replace the farm that is there.")
@json_option
def restore(directory: Path, replace_old: bool, as_json: bool) -> None:
    """Restore the backup in DIR into SEEDERFARM_HOME and the database of the settings.

    Every file is checked first. The farm must not run. --replace keeps files that are in the way under other
    names, and deletes the tables of a PostgreSQL database.
    """
    require(FARM)
    home = settings().home
    from ...backup.restore import restore as restore_into

    with _failures(f"nothing was restored from {directory}"):
        done = restore_into(home, directory.absolute(), replace_old=replace_old)
    if as_json:
        json_lines(
            [
                {
                    "home": str(home),
                    "made_at": done.manifest.made_at,
                    "migrated": done.migrated,
                    "replaced": [str(path) for path in done.replaced],
                }
            ]
        )
        return
    made_at = datetime.fromisoformat(done.manifest.made_at)
    click.echo(f"Restored the farm as it was at {made_at:%Y-%m-%d %H:%M} UTC into {visible(home)}.")
    if done.migrated:
        click.echo(f"Migrated its registry to this version ({units.plural(len(done.migrated), 'step')}).")
    for path in done.replaced:
        click.echo(f"Kept what was there as {visible(path)}")
    click.echo(f"`{COMMAND} up -d` starts it.")


@contextmanager
def _failures(outcome: str) -> Iterator[None]:
    """Turn foreseeable errors into a failure of one line that begins with the outcome."""
    from django.db import Error as DatabaseError

    try:
        yield
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        raise Failure(f"{outcome}: the database reports: {reason}") from None
    except BackupFailed as error:
        raise Failure(f"{outcome}: {error}") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{outcome}: {where}{error.strerror or error}") from None
