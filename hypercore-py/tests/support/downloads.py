"""A reader and a scripted peer that serves it."""

from __future__ import annotations

from hypercore.core import Core
from hypercore.replication import ReplicationConfig
from hypercore.wire.request import Request
from support.replication_world import Server, Site, World

CONFIG = ReplicationConfig()


def reader_and_server(
    world: World, length: int, *, have: int | None = None, config: ReplicationConfig | None = None
) -> tuple[Site, Server, Core]:
    """A reader (at the head, without blocks, or with the first `have`) and a scripted seeder."""
    writer = world.writer(length)
    source = None if have is None else writer.core
    site = world.reader(writer.core.key, source=source, have=range(have or 0), config=config)
    return site, Server(world, site, 0), writer.core


def blocks_asked(messages: list) -> list[int]:
    return [message.block.index for message in messages if isinstance(message, Request) and message.block]
