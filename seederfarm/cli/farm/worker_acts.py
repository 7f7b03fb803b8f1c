"""`seederfarm worker approve|apps`."""

from __future__ import annotations

import click

from workers import units

from ..common.failures import BadInput, Failure
from .django_setup import ACTOR, database_failures, open_farm
from .output import json_lines, json_option, plain

NOTHING = "none"
"""What people write to lift a bound."""


@click.command()
@click.argument("name", metavar="WORKER")
@json_option
def approve(name: str, as_json: bool) -> None:
    """Let a worker in that waits, take back a drain, or readmit a retired worker."""
    open_farm()
    from ...registry.models import Worker
    from ...registry.services import activate
    from .lookup import worker

    with database_failures():
        found = worker(name)
        changed = activate([found], "cli")
        found.refresh_from_db()
    if found.state != Worker.State.ACTIVE:
        raise Failure(f"{found.name} is {found.get_state_display()}")
    if as_json:
        json_lines([{"worker": found.name, "state": found.state, "changed": bool(changed)}])
    else:
        click.echo(f"{plain(found.name)} is active.")


@click.command()
@click.argument("name", metavar="WORKER")
@click.option("--ask", metavar="WHO", help="Who may have cores kept: anyone, none, or public keys (A,B).")
@click.option("--trust", metavar="KEYS", help="Apps that may have them announced, and delete them; or none.")
@click.option("--max-cores", metavar="N", help="Cores of one app, or none: no bound of the farm.")
@click.option("--max-bytes", metavar="SIZE", help="Bytes of one app, such as 10G, or none: no bound.")
@json_option
def apps(
    name: str,
    ask: str | None,
    trust: str | None,
    max_cores: str | None,
    max_bytes: str | None,
    as_json: bool,
) -> None:
    """Show or set what apps may at a worker that is a blind peer.

    It holds at once, for what is named from then on: what is kept already stays.
    """
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.models.fields import clean_clients, clean_keys
    from ...registry.services import set_blind_peer
    from .lookup import worker

    values: dict[str, object] = {}
    if ask is not None:
        values["blind_clients"] = ask
    if trust is not None:
        values["blind_trusted"] = "" if trust == NOTHING else trust
    if max_cores is not None:
        values["blind_max_cores"] = _number("--max-cores", max_cores)
    if max_bytes is not None:
        values["blind_max_bytes"] = _size("--max-bytes", max_bytes)
    with database_failures():
        found = worker(name)
        try:
            set_blind_peer(found, values, ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
        found.refresh_from_db()
    clients, trusted = clean_clients(found.blind_clients), clean_keys(found.blind_trusted)
    if as_json:
        json_lines(
            [
                {
                    "worker": found.name,
                    "ask": clients,
                    "trust": trusted,
                    "max_cores": found.blind_max_cores,
                    "max_bytes": found.blind_max_bytes,
                }
            ]
        )
        return
    cores, size = found.blind_max_cores, found.blind_max_bytes
    is_one = found.engine.get("blind_peer") is not None
    click.echo(f"{plain(found.name)} {'is' if is_one else 'is not'} a blind peer")
    click.echo(f"may ask    {'anyone' if clients is None else ', '.join(clients) or 'none but trusted apps'}")
    click.echo(f"trusted    {', '.join(trusted) or 'none'}")
    click.echo(f"cores      {'no bound of the farm' if cores is None else f'at most {cores:,} of one app'}")
    click.echo(
        f"bytes      {'no bound' if size is None else f'at most {units.format_size(size)} of one app'}"
    )


def _number(option: str, text: str) -> int | None:
    if text == NOTHING:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadInput(f"{option}: {text!r} is neither a number nor {NOTHING}") from None


def _size(option: str, text: str) -> int | None:
    if text == NOTHING:
        return None
    try:
        return units.parse_size(text)
    except ValueError as error:
        raise BadInput(f"{option}: {error}, or {NOTHING}") from None
