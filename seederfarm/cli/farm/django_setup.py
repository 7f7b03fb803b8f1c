"""Sets up Django with the settings of this home, for a command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import click

from ...settings.env import COMMAND
from ...settings.table import FarmSettings
from ..common.extras import FARM, require
from ..common.failures import Failure
from .checked_settings import settings

ACTOR: Final = "cli"
"""Who acts, in the audit log."""


class NotInitialised(Failure):
    """There is no farm in this home yet."""


def open_farm(*, stays: bool = False) -> FarmSettings:
    """Set Django up. Raises BadInput for wrong settings, NotInitialised where no farm was made yet.

    A process that `stays` also uses a broker that starts later.
    """
    require(FARM)
    farm = settings()
    hint = f"`{COMMAND} up` makes one and starts it, `{COMMAND} init` only makes it"
    if farm.database.engine == "sqlite" and not farm.database_path.exists():
        raise NotInitialised(f"there is no farm in {farm.home} yet: {hint}")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
    import django

    django.setup()
    from ...registry.checks import check_database

    for message in check_database(databases=["default"]):
        raise Failure(f"{message.msg}. {message.hint}")
    with database_failures():
        from django.db import connection

        if "registry_drive" not in connection.introspection.table_names():
            raise NotInitialised(f"the database of {farm.home} has no farm in it yet: {hint}")
    if not stays and farm.bundled_redis and not farm.redis_socket.exists():
        _use_null_broker()
    elif not stays:
        _report_undelivered()
    return farm


def _report_undelivered() -> None:
    """At the end of the command, report messages that the broker did not accept."""
    from ...control.messaging import outbox

    missed = outbox.watch()
    if (context := click.get_current_context(silent=True)) is not None:
        context.call_on_close(lambda: click.echo(outbox.BROKER_DOWN, err=True) if missed.count else None)


class NullBroker:
    """Replaces a broker that does not run, so that messages do not wait for it: the farm finds the changes in
    the database when it starts."""

    def send(self, task: str, message: dict[str, object], *, queue: str, expires: float) -> None:
        pass

    def waiting(self, queue: str) -> int:
        return 0

    def leave(self, key: str, message: dict[str, object], *, expires: float) -> None:
        pass

    def defer(self, task: str, args: Sequence[Any]) -> None:
        pass


_for_good = ExitStack()


def _use_null_broker() -> None:
    from ...control.messaging.outbox import outbox

    _for_good.enter_context(outbox.through(NullBroker()))


@contextmanager
def database_failures() -> Iterator[None]:
    """Turn an unreachable database into a failure of one line."""
    from django.db import Error

    try:
        yield
    except Error as error:
        raise Failure(f"the database cannot be used: {str(error).strip().splitlines()[0]}") from None
