"""`seederfarm import blind-peer`: take over an official blind peer, so that apps need not change."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from hypercore.blindpeer import CoreRecord
from hypercore.core import disk_store
from hypercore.crypto import KeyPair
from hypercore.keys import encode_key
from hypercore.printable import json_text, quoted
from workers import units
from workers.engine.blindpeer.official import (
    AUTH,
    CORES,
    NotABlindPeer,
    Taken,
    read_cores,
    read_seed,
    take_over,
)
from workers.engine.blindpeer.records import RecordTable
from workers.engine.settings.identity import IDENTITY_FILE, keep_secret

from ..common.failures import BadInput, Failure
from ..common.options import data_option, resolve_data


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_blind_peer(directory: Path, data: Path | None, as_json: bool) -> None:
    """Take over the key and the cores of an official blind peer, which must be stopped.

    DIR is its storage. Its blocks are not copied: apps send all of their cores again when they connect.
    """
    target = resolve_data(data)
    with _opened(directory) as storage:
        try:
            seed = read_seed(storage.get(AUTH))
            # Read twice, since there may be millions: nothing is written before all are known to be sound
            for _ in read_cores(_items(storage, CORES)):
                pass
        except NotABlindPeer as error:
            raise BadInput(f"{quoted(str(directory))} is not the storage of a blind peer: {error}") from None
        taken = _take_over(read_cores(_items(storage, CORES)), seed, target)
    key = KeyPair.from_seed(seed).public_key
    if as_json:
        click.echo(json_text({"blind_peer": key.hex(), **taken._asdict()}))
        return
    click.echo(f"blind peer {encode_key(key)}")
    click.echo(f"{units.plural(taken.new, 'core')} taken over, {taken.known:,} known before")
    if taken.refused:
        click.echo(f"{units.plural(taken.refused, 'core')} not taken over: there are too many", err=True)
    if taken.removed:
        click.echo(f"{units.plural(taken.removed, 'old core')} without content removed for them", err=True)
    click.echo(f"start it: seederfarm seed --blind-peer --data {quoted(str(target))}")


def _take_over(cores: Iterable[CoreRecord], seed: bytes, target: Path) -> Taken:
    """Make a blind peer in `target`, with these cores. Raises Failure if it has a key already."""
    store = disk_store(target)
    try:
        try:
            keep_secret(target / IDENTITY_FILE, seed)
        except FileExistsError:
            raise Failure(
                f"{quoted(str(target))} has a key already: name another directory with --data. "
                "Nothing was imported."
            ) from None
        taken = take_over(cores, RecordTable(store), int(time.time() * 1000))
        store.flush()
    finally:
        store.close()
    return taken


@contextmanager
def _opened(directory: Path) -> Iterator[Any]:
    """The database, read-only. Raises Failure while its blind peer runs, BadInput for another directory."""
    try:
        import rocksdict
    except ModuleNotFoundError:
        raise Failure(
            "this command needs the package 'rocksdict', which is not installed: "
            f"{quoted(sys.executable)} -m pip install rocksdict"
        ) from None
    if not (directory / "CURRENT").is_file():
        raise BadInput(f"{quoted(str(directory))} is not the storage of a blind peer: it has no database")
    with _stopped(directory):
        try:
            database = rocksdict.Rdict(
                str(directory),
                rocksdict.Options(raw_mode=True),
                access_type=rocksdict.AccessType.read_only(),
            )
        except Exception as error:  # its only kind of error
            raise Failure(f"cannot read {quoted(str(directory))}: {error}") from None
        try:
            yield database
        finally:
            database.close()


@contextmanager
def _stopped(directory: Path) -> Iterator[None]:
    """Hold the lock of the database. Two servers of one key would take each other's clients."""
    try:
        lock = (directory / "LOCK").open("r+b")
    except OSError:  # a copy without it, or one that may only be read
        yield
        return
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure(f"the blind peer in {quoted(str(directory))} still runs: stop it first") from None
        yield


def _items(database: Any, first: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names that begin with these bytes, and their values."""
    for name, value in database.items(from_key=first):
        if not name.startswith(first):
            return
        yield name, value
