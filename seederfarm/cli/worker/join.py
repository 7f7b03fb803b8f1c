"""`seederfarm worker join`: join a farm without seeding yet, for installers. Needs no Django."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from farmwire.rejection import MessageRejected
from workers.agent.settings import settings_from
from workers.settings.table import SettingError

from ..common.extras import WORKER, require
from ..common.failures import BadInput
from ..common.options import DurationType
from .options import DATA, NAME, ZONE, token_of


@click.command()
@click.argument("token")
@DATA
@NAME
@ZONE
@click.option(
    "--timeout", type=DurationType(), default="60s", metavar="TIME", help="Longest wait for the farm."
)
def join(token: str, data: Path | None, name: str | None, zone: str, timeout: float) -> None:
    """Join the farm that made TOKEN, and exit. `worker run` then needs no token.

    With `-` as TOKEN it is a line of standard input, which no other user of the machine sees. Safe to repeat
    with the same token. If it fails, the reason is one line.
    """
    require(WORKER)
    from workers.agent.run import join_farm

    logging.getLogger("workers").setLevel(logging.ERROR)  # the command has one line itself
    try:
        settings = settings_from(os.environ, data=data, name=name, zone=zone)
        admitted = join_farm(settings, token_of(token), timeout=timeout)
    except (SettingError, MessageRejected) as error:
        raise BadInput(str(error)) from None
    click.echo("joined" if admitted else "joined, and waits for an operator's approval")
