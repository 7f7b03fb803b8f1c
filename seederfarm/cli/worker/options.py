"""Options that several commands of a worker share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

DATA: Final = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where content and state are kept (default: $SEEDERFARM_HOME/worker, else ~/.seederfarm/worker).",
)
NAME: Final = click.option("--name", help="Name of this worker in the farm (default: the host name).")
ZONE: Final = click.option(
    "--zone", default="", help="Where it is (a building, a city): copies of a drive go to different zones."
)
