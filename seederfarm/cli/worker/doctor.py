"""`seederfarm worker doctor`: check this machine as a worker needs it. Needs no Django."""

from __future__ import annotations

import os
from pathlib import Path

import click

from workers.agent.settings import settings_from
from workers.settings.table import SettingError

from ...settings.env import COMMAND
from ..common.extras import WORKER, require
from ..common.failures import BadInput
from ..common.findings import show
from .options import DATA


@click.command()
@DATA
@click.option(
    "--bootstrap", multiple=True, metavar="HOST:PORT", help="DHT node to start from; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def doctor(data: Path | None, bootstrap: tuple[str, ...], as_json: bool) -> None:
    """Check disk, clock, UDP port, DHT, NAT, membership and broker: what is wrong, and what to do.

    Exit status 1 if anything is. The worker may run meanwhile.
    """
    require(WORKER)
    from workers.doctor.worker import check_worker

    try:
        settings = settings_from(os.environ, data=data, bootstrap=bootstrap)
    except SettingError as error:
        raise BadInput(str(error)) from None
    show(check_worker(settings, COMMAND), as_json=as_json)
