"""`seederfarm verify`: read what is stored, hash it again, compare with what its writers signed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hypercore.core import Core, Store, disk_store
from hypercore.keys import encode_key
from workers.engine.kinds import inspect

from . import units
from .failures import Failure
from .options import GivenKey, data_option, key_argument, resolve_data

MAX_LISTED = 20
"""Damaged blocks named one by one, for each core."""


class Verdict(NamedTuple):
    """What was found in one core."""

    blocks: int
    bytes: int
    damaged: list[int]
    head_is_sound: bool

    @property
    def sound(self) -> bool:
        return self.head_is_sound and not self.damaged


@click.command()
@key_argument("keys", many=True, required=False)
@data_option
def verify(keys: tuple[GivenKey, ...], data: Path | None) -> None:
    """Read what is stored, hash it again and check it against the signed roots.

    Without a KEY, everything is checked. Blocks found damaged are dropped, so that the next `seed` fetches
    them again; then the exit status is 1.
    """
    directory = resolve_data(data)
    if not directory.exists():
        raise Failure(f"there is nothing at {directory}")
    with disk_store(directory) as store:
        sizes = {info.key: info.byte_length for info in store.cores() if info.length}
        cores = list(stored(store, keys)) if keys else list(sizes)
        failed = 0
        with progress(sum(sizes.get(key, 0) for key in cores)) as advance:
            for key in cores:
                failed += not check(store, key, advance)
    if failed:
        raise Failure(
            f"{units.plural(failed, 'core')} of {len(cores)} had damage; the damaged blocks are dropped, "
            "and `seederfarm seed` fetches them again"
        )
    click.echo(f"{units.plural(len(cores), 'core')} checked, all sound")


def stored(store: Store, keys: Iterable[GivenKey]) -> Iterator[bytes]:
    """The stored cores of these keys: for a drive, its blobs core too."""
    for key, label in keys:
        core = store.open_core(key, create=False)
        if core is None:
            raise Failure(f"{label} is not stored here")
        yield key
        found = inspect(key, core.manifest, core.get(0), core.get(1))
        second = found.blobs or found.probe
        if second is not None and store.open_core(second, create=False) is not None:
            yield second


def check(store: Store, key: bytes, advance: Callable[[int], None]) -> bool:
    """Check one core and say what was found. Whether it is sound."""
    core = store.open_core(key, create=False)
    assert core is not None
    had = core.bitfield.count
    verdict = examine(core, advance)
    of_all = units.count_of(verdict.blocks, core.length)
    name = encode_key(key)
    if verdict.sound:
        click.echo(f"{name} {of_all} blocks, {units.size(verdict.bytes)}: sound")
        store.close_core(core)
        return True
    if not verdict.head_is_sound:
        click.echo(f"{name} the signature of its head does not hold: nothing of it can be trusted")
    for index in verdict.damaged[:MAX_LISTED]:
        click.echo(f"{name} block {index} is damaged")
    if len(verdict.damaged) > MAX_LISTED:
        click.echo(f"{name} … and {len(verdict.damaged) - MAX_LISTED:,} more")
    lost = had - core.bitfield.count
    if lost:
        click.echo(f"{name} {units.plural(lost, 'block')} of {had:,} dropped")
    store.close_core(core)
    return False


def examine(core: Core, advance: Callable[[int], None]) -> Verdict:
    """Read and hash every block that is present."""
    before = core.bitfield.copy()
    size = blocks = 0
    head_is_sound = core.check_head()
    for index, sound in core.verify():
        if not sound:
            continue
        _, length = core.byte_range(index)
        blocks, size = blocks + 1, size + length
        advance(length)
    damaged = [index for run in before.runs() for index in range(*run) if not core.has(index)]
    return Verdict(blocks, size, damaged, head_is_sound)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr when somebody looks at it."""
    console = Console(stderr=True)
    if not console.is_terminal or not sys.stdout.isatty():
        yield lambda _: None
        return
    bar = Progress(
        TextColumn("checking"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
