"""`python -m seederfarm.supervisor.prepare`: migrate the database and make the first account.

A process of its own, so that Django does not stay in the supervisor's memory. Prints one JSON object:
`{"migrated": [names], "admin": {"username", "password"} | null}`. Exit status 1: stderr has the reason.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from ..settings.load import load
from ..settings.secrets import private_directory, secret_file
from ..settings.table import FarmSettings
from .programs.worker import token_file

if TYPE_CHECKING:
    from django.core.checks import CheckMessage
    from django.db.migrations.loader import MigrationLoader

ADMIN: Final = "admin"
PASSWORD_BYTES: Final = 12
BROKER_TIMEOUT: Final = 5.0
"""Seconds to wait for the broker that starts at the same time; control makes the accounts if it takes
longer."""


class NotReady(Exception):
    """The farm cannot start; the text has one line for each reason."""


def main() -> int:
    """Prepare the database and accounts in a process of its own, so that the supervisor never loads Django.
    Prints what was done as JSON. Returns the exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.base")
    os.umask(0o077)  # SQLite makes its files with it, and the checks look at them
    import django
    from django.db import Error

    try:
        django.setup()
        done = prepare()
        sync_accounts()
        print(json.dumps(done))  # noqa: T201  it is read by the supervisor
    except NotReady as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except Error as error:
        print(f"the database cannot be used: {str(error).strip()}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def prepare() -> dict[str, Any]:
    """Check, migrate, make the account. Safe to repeat."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    farm = load().checked()
    private_directory(farm.home)
    check_farm(farm)
    executor = MigrationExecutor(connection)
    refuse_newer(executor.loader)
    wanted = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if wanted:
        call_command("migrate", verbosity=0, interactive=False)
    if farm.database.engine == "sqlite":
        farm.database_path.chmod(0o600)
    keep_token(farm)
    return {"migrated": [str(migration) for migration, _ in wanted], "admin": make_admin()}


def refuse_newer(loader: MigrationLoader) -> None:
    """Check the migrations. Raises NotReady for a database that has migrations which this version does not
    know."""
    applied: set[tuple[str, str]] = set(loader.applied_migrations or ())
    ours = {name for name, _ in loader.disk_migrations}
    unknown = sorted(".".join(key) for key in applied - loader.disk_migrations.keys() if key[0] in ours)
    if unknown:
        raise NotReady(
            f"the database was made by a newer version of Seeder Farm ({', '.join(unknown)}), and is "
            "unchanged: run that version, or restore a backup of this one"
        )


def check_farm(farm: FarmSettings) -> None:
    """Check settings, database and broker. Warnings go to stderr. Raises NotReady."""
    from django.core import checks

    from ..registry.checks import check_broker

    found = checks.run_checks(databases=["default"])
    if not farm.bundled_redis:  # that one starts beside us
        found += check_broker(farm)
    wrong = [message for message in found if message.is_serious()]
    if wrong:
        raise NotReady("\n".join(map(_line, wrong)))
    for message in found:
        print(_line(message), file=sys.stderr)  # noqa: T201


def _line(message: CheckMessage) -> str:
    """A message with its hint. Django's own form has two lines and a tab."""
    return f"{message.msg}. {f'{message.hint} ' if message.hint else ''}({message.id})"


def make_admin() -> dict[str, str] | None:
    """Make the first superuser; None if there is one. The password is returned, never stored."""
    from django.contrib.auth.models import User
    from django.db import transaction

    with transaction.atomic():
        if User.objects.filter(is_superuser=True).exists():
            return None
        name = next(name for name in _names() if not User.objects.filter(username=name).exists())
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        User.objects.create_superuser(name, password=password)
    return {"username": name, "password": password}


def keep_token(farm: FarmSettings) -> None:
    """Make a token for the local worker: the first, or another when the broker's address changed."""
    from django.utils import timezone

    from farmwire.join import JoinToken, secret_digest, without_login
    from farmwire.rejection import MessageRejected

    from ..control.accounts import accounts, enrolment
    from ..control.messaging.identity import identity
    from ..registry.models import EnrolmentToken

    path = token_file(farm.home)
    try:
        held = JoinToken.from_text(path.read_text())
    except (OSError, ValueError, MessageRejected):
        held = None
    same_place = held is not None and without_login(held.broker) == without_login(farm.broker_url)
    if held is not None and held.control == identity().node_id and same_place:
        row = EnrolmentToken.objects.filter(digest=secret_digest(held.secret)).first()
        good = row is not None and (row.used_at is not None or row.is_valid(timezone.now()))
        if row is not None and good and (row.broker_hash != "" or not accounts.in_use()):
            return
    made = enrolment.enrol(here=True, actor="farm")
    private_directory(path.parent)
    path.unlink(missing_ok=True)
    secret_file(path, lambda: made.text.encode() + b"\n")


def sync_accounts() -> None:
    """Make broker accounts before workers log in. The bundled broker starts at the same time."""
    from ..control.accounts import accounts
    from ..control.messaging.broker import BrokerDown

    if accounts.wanted_mode() == "off":
        return
    until = time.monotonic() + BROKER_TIMEOUT
    while True:
        try:
            accounts.sync(afresh=True)
        except accounts.NoAccounts as error:
            if accounts.wanted_mode() == "on":
                raise NotReady(f"SEEDERFARM_BROKER_ACCOUNTS is on, and the broker refuses: {error}") from None
        except BrokerDown:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
        return


def _names() -> list[str]:
    return [ADMIN, *(f"{ADMIN}{number}" for number in range(2, 1000))]


if __name__ == "__main__":
    sys.exit(main())
