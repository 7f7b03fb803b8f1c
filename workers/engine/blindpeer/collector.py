"""Deletes content: what makes room, and what a client has deleted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from hypercore.aio.cores.corestore import Corestore
from hypercore.errors import HypercoreError

from .collection import Victim, choose, shortage
from .host import Host
from .kept import KeptCores
from .records import Record, RecordTable
from .slices import Slices

RETRY_SECONDS = 30.0
"""Seconds until room is sought again after nothing could be deleted: it visits every record."""

log = logging.getLogger(__name__)


class Collector:
    """Call `tick` every second. `on_collected` is called with each core that made room, and its bytes."""

    def __init__(
        self,
        cores: Corestore,
        records: RecordTable,
        kept: KeptCores,
        host: Host,
        on_collected: Callable[[Record, int], None],
    ) -> None:
        self._cores = cores
        self._records = records
        self._kept = kept
        self._host = host
        self._on_collected = on_collected
        self._deleting: dict[bytes, None] = {}
        """Cores whose content is still in use by others."""
        self._task: asyncio.Task[None] | None = None
        self._collect_at = float("-inf")

    def close(self) -> None:
        """Delete nothing more."""
        if self._task is not None:
            self._task.cancel()

    def has_room(self) -> bool:
        """Whether no content has to be deleted."""
        return not self._need()

    def delete(self, key: bytes) -> None:
        """Delete the content of a core, as soon as it is in no other use, and unless it is wanted."""
        self._kept.close(key)
        if not self._host.is_wanted(key) and not self._kept.delete(key):
            self._deleting[key] = None

    def tick(self) -> None:
        """Try again what was in use, and make room if there is too little. Raises StorageError."""
        if self._task is not None and not self._task.done():
            return
        for key in list(self._deleting):
            del self._deleting[key]
            record = self._records.get(key)
            if record is None or record.collected:
                self.delete(key)
        if monotonic() >= self._collect_at and self._need():
            self._task = asyncio.get_running_loop().create_task(self._collect(self._need()))

    def _need(self) -> int:
        room = self._host.room()
        return 0 if room is None else shortage(left=room.left, total=room.total, lacking=room.lacking)

    async def _collect(self, need: int) -> None:
        try:
            victims = await self._chosen(need)
            if not victims:
                self._collect_at = monotonic() + RETRY_SECONDS
                return
            slices = Slices()
            for victim in victims:
                self._remove(victim)
                await slices.rest()
            await self._cores.flush()  # the database shrinks with it
        except HypercoreError as error:
            log.warning("the blind peer cannot make room: %s", error)
        self._host.content_deleted()

    async def _chosen(self, need: int) -> list[Victim]:
        slices = Slices()
        steps = choose(list(self._records), need, self._host.is_wanted)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                found: list[Victim] = done.value
                return found
            await slices.rest()

    def _remove(self, victim: Victim) -> None:
        record = self._records.get(victim.key)
        if record is None or record.announce or self._host.is_wanted(victim.key):
            return  # meanwhile
        self.delete(victim.key)
        record.collected = True
        self._records.hold(record, 0, 0)
        self._records.save(record)
        self._on_collected(record, victim.bytes)
