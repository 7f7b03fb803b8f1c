"""Takes a sample of the worker, its traffic and its machine, at equal intervals."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from farmwire.report import Sample

from ..state import State
from .engine_stats import stored_bytes, total
from .host import host_stats
from .settings import WorkerSettings
from .shard import Shard

log = logging.getLogger(__name__)


class Sampler:
    """A thread that writes samples into `state`. `on_tick` is called before each."""

    def __init__(
        self,
        settings: WorkerSettings,
        state: State,
        shards: Sequence[Shard],
        *,
        on_tick: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._state = state
        self._shards = shards
        self._on_tick = on_tick
        self._lock = threading.Lock()
        self._counters: dict[int, tuple[int | None, int, int]] = {}
        """Index of an engine to its process id and its counters of bytes received and sent."""
        self._bytes = [0, 0]
        """Received and sent since the last sample."""
        self._moved = [0, 0]
        """Received and sent since the start."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    @property
    def started(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes received and sent since the start."""
        return self._moved[0], self._moved[1]

    def start(self) -> None:
        """Call it once."""
        self._thread.start()

    def stop(self) -> None:
        """Take no further sample. Does not wait for the thread."""
        self._stop.set()

    def count(self, shard: Shard, fields: dict[str, Any]) -> None:
        """Add the engine's counters, which start at 0 with each child and lose removed keys."""
        with self._lock:
            pid, *before = self._counters.get(shard.index, (None, 0, 0))
            now = (fields["bytes_in"], fields["bytes_out"])
            if pid != shard.pid:
                before = [0, 0]
            for i in range(2):
                more = max(0, now[i] - before[i])
                self._bytes[i] += more
                self._moved[i] += more
            self._counters[shard.index] = (shard.pid, *now)

    def _run(self) -> None:
        host_stats(self._settings.data)  # processor time is counted from here on
        start = time.time()
        while not self._stop.wait(self._settings.sample):
            now = time.time()
            # A clock that was set: the stretch is as long as it was meant to be
            seconds = now - start if 0 < now - start < 10 * self._settings.sample else self._settings.sample
            self._on_tick()
            try:
                self._state.add_sample(self._sample(now - seconds, seconds))
            except Exception:
                log.exception("no sample could be taken")
            start = now

    def _sample(self, start: float, seconds: float) -> Sample:
        host = host_stats(self._settings.data)
        with self._lock:
            bytes_in, bytes_out = self._bytes
            self._bytes = [0, 0]
        return Sample(
            start=start,
            seconds=seconds,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            cpu_percent=host.cpu_percent,
            memory_used_bytes=host.memory_used_bytes,
            disk_free_bytes=host.disk_free_bytes,
            stored_bytes=stored_bytes(self._shards),
            peers=total(self._shards, "peers"),
        )
