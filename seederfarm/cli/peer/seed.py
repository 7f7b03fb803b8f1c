"""`seederfarm seed`: the always-on peer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hypercore.errors import HypercoreError
from hypercore.keys import encode_key
from workers.engine.engine import Engine
from workers.engine.launch import running_engine
from workers.engine.model.events import Problem
from workers.engine.process.loop import run, stop_on_signals
from workers.engine.settings.blind_peer import BlindPeerSettings, parse_bans
from workers.engine.settings.key_list import SeedSpec, merge, read_list
from workers.engine.settings.settings import EngineSettings
from workers.settings.table import ENCRYPTION_KEY

from ..common import logs
from ..common.failures import BadInput, Failure
from ..common.options import (
    GivenKey,
    KeyForkType,
    KeyType,
    data_option,
    key_argument,
    label_of,
    limit_options,
    network_options,
    resolve_bootstrap,
    resolve_data,
    resolve_limits,
    resolve_quarantine,
    resolve_relay,
    secret,
    verbosity_options,
)
from .views import View, check_output, choose_view


@click.command()
@key_argument("keys", many=True, required=False)
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="SEEDS.TXT",
    help="A file with one `core|bee|drive KEY`, or KEY alone, on each line; may be repeated.",
)
@data_option
@network_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs.")
@click.option("--until-synced", is_flag=True, help="Exit when everything is on disk.")
@click.option("--no-announce", is_flag=True, help="Do not announce: serve only the peers that we connect to.")
@limit_options
@click.option(
    "--forks",
    metavar="POLICY",
    help="When a publisher rewrites its history: `follow` it, or `quarantine` it and keep the old one.",
)
@click.option(
    "--accept-fork",
    "accepted",
    multiple=True,
    type=KeyForkType(),
    metavar="KEY=FORK",
    help="With quarantine: follow this key up to that fork; may be repeated.",
)
@click.option(
    "--encryption-key",
    "encryption_keys",
    multiple=True,
    envvar=ENCRYPTION_KEY.name,
    metavar="KEY",
    help="Key of an encrypted drive of an older version, to find its files (or $SEEDERFARM_ENCRYPTION_KEY).",
)
@click.option(
    "--blind-peer",
    is_flag=True,
    help="Be a blind peer: keep the cores that apps name (blind-peering), and print the key to give them.",
)
@click.option(
    "--trust",
    "trusted",
    multiple=True,
    type=KeyType(),
    metavar="KEY",
    help="With --blind-peer: let the client with this public key announce and delete cores; may be repeated.",
)
@click.option(
    "--ban",
    "banned",
    multiple=True,
    metavar="WHO",
    help="With --blind-peer: refuse this public key, address or network (10.0.0.0/8); may be repeated.",
)
@verbosity_options
def seed(
    keys: tuple[GivenKey, ...],
    files: tuple[Path, ...],
    data: Path | None,
    bootstrap: tuple[str, ...],
    port: int,
    as_json: bool,
    until_synced: bool,
    no_announce: bool,
    up: str | None,
    down: str | None,
    max_bytes: str | None,
    max_blocks: str | None,
    keep_free: str | None,
    max_peers: str | None,
    forks: str | None,
    accepted: tuple[tuple[bytes, int], ...],
    encryption_keys: tuple[str, ...],
    blind_peer: bool,
    trusted: tuple[GivenKey, ...],
    banned: tuple[str, ...],
    log_level: int,
) -> None:
    """Keep cores, bees and drives available: download all of each, verify it, keep it, serve it to others.

    Runs until Ctrl-C. Content stays on disk, and the next start continues from there.
    """
    blind = resolve_blind_peer(blind_peer, trusted, banned)
    if blind is not None and until_synced and not (keys or files):
        raise BadInput("--until-synced needs a KEY: a blind peer is never done")
    wanted = apply_fork_limits(
        parse_seeds(keys, files, required=blind is None),
        quarantine=resolve_quarantine(forks),
        accepted=dict(accepted),
    )
    settings = EngineSettings(
        data=resolve_data(data),
        bootstrap=resolve_bootstrap(bootstrap),
        relay=resolve_relay(),
        port=port,
        announce=not no_announce,
        encryption_keys=tuple(secret(text) for text in encryption_keys),
        limits=resolve_limits(
            up=up,
            down=down,
            max_bytes=max_bytes,
            max_blocks=max_blocks,
            keep_free=keep_free,
            max_peers=max_peers,
        ),
        blind_peer=blind,
    )
    labels = {item.key: label_of(item.key.hex()) for item in wanted} | dict(keys)
    view = choose_view(labels, settings.data, as_json=as_json, quiet=log_level >= logging.ERROR)
    logs.set_up(log_level, view.write_log, events_are_shown=view.shows_problems)
    try:
        run(lambda: seed_until_stopped(settings, wanted, view, until_synced=until_synced))
    except HypercoreError as error:
        if as_json:
            view.put(Problem(key=None, code=error.code, message=str(error)))
        raise
    except asyncio.CancelledError:
        raise Failure("stopped before the swarm was left; what is on disk is intact") from None
    finally:
        view.close()
    check_output(view)


def resolve_blind_peer(
    enabled: bool, trusted: Sequence[GivenKey], banned: Sequence[str]
) -> BlindPeerSettings | None:
    """The settings of a blind peer; None without `--blind-peer`. Raises BadInput."""
    if not enabled:
        for option, values in (("--trust", trusted), ("--ban", banned)):
            if values:
                raise BadInput(f"{option} has a meaning only with --blind-peer")
        return None
    try:
        bans = parse_bans(banned)
    except ValueError as error:
        raise BadInput(f"--ban: {error}") from None
    return BlindPeerSettings(trusted=frozenset(given.key for given in trusted), bans=bans)


def parse_seeds(keys: Sequence[GivenKey], files: Sequence[Path], *, required: bool = True) -> list[SeedSpec]:
    """All seeds of the command line and files; there must be one if `required`. Raises BadInput; nothing is
    written before that."""
    wanted = [SeedSpec(given.key) for given in keys]
    for path in files:
        try:
            wanted += read_list(path, on_skipped=_warn)
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from None
    if not wanted and required:
        raise BadInput("nothing to seed: give a KEY, or a list of them with --file seeds.txt")
    return merge(wanted)


def _warn(text: str) -> None:
    click.echo(f"seederfarm: {text}", err=True)


def apply_fork_limits(
    wanted: Sequence[SeedSpec], *, quarantine: bool, accepted: Mapping[bytes, int]
) -> list[SeedSpec]:
    """The seeds with the fork up to which each is followed. Raises BadInput."""
    if accepted and not quarantine:
        raise BadInput("--accept-fork has a meaning only with --forks quarantine")
    for key in accepted.keys() - {item.key for item in wanted}:
        raise BadInput(f"--accept-fork: {encode_key(key)} is not among the keys to seed")
    return [item._replace(max_fork=accepted.get(item.key, 0)) for item in wanted] if quarantine else [*wanted]


async def seed_until_stopped(
    settings: EngineSettings, wanted: Sequence[SeedSpec], view: View, *, until_synced: bool
) -> None:
    """Run an engine until a signal (or, with `until_synced`, until nothing is left to do)."""
    stop = asyncio.Event()
    with stop_on_signals(stop):
        async with running_engine(settings, view.put) as engine:
            engine.add(wanted)
            ends: list[Coroutine[Any, Any, object]] = [stop.wait(), _keep_showing(view, engine)]
            if until_synced:
                ends.append(engine.all_synced())
            tasks = [asyncio.create_task(end) for end in ends]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            if stop.is_set():
                view.leaving()
            else:
                view.refresh(engine)  # how it ended
            for task in done:
                task.result()


async def _keep_showing(view: View, engine: Engine) -> None:
    """Returns when the output is closed."""
    while not view.broken:  # noqa: ASYNC110 - frames, not a wait for something
        await asyncio.sleep(view.refresh(engine))
