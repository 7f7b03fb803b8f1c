"""`seederfarm init`, `export`, `import`, `config`, `dashboard`, `shell`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

import click

from ..cli.failures import BadInput, Failure
from ..settings import table
from ..settings.table import FarmSettings
from ..supervisor.table import address
from .keys import ACTOR, MAX_LISTED_ERRORS
from .setup import database_failures, open_farm
from .show import json_lines, json_option, plain, rows, table_of
from .up import settings

HIDDEN: Final = "(hidden)"


@click.command()
@json_option
def init(as_json: bool) -> None:
    """Make the database and the first account, without starting anything. Safe to repeat."""
    farm = settings()
    env = {**os.environ, "SEEDERFARM_HOME": str(farm.home)}
    done = subprocess.run(
        [sys.executable, "-m", "seederfarm.supervisor.prepare"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failure(done.stderr.strip() or f"preparing the database ended with status {done.returncode}")
    said = json.loads(done.stdout.splitlines()[-1])
    if as_json:
        json_lines([{"home": str(farm.home), **said}])
        return
    if said["admin"] is not None:
        click.echo(f"Made an account: name {said['admin']['username']}, password {said['admin']['password']}")
        click.echo("This is shown once.")
    click.echo(f"The farm in {farm.home} is ready to start: `seederfarm up`.")


@click.command()
@click.option(
    "-o", "--output", type=click.File("w", encoding="utf-8", atomic=True), default="-", help="A file."
)
@click.option("--seeds", is_flag=True, help="As a seeds.txt: kinds and keys alone.")
def export(output: TextIO, seeds: bool) -> None:
    """Write every key with what was said of it, one JSON object a line; `import` reads it."""
    open_farm()
    with database_failures():
        for drive in _exported():
            if seeds:
                kind = f"{drive['kind']} " if drive["kind"] else ""
                output.write(f"{kind}{drive['key']}\n")
            else:
                output.write(json.dumps(drive) + "\n")


def _exported() -> Iterator[dict[str, Any]]:
    from ..registry.models import Drive

    found = Drive.objects.exclude(state=Drive.State.REMOVING).order_by("pk").prefetch_related("tags")
    for drive in found.iterator(chunk_size=500):
        yield {
            "key": drive.key,
            "kind": drive.kind or None,
            "label": drive.label,
            "tags": sorted(tag.name for tag in drive.tags.all()),
            "required_tags": drive.required_tags,
            "replicas": [drive.replicas_min, drive.replicas_max],
            "priority": drive.priority,
        }


@click.command(name="import")
@click.argument("file", type=click.File(encoding="utf-8"))
@json_option
def import_keys(file: TextIO, as_json: bool) -> None:
    """Register the keys of a file that `export` wrote; - is stdin. Those that are known stay as they are."""
    entries = list(_entries(file))
    open_farm()
    from django.core.exceptions import ValidationError
    from django.db import transaction

    from ..registry.services.keys import add_keys

    added = known = 0
    with database_failures(), transaction.atomic():
        for number, entry in entries:
            try:
                result = add_keys([f"{entry.pop('kind')} {entry.pop('key')}".strip()], **entry, actor=ACTOR)
            except ValidationError as error:
                raise BadInput(f"line {number}: {' '.join(error.messages)}. Nothing was added.") from None
            for item in result.malformed:
                raise BadInput(f"line {number}: {item.error}. Nothing was added.")
            added += len(result.added)
            known += len(result.existing)
    if as_json:
        json_lines([{"added": added, "known": known}])
    else:
        click.echo(f"Added {added:,}, knew {known:,}.")


def _entries(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Checked as far as it goes without the registry. Raises BadInput; nothing was added then."""
    wrong = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            yield number, _entry(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            wrong.append(f"line {number}: {reason}")
    if wrong:
        more = [f"… and {len(wrong) - MAX_LISTED_ERRORS:,} more"] if len(wrong) > MAX_LISTED_ERRORS else []
        raise BadInput("\n".join((*wrong[:MAX_LISTED_ERRORS], *more, "Nothing was added.")))


def _entry(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object, as `export` writes it")
    least, most = data.get("replicas") or (1, 1)
    texts = {name: data.get(name) or "" for name in ("kind", "label")}
    lists = {name: data.get(name) or [] for name in ("tags", "required_tags")}
    priority = data.get("priority", 5)
    if not all(isinstance(text, str) for text in (data["key"], *texts.values())):
        raise ValueError("key, kind and label are texts")
    for tags in lists.values():
        if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
            raise ValueError("tags are lists of words")
    if texts["kind"] not in ("", "core", "bee", "drive"):
        raise ValueError(f"{texts['kind'][:20]!r} is no kind: core, bee or drive")
    if not all(type(number) is int for number in (least, most, priority)):
        raise ValueError("replicas and priority are whole numbers")
    if not (1 <= least <= most <= 1000 and 0 <= priority <= 9):
        raise ValueError("replicas are 1 to 1000, the larger number last; priority is 0 to 9")
    return {"key": data["key"], **texts, **lists, "replicas": (least, most), "priority": priority}


@click.group()
def config() -> None:
    """Settings of the farm."""


@config.command(name="get")
@click.argument("name", required=False, metavar="[NAME]")
@json_option
def config_get(name: str | None, as_json: bool) -> None:
    """Show settings as they are in force; values of secrets are not shown."""
    farm = settings()
    wanted = [row for row in table.TABLE if name is None or name.upper() in _names(row)]
    if not wanted:
        raise BadInput(f"{name!r} is no setting; `seederfarm config get` lists all")
    if as_json:
        json_lines({"name": row.name, "value": _shown(row, farm), "help": row.help} for row in wanted)
    elif name is not None:
        click.echo(_shown(wanted[0], farm))
    else:
        grid = table_of("name", "value")
        for row in wanted:
            grid.add_row(row.name, plain(_shown(row, farm)))
        rows(grid)


def _names(row: table.Setting) -> tuple[str, str]:
    return row.name, row.name.removeprefix("SEEDERFARM_")


def _shown(row: table.Setting, farm: FarmSettings) -> str:
    value = getattr(farm, row.attribute)
    if value == row.default and row.attribute != "home":
        return row.shown
    if row.secret:
        return HIDDEN
    if isinstance(value, tuple):
        return (":" if row.attribute == "replicas" else ",").join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@click.command()
@click.option("--open", "browse", is_flag=True, help="Open it in a browser.")
def dashboard(browse: bool) -> None:
    """Print where the pages are."""
    where = address(settings())
    click.echo(where)
    if browse and click.launch(where) != 0:
        raise Failure("no browser could be started")


@click.command()
def shell() -> None:
    """A Python prompt with the registry at hand."""
    open_farm()
    from django.core.management import call_command

    call_command("shell")
