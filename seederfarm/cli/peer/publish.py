"""`seederfarm publish`: a folder as a drive, live."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import click

from hypercore.errors import HypercoreError
from hypercore.keys import encode_key
from hypercore.printable import visible
from workers.engine.engine import Engine
from workers.engine.model.events import Problem
from workers.engine.process.loop import run, stop_on_signals
from workers.engine.settings.settings import EngineSettings
from workers.publish.publisher import Publisher, PublishSettings, default_data

from ..common import logs
from ..common.failures import BadInput, Failure
from ..common.options import (
    network_options,
    resolve_bootstrap,
    resolve_data,
    resolve_relay,
    verbosity_options,
)
from .views import View, check_output, choose_view


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the drive and its secret are kept (default: below $SEEDERFARM_HOME/published).",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Names or paths to leave out, such as `.git` or `build/*`; may be repeated.",
)
@click.option(
    "--encrypt", is_flag=True, help="Make a new drive that only holders of its encryption key can read."
)
@click.option(
    "--no-watch", is_flag=True, help="Publish the folder as it is now, and seed it without following changes."
)
@click.option("--moved", is_flag=True, help="Confirm that the folder was moved since it was last published.")
@network_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs.")
@verbosity_options
def publish(
    folder: Path,
    data: Path | None,
    exclude: tuple[str, ...],
    encrypt: bool,
    no_watch: bool,
    moved: bool,
    bootstrap: tuple[str, ...],
    port: int,
    as_json: bool,
    log_level: int,
) -> None:
    """Share a folder as a drive, and update the drive when the folder changes.

    The same folder has the same key at every start. What changes in it is published within seconds. Runs
    until Ctrl-C; a farm that was given the key (`seederfarm add`) keeps the drive available after that.
    """
    folder = _checked(folder)
    engine = EngineSettings(
        data=(data or default_data(resolve_data(None).parent, folder)).absolute(),
        bootstrap=resolve_bootstrap(bootstrap),
        relay=resolve_relay(),
        port=port,
    )
    if engine.data.resolve().is_relative_to(folder):
        raise BadInput(f"{engine.data}, where the drive is kept, is inside {folder}: choose another --data")
    settings = PublishSettings(
        folder=folder, engine=engine, exclude=exclude, encrypt=encrypt, watch=not no_watch, moved=moved
    )
    labels: dict[bytes, str] = {}
    view = choose_view(labels, engine.data, as_json=as_json, quiet=log_level >= logging.ERROR)
    logs.set_up(log_level, view.write_log, events_are_shown=view.shows_problems)
    try:
        run(lambda: publish_until_stopped(settings, view, labels))
    except HypercoreError as error:
        if as_json:
            view.put(Problem(key=None, code=error.code, message=str(error)))
        raise
    except asyncio.CancelledError:
        raise Failure("stopped before the swarm was left; what is published is intact") from None
    finally:
        view.close()
    check_output(view)


def _checked(folder: Path) -> Path:
    """The folder's absolute real path. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput(
            f"{folder} is {'not a folder' if folder.exists() else 'not there'}: give the folder to publish"
        )
    return folder.resolve()


async def publish_until_stopped(settings: PublishSettings, view: View, labels: dict[bytes, str]) -> None:
    """Runs a publisher until a signal."""
    stop = asyncio.Event()
    publisher = Publisher(settings, view.put)
    showing: list[asyncio.Task[None]] = []

    def begun(engine: Engine, key: bytes, encryption_key: bytes | None) -> None:
        labels[key] = visible(settings.folder.name or "/")
        view.announce(f"{settings.folder} is drive {encode_key(key)}")
        if encryption_key is not None:
            view.announce(f"encrypted: readers need the key in {settings.engine.data / 'encryption'}, too")
        view.announce("reading the folder; what is complete is shown to readers")
        showing.append(asyncio.create_task(_keep_showing(view, engine, stop)))

    with stop_on_signals(stop):
        work = asyncio.create_task(publisher.run(begun))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (*showing, stopped):
            task.cancel()
        if stop.is_set():
            view.leaving()
            work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def _keep_showing(view: View, engine: Engine, stop: asyncio.Event) -> None:
    """Stops the command when its output is closed."""
    while not view.broken:  # noqa: ASYNC110 - frames, not a wait for something
        await asyncio.sleep(view.refresh(engine))
    stop.set()
