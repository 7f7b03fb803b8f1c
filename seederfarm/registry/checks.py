"""System checks, run by `python manage.py check` and before anything starts.

| id | what |
|---|---|
| `farm.E001` | a setting is invalid |
| `farm.E002` | the home directory cannot be used |
| `farm.E003` | the database cannot be reached, or is too old (with `--database default`) |
| `farm.E004` | the broker cannot be reached, or is too old (with `--deploy`, or `check_broker`) |
| `farm.W001` | other users may read the home directory or a secret in it |
| `farm.W002` | reachable by others with debugging on |
| `farm.W003` | reachable by others without HTTPS |
| `farm.W004` | a secret key that is short |
| `farm.W005` | a hand-set interval that makes workers look lost |
| `farm.W006` | a broker before Redis 7, with accounts for workers |
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error as DatabaseError

from seederfarm.settings import table
from seederfarm.settings.secrets import too_open

REDIS_TIMEOUT: Final = 3.0
DATABASE_TIMEOUT: Final = 5
"""Seconds to wait for an answer."""
OLDEST_REDIS: Final = (6, 2)
FULL_ACCOUNTS: Final = (7, 0)
OLDEST_POSTGRESQL: Final = 140000
PRIVATE_FILES: Final = ("control_key", "secret_key", "flower_secret", table.CONFIG_FILE)
"""In the home directory: the control plane's identity, the key that signs sessions, Flower's login,
settings."""
PRIVATE_DIRECTORIES: Final = ("worker", "sources", "logs", "run", "redis")
"""In the home directory: they hold identities, logins and messages."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})

Check = Callable[..., Sequence[CheckMessage]]


@register("settings")
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """An error for each setting with a wrong value."""
    return [
        Error(f"{problem.name}: {problem.text}", hint=problem.hint, id="farm.E001")
        for problem in settings.LOADED.problems
    ]


@register("home")
def check_home(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the home directory can be used, and that its secrets are private."""
    home: Path = settings.FARM.home
    if not home.exists():
        parent = next(parent for parent in home.parents if parent.exists())
        if os.access(parent, os.W_OK):
            return []  # made on first use
        hint = f"Make it for the user of the farm, or set SEEDERFARM_HOME. {parent} may not be written to."
        return [Error(f"SEEDERFARM_HOME, {home}, is not there and cannot be made", hint=hint, id="farm.E002")]
    if not home.is_dir() or not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        hint = "Give it to the user that runs the farm, or set SEEDERFARM_HOME to another directory."
        return [
            Error(f"SEEDERFARM_HOME, {home}, is not a directory that may be used", hint=hint, id="farm.E002")
        ]
    return list(_open_to_others(home))


def _open_to_others(home: Path) -> Iterator[CheckMessage]:
    """Yield a warning for each secret that other users may read."""
    paths = [home, *(home / name for name in (*PRIVATE_FILES, *PRIVATE_DIRECTORIES))]
    farm: table.FarmSettings = settings.FARM
    if farm.database.engine == "sqlite":
        database = farm.database_path
        paths += [database.with_name(database.name + ending) for ending in ("", "-wal", "-shm", "-journal")]
    paths += [Path(os.environ[f"{row.name}_FILE"]) for row in table.TABLE if f"{row.name}_FILE" in os.environ]
    for path in paths:
        if path.exists() and too_open(path):
            mode = "700" if path.is_dir() else "600"
            what = f"Others on this machine may read or write {path}"
            yield Warning(what, hint=f"chmod {mode} {shlex.quote(str(path))}", id="farm.W001")


@register("exposure")
def check_exposure(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of settings that are unsafe where other hosts reach the pages, and of a short grace."""
    farm: table.FarmSettings = settings.FARM
    found: list[CheckMessage] = []
    if farm.secret and len(farm.secret) < 32:
        hint = "Leave it out (one is made on first use), or make one with: openssl rand -base64 48"
        found.append(Warning("SEEDERFARM_SECRET_KEY is short", hint=hint, id="farm.W004"))
    others = [host for host in farm.allowed_hosts if host not in LOOPBACK]
    if others and farm.debug:
        hint = "Set SEEDERFARM_DEBUG=false: tracebacks show settings to every visitor."
        found.append(Warning(f"Debugging is on, and {others[0]} is answered to", hint=hint, id="farm.W002"))
    if others and not farm.https:
        hint = "Put a proxy with HTTPS in front (docs/security.md shows one) and set SEEDERFARM_HTTPS=true."
        what = f"{others[0]} is answered to without HTTPS, so passwords travel in the clear"
        found.append(Warning(what, hint=hint, id="farm.W003"))
    if farm.worker_grace < 3 * farm.heartbeat:
        hint = "SEEDERFARM_WORKER_GRACE should be three times SEEDERFARM_HEARTBEAT, or more."
        what = "A worker counts as lost after fewer than three missed reports"
        found.append(Warning(what, hint=hint, id="farm.W005"))
    return found


@register("database")
def check_database(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the database; only with `check --database default`, or `migrate`."""
    if not databases or "default" not in databases or settings.FARM_DATABASE_WRONG:
        return []
    try:
        version = _database_version(connections["default"])
    except (DatabaseError, OSError) as error:
        hint = "Is the server running, and are host, port, user, password and name in DATABASE_URL right?"
        return [Error(f"The database cannot be reached: {first_line(error)}", hint=hint, id="farm.E003")]
    if version is not None and version < OLDEST_POSTGRESQL:
        return [
            Error(f"PostgreSQL {version // 10000} is too old", hint="14 or newer is needed.", id="farm.E003")
        ]
    return []


def _database_version(connection: BaseDatabaseWrapper) -> int | None:
    """Version of PostgreSQL, as libpq numbers it. Bypasses the pool, which retries for ten seconds and hides
    the server's error."""
    if connection.vendor != "postgresql":
        connection.ensure_connection()
        return None
    import psycopg

    parameters = connection.get_connection_params() | {"connect_timeout": DATABASE_TIMEOUT}
    with connection.wrap_database_errors, psycopg.connect(**parameters) as probe:
        return probe.info.server_version


def first_line(error: Exception) -> str:
    """A driver's error message, without its advice."""
    lines = str(error).strip().removeprefix("connection failed: ").splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


@register("broker", deploy=True)
def broker_is_reached(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the broker; only with `--deploy`, or when `check_broker` is called: the bundled Redis starts
    after these checks."""
    return [] if settings.FARM.bundled_redis else check_broker(settings.FARM)


def check_broker(farm: table.FarmSettings) -> list[CheckMessage]:
    """Check that Redis answers, accepts the login, and is new enough."""
    where = _place(farm.redis_client_url)
    try:
        client = redis.Redis.from_url(
            farm.redis_client_url,
            socket_connect_timeout=REDIS_TIMEOUT,
            socket_timeout=REDIS_TIMEOUT,
            retry=None,
        )
        with client:
            version = str(client.info("server")["redis_version"])
    except redis.AuthenticationError as error:
        hint = "Are user and password in REDIS_URL right?"
        return [Error(f"The broker at {where} refuses us: {first_line(error)}", hint=hint, id="farm.E004")]
    except (redis.RedisError, OSError, ValueError) as error:
        hint = "Is Redis running, and is REDIS_URL (rediss:// where it wants TLS) right?"
        what = f"The broker at {where} cannot be reached: {first_line(error)}"
        return [Error(what, hint=hint, id="farm.E004")]
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if numbers < OLDEST_REDIS:
        what = f"Redis {version} at {where} is too old"
        return [Error(what, hint="6.2 or newer is needed.", id="farm.E004")]
    if numbers < FULL_ACCOUNTS and farm.broker_accounts != "off":
        what = f"Redis {version} at {where} knows no rights for single keys: workers send no events to Flower"
        hint = "7.0 or newer does; docs/security.md lists what differs."
        return [Warning(what, hint=hint, id="farm.W006")]
    return []


def _place(url: str) -> str:
    """A broker's address without its login."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
