"""Releases the database connection before a long answer begins."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import connections


async def release_database() -> None:
    """Give the request's database connection back before a long answer.

    Else it is kept until the answer ends, and a few tabs or downloads have all connections of the pool.
    """
    await sync_to_async(release)()


def release() -> None:
    """Give the database connection of this thread back."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
