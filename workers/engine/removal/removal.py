"""Deletes the blocks of removed keys.

The store alone (`owners`, manifests) decides, at the moment of deletion, which cores go with a key. A core
stays if another key claims it, if it is a key itself, or if it is the derived blobs core of another stored
drive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from hypercore.aio.cores.corestore import Corestore
from hypercore.errors import HypercoreError, LocalProtocolError
from hypercore.keys import encode_key

from ..model.kind import derived_blobs_key
from .owners import Owners

RETRY_DELAY = 1.0
"""Seconds until deletion of a key is retried if a core was in use or the disk failed."""

MAX_RETRY_DELAY = 60.0
"""The same after many failures: it is doubled each time."""

MANIFESTS_AT_ONCE = 64
"""Manifests that are decoded in one turn of the loop (about 5 ms)."""

log = logging.getLogger(__name__)


class Removals:
    """Keys whose data must be deleted. `run` deletes one after the other."""

    def __init__(
        self,
        cores: Corestore,
        owners: Owners,
        *,
        is_wanted: Callable[[bytes], bool],
        on_removed: Callable[[bytes], None],
        may_begin: Callable[[], Awaitable[None]],
        keeps: Callable[[bytes], bool] = lambda core: False,
    ) -> None:
        """`is_wanted` returns whether a key is seeded; `on_removed` is called with each key whose data is
        deleted. `may_begin` returns when the engine has all its keys; `keeps`, whether a core is kept for
        another reason, such as clients of a blind peer."""
        self._cores = cores
        self._owners = owners
        self._is_wanted = is_wanted
        self._on_removed = on_removed
        self._may_begin = may_begin
        self._keeps = keeps
        self._pending: dict[bytes, None] = {}
        self._refused: set[bytes] = set()
        """Keys whose failed deletion was logged."""
        self._wake = asyncio.Event()

    def request(self, keys: Iterable[bytes]) -> None:
        """Delete these as soon as possible. A key that is seeded again by then is kept."""
        self._pending.update(dict.fromkeys(keys))
        self._wake.set()

    async def run(self) -> None:
        """Run until cancelled."""
        delay: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            self._wake.clear()
            await self._may_begin()
            pending, self._pending = self._pending, {}
            failed = [key for key in pending if not await self._try(key)]
            self._pending.update(dict.fromkeys(failed))
            self._refused &= set(failed)
            delay = min(2 * (delay or RETRY_DELAY / 2), MAX_RETRY_DELAY) if failed else None

    async def _try(self, key: bytes) -> bool:
        """Delete one key. Returns False if it must be retried."""
        await asyncio.sleep(0)
        try:
            derived = derived_blobs_key(key, self._cores.store.stored_manifest(key))
            named = [core for core in self._owners.cores_of(key) if core not in (key, derived)]
            # A header may name any core: manifests show whose derived blobs core it is
            protected = await self._derived_of_others(key, named) if named else set[bytes]()
            if self._is_wanted(key):
                return True
            # No await from here to the end
            # The main core goes last: its manifest names the blobs core, for the next try
            for core in dict.fromkeys((*named, derived, key)):
                if core is not None and core not in protected and not self._is_shared(core, key):
                    self._cores.remove(core)
            self._owners.release(key)
        except LocalProtocolError:
            return False  # a session of a core is open for a moment: a proof, or a title being read
        except Exception as error:  # other keys continue, and this one is retried
            if key not in self._refused:
                self._refused.add(key)
                fault = None if isinstance(error, HypercoreError) else error
                log.error("cannot delete %s yet: %s", encode_key(key), error, exc_info=fault)
            return False
        self._on_removed(key)
        return True

    def _is_shared(self, core: bytes, key: bytes) -> bool:
        if self._keeps(core) or self._is_wanted(core):
            return True
        return any(owner != key for owner in self._owners.keys_of(core))

    async def _derived_of_others(self, key: bytes, cores: list[bytes]) -> set[bytes]:
        """Those of `cores` that are the derived blobs core of another stored drive."""
        derived, after = set[bytes](), 0
        while True:
            rows, after = self._cores.store.manifests(after, MANIFESTS_AT_ONCE)
            blobs = (derived_blobs_key(other, manifest) for other, manifest in rows if other != key)
            derived.update(core for core in blobs if core is not None)
            if not after:
                return derived.intersection(cores)
            await asyncio.sleep(0)
