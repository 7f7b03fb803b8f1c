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

from hypercore.core import Core, Store, read_only_store
from hypercore.keys import encode_key
from workers import units
from workers.engine.model.kind import inspect

from ...settings.env import COMMAND
from ..common.failures import Failure
from ..common.options import GivenKey, data_option, key_argument, resolve_data
from .data_directory import open_store, require_store

MAX_LISTED = 20
"""Damaged blocks named one by one, for each core."""


class Verdict(NamedTuple):
    """The result for one core."""

    blocks: int
    bytes: int
    damaged: list[int]
    head_is_sound: bool

    @property
    def sound(self) -> bool:
        """Whether the signature and every stored block are right."""
        return self.head_is_sound and not self.damaged


@click.command()
@key_argument("keys", many=True, required=False)
@data_option
def verify(keys: tuple[GivenKey, ...], data: Path | None) -> None:
    """Read what is stored, hash it again and check it against the signed roots.

    Without a KEY, everything is checked. Blocks found damaged are dropped, so that the next `seed` fetches
    them again; then the exit status is 1. Where the directory can only be read, or an engine runs on it, they
    are named and kept.
    """
    directory = resolve_data(data)
    require_store(directory)
    store, reason = open_store(directory)
    again = None if reason is None else lambda key: _open_again(directory, key)
    with store:
        sizes = {info.key: info.byte_length for info in store.cores() if info.length}
        cores = list(stored(store, keys)) if keys else list(sizes)
        failed = 0
        with progress(sum(sizes.get(key, 0) for key in cores)) as advance:
            for key in cores:
                failed += not check(store, key, advance, again)
    if failed and reason is not None:
        raise Failure(
            f"{units.plural(failed, 'core')} of {len(cores)} had damage. Nothing was dropped, since "
            f"{directory} is only read here: {reason}"
        )
    if failed:
        raise Failure(
            f"{units.plural(failed, 'core')} of {len(cores)} had damage; the damaged blocks are dropped, "
            f"and `{COMMAND} seed` fetches them again"
        )
    click.echo(f"{units.plural(len(cores), 'core')} checked, all sound")


def stored(store: Store, keys: Iterable[GivenKey]) -> Iterator[bytes]:
    """The stored cores of these keys: of a drive, also its blobs core."""
    for key, label in keys:
        core = store.open_core(key, create=False)
        if core is None:
            raise Failure(f"{label} is not stored here")
        yield key
        found = inspect(key, core.manifest, core.get(0), core.get(1))
        second = found.blobs or found.probe
        if second is not None and store.open_core(second, create=False) is not None:
            yield second


def _open_again(directory: Path, key: bytes) -> Iterator[Core]:
    """The core as it is now."""
    with read_only_store(directory) as store:
        core = store.open_core(key, create=False)
        if core is not None:
            yield core


def check(
    store: Store,
    key: bytes,
    advance: Callable[[int], None],
    again: Callable[[bytes], Iterable[Core]] | None = None,
) -> bool:
    """Check one core and print the result. Returns whether it is sound.

    `again` reopens a core of a read-only store: a running engine may have dropped or replaced what looks
    damaged.
    """
    core = store.open_core(key, create=False)
    assert core is not None
    had = core.bitfield.count
    verdict = examine(core, advance)
    if again is not None and verdict.damaged:
        verdict = verdict._replace(
            damaged=[index for index in verdict.damaged if _is_damaged(again(key), index)]
        )
    of_all = units.format_count_of(verdict.blocks, core.length)
    name = encode_key(key)
    if verdict.sound:
        blocks = "block" if core.length == 1 else "blocks"
        click.echo(f"{name} {of_all} {blocks}, {units.format_size(verdict.bytes)}: sound")
        store.close_core(core)
        return True
    if not verdict.head_is_sound:
        click.echo(f"{name} the signature of its head does not hold: nothing of it can be trusted")
    for index in verdict.damaged[:MAX_LISTED]:
        click.echo(f"{name} block {index} is damaged")
    if len(verdict.damaged) > MAX_LISTED:
        click.echo(f"{name} … and {len(verdict.damaged) - MAX_LISTED:,} more")
    lost = had - core.bitfield.count
    if lost and again is None:
        click.echo(f"{name} {units.plural(lost, 'block')} of {had:,} dropped")
    store.close_core(core)
    return False


def _is_damaged(cores: Iterable[Core], index: int) -> bool:
    return any(core.has(index) and core.get(index) is None for core in cores)


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
    """A progress bar on stderr if that is a terminal."""
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
