"""`seederfarm tokens`: secrets that let programs use the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from workers import units

from ...settings.env import COMMAND
from ..common.failures import BadInput, Failure
from ..common.options import DurationType
from .django_setup import database_failures, open_farm
from .output import ago, json_lines, json_option, plain, rows, table_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ...registry.models import ApiToken

ACTOR: Final = "cli"
SCOPES: Final = ("read", "drives", "workers", "sources", "alerts")
"""Words of `registry.models.access.Scope`, which is not imported before a command needs the database."""


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def tokens(context: click.Context, as_json: bool) -> None:
    """List the tokens of the API."""
    if context.invoked_subcommand is None:
        _list(as_json)


@tokens.command(name="list")
@json_option
def list_tokens(as_json: bool) -> None:
    """List the tokens, also those that are revoked or over."""
    _list(as_json)


def _list(as_json: bool) -> None:
    open_farm()
    from ...registry.models import ApiToken

    now = datetime.now(UTC)
    with database_failures():
        found = list(ApiToken.objects.select_related("user").order_by("name", "pk"))
    if as_json:
        json_lines({**_named(token), "state": _state(token, now)} for token in found)
        return
    grid = table_of("name", "begins with", "user", "scopes", "used", "state", spare=("user", "begins with"))
    for token in found:
        grid.add_row(
            plain(token.name),
            token.hint,
            plain(token.user.get_username()),
            ", ".join(token.scopes) or "none",
            ago(token.last_used_at, now),
            _state(token, now),
        )
    if grid.row_count:
        rows(grid)
    else:
        click.echo(f"No tokens: `{COMMAND} tokens add NAME` makes one.")


@tokens.command()
@click.argument("name")
@click.option("--user", default="", help="Whose rights it has (default: the only administrator).")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; may be repeated (default: read).",
)
@click.option("--expires", type=DurationType(), default=None, help="Time until it ends (default: never).")
@json_option
def add(name: str, user: str, scopes: tuple[str, ...], expires: float | None, as_json: bool) -> None:
    """Make a token and print it, once: it is stored as a hash."""
    open_farm()
    from ...registry.services import issue_api_token

    if not name.strip() or len(name) > 100:
        raise BadInput("a name has 1 to 100 characters")
    ends = None if expires is None else datetime.now(UTC) + timedelta(seconds=expires)
    with database_failures():
        made = issue_api_token(
            _user(user), name.strip(), scopes=scopes or ("read",), expires_at=ends, actor=ACTOR
        )
    if as_json:
        json_lines([{**_named(made.token), "token": made.secret}])
        return
    click.echo(f"Shown once. Programs send it as `Authorization: Bearer {made.token.hint}…`:\n", err=True)
    click.echo(made.secret)


@tokens.command()
@click.argument("token", metavar="NAME|BEGINNING")
@json_option
def revoke(token: str, as_json: bool) -> None:
    """End a token, by its name or its first characters."""
    open_farm()
    from ...registry.models import ApiToken
    from ...registry.services import revoke_api_token

    with database_failures():
        live = ApiToken.objects.filter(revoked_at=None)
        found = list(live.filter(hint=token)[:2]) or list(live.filter(name=token)[:2])
        if not found:
            raise BadInput(f"no token that is not revoked is called {token!r} or begins with it")
        if len(found) > 1:
            raise BadInput(f"several tokens are called {token!r}: name one by its first characters")
        if not revoke_api_token(found[0], ACTOR):
            raise Failure(f"{plain(found[0].name)} was revoked a moment ago")
    if as_json:
        json_lines([_named(found[0])])
    else:
        click.echo(f"Revoked {plain(found[0].name)} ({found[0].hint}…).")


def _user(name: str) -> User:
    """Raises BadInput for an unknown one, or if there is a choice."""
    from django.contrib.auth.models import User

    active = User.objects.filter(is_active=True)
    if name:
        found = list(active.filter(username=name))
        if not found:
            raise BadInput(f"no active user is called {name!r}")
        return found[0]
    found = list(active.filter(is_superuser=True)[:2])
    if len(found) != 1:
        raise BadInput(
            f"there {'are several administrators' if found else 'is no administrator'}: say --user"
        )
    return found[0]


def _named(token: ApiToken) -> dict[str, object]:
    return {
        "name": token.name,
        "begins": token.hint,
        "user": token.user.get_username(),
        "scopes": token.scopes,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "used_at": token.last_used_at,
    }


def _state(token: ApiToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.is_valid(now):
        left = "" if token.expires_at is None else (
            f", ends in {units.format_duration((token.expires_at - now).total_seconds())}"
        )  # fmt: skip
        return f"valid{left}"
    return "over"
