"""`seederfarm worker run`: the command of a machine that seeds for a farm. Needs no Django."""

from __future__ import annotations

import os
from pathlib import Path

import click

from farmwire.rejection import MessageRejected
from workers.agent.settings import settings_from
from workers.settings.table import SettingError

from ..common.extras import WORKER, require
from ..common.failures import BadInput
from ..common.options import SizeType
from .options import DATA, NAME, ZONE, token_of


@click.command()
@click.option(
    "--join",
    "token",
    metavar="TOKEN",
    help="Join the farm that made this token; '-': it is on standard input. Needed once.",
)
@DATA
@NAME
@ZONE
@click.option(
    "--tag", "tags", multiple=True, help="A word that drives may require of their workers; may be repeated."
)
@click.option(
    "--quota",
    type=SizeType(),
    metavar="SIZE",
    help="Store at most this much, such as 500G (default: what the disk has).",
)
@click.option("--keep-free", metavar="SIZE", help="Keep this much of the disk free (default: 5 %).")
@click.option(
    "--up", metavar="RATE", help="Upload at most this much per second: 2M, or '08:00-18:00=1M, *=10M'."
)
@click.option("--down", metavar="RATE", help="Download at most this much per second, written as for --up.")
@click.option(
    "--max-blocks", metavar="N", help="Download nothing more of a key with more blocks (default: 33554432)."
)
@click.option("--max-peers", metavar="N", help="Accept at most N connections from peers (default: 512).")
@click.option(
    "--shards",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Engine processes to run (default: 1).",
)
@click.option(
    "--engine-user",
    metavar="USER",
    help="Run engines, which handle data from unknown peers, as this user; needs root (default: your user).",
)
@click.option(
    "--bootstrap", multiple=True, metavar="HOST:PORT", help="DHT node to start from; may be repeated."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="UDP port of the first engine (default: any).",
)
@click.option(
    "--blind-peer",
    is_flag=True,
    help="Be a blind peer as well: keep the cores that apps name ($SEEDERFARM_BLIND_PEER: which apps).",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more to stderr.")
def run(
    token: str | None,
    data: Path | None,
    name: str | None,
    zone: str,
    tags: tuple[str, ...],
    quota: int | None,
    keep_free: str | None,
    up: str | None,
    down: str | None,
    max_blocks: str | None,
    max_peers: str | None,
    shards: int,
    engine_user: str | None,
    bootstrap: tuple[str, ...],
    port: int,
    blind_peer: bool,
    verbose: bool,
) -> None:
    """Keep copies of drives for a farm, until Ctrl-C.

    The farm decides which. Seeding continues while the farm cannot be reached.
    """
    require(WORKER)
    # Imported here: `--help` and a wrong option need neither Celery nor SQLAlchemy.
    from workers.agent.run import run_process

    try:
        settings = settings_from(
            os.environ,
            data=data,
            name=name,
            zone=zone,
            tags=tags,
            quota=quota,
            keep_free=keep_free,
            up=up,
            down=down,
            max_blocks=max_blocks,
            max_peers=max_peers,
            shards=shards,
            engine_user=engine_user,
            bootstrap=bootstrap,
            port=port,
            blind_peer=blind_peer,
        )
        status = run_process(settings, token and token_of(token), verbose=verbose)
    except (SettingError, MessageRejected) as error:
        raise BadInput(str(error)) from None
    raise SystemExit(status)
