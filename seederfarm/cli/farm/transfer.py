"""`seederfarm export` and `import`: keys and sources as a file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from hypercore.printable import json_text
from workers import units

from ..common.failures import BadInput, Failure
from .django_setup import ACTOR, database_failures, open_farm
from .output import MAX_LISTED_ERRORS, json_lines, json_option, plain


@click.command()
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="-",
    help="File to write, readable by its owner only (default: stdout).",
)
@click.option("--seeds", is_flag=True, help="Write a seeds.txt: kinds and keys only.")
@click.option(
    "--secrets", is_flag=True, help="Include HTTP headers, secrets of channels, logins and tokens in URLs."
)
def export(output: str, seeds: bool, secrets: bool) -> None:
    """Write drives, sources and what is set about alerts, one JSON object a line, for `import`.

    Without --secrets, sources and channels that have some come switched off.
    """
    open_farm()
    from ...registry.services import transfer

    with database_failures(), _written(output) as file:
        for line in transfer.export(secrets=secrets):
            if not seeds:
                file.write(json_text(line) + "\n")
            elif "key" in line:
                kind = f"{line['kind']} " if line["kind"] else ""
                file.write(f"{kind}{line['key']}\n")


@contextmanager
def _written(name: str) -> Iterator[TextIO]:
    """Standard output for `-`, else a file with mode 0600 that appears when it is complete.

    Raises Failure when it cannot be written; an older file stays then.
    """
    if name == "-":
        yield sys.stdout
        return
    path = Path(name)
    if path.exists() and not path.is_file():  # /dev/null, a pipe
        with _named(path), path.open("w", encoding="utf-8") as file:
            yield file
        return
    path = path.resolve()  # a link stays one
    with _named(path):
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 already
    try:
        with _named(path), os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _named(path):
            Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}. Nothing was exported.") from None


@click.command(name="file")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--strict", is_flag=True, help="Import nothing if any line is not understood.")
@json_option
def import_file(file: TextIO, strict: bool, as_json: bool) -> None:
    """Register what is in a file that `export` wrote; - is stdin.

    Known ones stay unchanged. A damaged line imports nothing. Lines that name an unknown worker, owner or
    source are reported and left out.
    """
    open_farm()
    from django.db import transaction

    from ...registry.exportfile import Unreadable, read
    from ...registry.services import transfer

    try:
        document = read(file)
        with database_failures(), transaction.atomic():
            result = transfer.import_document(document, ACTOR)
            if strict and result.problems:
                raise Unreadable(result.problems)
    except UnicodeDecodeError:
        raise BadInput("the file is not text (UTF-8). Nothing was imported.") from None
    except Unreadable as error:
        raise BadInput("\n".join((*_first(error.problems), "Nothing was imported."))) from None
    if as_json:
        done = {
            "added": result.added,
            "known": result.known,
            "sources_added": result.sources_added,
            "sources_known": result.sources_known,
            "alerting_added": result.alerting_added,
        }
        json_lines([{**done, "problems": [problem._asdict() for problem in result.problems]}])
        return
    click.echo(f"Added {units.plural(result.added, 'key')}; {result.known:,} were registered already.")
    if result.sources_added or result.sources_known:
        added = units.plural(result.sources_added, "source")
        click.echo(f"Added {added}; {result.sources_known:,} were registered already.")
    if result.alerting_added:
        number = result.alerting_added
        click.echo(
            f"Added {units.plural(number, 'channel, rule or silence', 'channels, rules and silences')}."
        )
    for problem in _first(result.problems):
        click.echo(plain(problem), err=True)


def _first(problems: Sequence[object]) -> list[str]:
    """The first problems, as many as a person reads."""
    more = len(problems) - MAX_LISTED_ERRORS
    lines = [str(plain(problem)) for problem in problems[:MAX_LISTED_ERRORS]]
    return [*lines, f"… and {more:,} more"] if more > 0 else lines
