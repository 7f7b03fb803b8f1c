"""`seederfarm worker run`: the command of a machine that seeds for a farm. Needs no Django."""

from __future__ import annotations

import logging
import os
import platform
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from farmwire.rejection import MessageRejected
from hypercore.printable import VisibleFormatter
from workers.engine.settings.settings import bootstrap_from, home_directory, limits_from
from workers.settings.table import HEARTBEAT, RELAY, WORKER_SAMPLE, SettingError

from ..common.failures import BadInput
from ..common.options import SizeType


def default_data(environ: Mapping[str, str]) -> Path:
    return home_directory(environ) / "worker"


@click.command()
@click.option("--join", "token", metavar="TOKEN", help="Join the farm that printed this token. Counts once.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where content and state are kept (default: $SEEDERFARM_HOME/worker, else ~/.seederfarm/worker).",
)
@click.option("--name", help="How the farm calls this worker (default: the host's name).")
@click.option("--zone", default="", help="Copies are spread over zones: a building, a city, a power line.")
@click.option("--tag", "tags", multiple=True, help="May be repeated. Keys can ask for workers with a tag.")
@click.option("--quota", type=SizeType(), metavar="SIZE", help="Store at most this much (default: the disk).")
@click.option("--keep-free", metavar="SIZE", help="Leave this much of the disk to others (default: 5 %).")
@click.option("--up", metavar="RATE", help="Send at most this much a second: 2M, or a timetable.")
@click.option("--down", metavar="RATE", help="Fetch at most this much a second, likewise.")
@click.option("--max-blocks", metavar="N", help="Fetch nothing more of a key with more blocks (33554432).")
@click.option("--max-peers", metavar="N", help="Take at most so many connections (default: 512).")
@click.option("--shards", type=click.IntRange(1, 64), default=1, help="Engines to run (default 1).")
@click.option(
    "--engine-user",
    metavar="USER",
    help="Run engines, which read what strangers send, as this user (as root; default: the same user).",
)
@click.option("--bootstrap", multiple=True, metavar="HOST:PORT", help="A DHT node to start from.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="UDP port of the first engine.")
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
    verbose: bool,
) -> None:
    """Seed for a farm, until Ctrl-C.

    The farm says which keys. While it cannot be reached, seeding goes on.
    """
    # Imported here: `--help` and a wrong option need neither Celery nor SQLAlchemy.
    from workers.agent.run import run_worker, software_version
    from workers.agent.settings import WorkerSettings

    level = logging.DEBUG if verbose else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in ("kombu", "alembic", "amqp", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if not verbose:  # two lines for each message, and what Celery thinks of its own connections
        for noisy in ("celery.app.trace", "celery.worker.strategy", "celery.worker.consumer.connection"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        limits = limits_from(
            os.environ, up=up, down=down, keep_free=keep_free, max_blocks=max_blocks, max_peers=max_peers
        )
        settings = WorkerSettings(
            data=data or default_data(os.environ),
            name=(name or platform.node() or "worker")[:100],
            zone=zone[:100],
            tags=tuple(tag[:50] for tag in tags if tag),
            limits=replace(limits, max_bytes=limits.max_bytes if quota is None else quota),
            shards=shards,
            engine_user=engine_user or "",
            bootstrap=bootstrap_from(bootstrap, os.environ),
            relay=RELAY.value(os.environ),
            port=port,
            heartbeat=HEARTBEAT.value(os.environ),
            sample=WORKER_SAMPLE.value(os.environ),
            software=software_version(),
        )
        status = run_worker(settings, token, log_level=level)
    except (SettingError, MessageRejected) as error:
        raise BadInput(str(error)) from None
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise SystemExit(status)
