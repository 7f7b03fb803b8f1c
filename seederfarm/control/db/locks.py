"""One holder in the whole farm: an advisory lock on PostgreSQL, a locked file beside an SQLite database.

The system releases both when their holder dies, so there is no lease to wait for.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import connection

_NAMESPACE: Final = 0x5EED
"""First half of our advisory locks' numbers."""


@contextmanager
def try_lock(name: str) -> Iterator[bool]:
    """Whether we hold the lock inside the block; False: another process does."""
    holder = _advisory(name) if connection.vendor == "postgresql" else _file(name)
    with holder as held:
        yield held


@contextmanager
def _advisory(name: str) -> Iterator[bool]:
    key = zlib.crc32(name.encode()) - 2**31
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_NAMESPACE, key])
        held = bool(cursor.fetchone()[0])
    try:
        yield held
    finally:
        if held and connection.connection is not None and not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_NAMESPACE, key])


@contextmanager
def _file(name: str) -> Iterator[bool]:
    database = str(connection.settings_dict["NAME"])
    beside = Path(database) if os.sep in database else settings.FARM.home / "farm"
    handle = os.open(f"{beside}.{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
