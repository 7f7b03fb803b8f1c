"""`seederfarm public`: pages of drives that anyone may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from workers import units

from .django_setup import database_failures, open_farm
from .output import json_lines, json_option

if TYPE_CHECKING:
    from ...registry.models import Drive

ACTOR: Final = "cli"


@click.command()
@click.argument("key", nargs=-1, required=True, metavar="KEY...")
@click.option("--off", is_flag=True, help="Take their public pages away.")
@json_option
def public(key: tuple[str, ...], off: bool, as_json: bool) -> None:
    """Give drives a page at /p/KEY/ that anyone may see, without a login."""
    open_farm()
    from django.conf import settings

    from ...registry.services.edits import edit_drive
    from .lookup import drives

    def address_of(drive: Drive) -> str:
        return f"{settings.FARM.pages_url.rstrip('/')}/p/{drive.z32}/"

    with database_failures():
        found = drives(key)
        changed = [drive for drive in found if edit_drive(drive, {"public": not off}, ACTOR)]
    if as_json:
        same = {"public": not off}
        json_lines(
            {"key": drive.key, **same, "changed": drive in changed, "url": None if off else address_of(drive)}
            for drive in found
        )
        return
    what = "private again" if off else "public"
    click.echo(f"{units.plural(len(changed), 'drive')} made {what}.")
    if not off:
        for drive in found:
            click.echo(address_of(drive))
