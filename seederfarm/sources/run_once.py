"""Reads sources once: `seederfarm fetch`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from django.utils import timezone

from hypercore.dht.address import BootstrapNode
from seederfarm.registry.models import Source

from .apply import Outcome, apply_reading
from .claims import claim, fetch_source, is_due, release
from .follower import AT_ONCE, PEER_TIMEOUT, Database, key_of
from .live_lists import SeedLists
from .parser_process import Parser


async def read_once(sources: Sequence[Source], bootstrap: Sequence[BootstrapNode]) -> AsyncIterator[Outcome]:
    """Read sources, a few at a time, and yield outcomes as they finish. Seed lists are looked up on the
    swarm. Raises DatabaseError and InterfaceError."""
    database = Database()
    lists = SeedLists(None, bootstrap)
    parser = Parser()
    turns = asyncio.Semaphore(AT_ONCE)
    tasks: list[asyncio.Future[Outcome]] = []
    try:
        await lists.want({key for source in sources if (key := key_of(source)) is not None})
        tasks = [asyncio.ensure_future(_read(source, database, lists, parser, turns)) for source in sources]
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await lists.close()
        await database.close()


async def _read(
    source: Source, database: Database, lists: SeedLists, parser: Parser, turns: asyncio.Semaphore
) -> Outcome:
    async with turns:
        key = key_of(source)
        followed = None if key is None else lists.get(key)
        if followed is not None:
            await followed.newest(PEER_TIMEOUT)
        claimed = await database(claim, source.pk, timezone.now(), always=True)
        outcome = None
        if claimed is not None:
            try:
                reading = await fetch_source(claimed, parser, followed)
            except asyncio.CancelledError:
                await asyncio.shield(database(release, claimed.source))
                raise
            outcome = await database(apply_reading, claimed.source, reading, timezone.now())
        return outcome or Outcome(source.name, error="another process is reading it at this moment")


def due() -> list[Source]:
    """Sources that are due, or were changed since they were read."""
    now = timezone.now()
    return [source for source in Source.objects.filter(enabled=True).order_by("name") if is_due(source, now)]
