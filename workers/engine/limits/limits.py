"""Applies the limits of an engine, watches them, and emits events about them.

Rates are the corestore's buckets, set from the timetable at every check. The disk is a budget for downloads,
so that they end before a bound, and a pause when it is used up. Stored blocks are still served.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Literal, Protocol

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.throttle import Throttle
from hypercore.errors import StorageError

from ...settings.rate_schedule import RateSchedule
from ..model.events import Event, LimitChanged, LimitName, Problem
from ..model.rate import Rate
from ..model.status import LimitStatus
from ..settings.settings import LimitSettings
from .disk_budget import NEAR_BYTES, DiskBudget, DiskMeter

POLL_INTERVAL = 1.0
"""Seconds between two checks."""

CLEAR_AFTER = 10.0
"""Seconds without effect after which a limit is reported as cleared: bounds the number of events."""

SLACK_BYTES = 1 << 20
"""Free bytes beyond the needed ones at which downloads resume after the disk was full, since other programs
write as well."""

_CONSEQUENCE = "nothing more is downloaded; what is here is served"


class ConnectionLimit(Protocol):
    """Limit of incoming connections: `hypercore.swarm.Slots`."""

    limit: int
    rejected: int

    def __len__(self) -> int: ...


@dataclass(slots=True)
class _LimitState:
    """Last event about one limit."""

    reached: bool = False
    at: float = float("-inf")


class Limits:
    """The engine starts them with `poll`, and ends them with `close`."""

    def __init__(
        self,
        settings: LimitSettings,
        *,
        cores: Corestore,
        data: Path,
        emit: Callable[[Event], None],
        slots: ConnectionLimit | None = None,
        open_files: Callable[[], tuple[int, int]] | None = None,
        local_time: Callable[[], datetime] = lambda: datetime.now(UTC).astimezone(),
        disk_usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage,
    ) -> None:
        """`open_files` returns (open, allowed), `disk_usage` (total, used, free) bytes."""
        self.settings = settings
        self._cores = cores
        self._emit = emit
        self._slots = slots
        self._rejected = 0
        self._open_files = open_files
        self._local_time = local_time
        self._disk = DiskMeter(cores, data, disk_usage)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._needed = 0
        """Bytes that must be free for downloads to resume; 0: they run."""
        self._meters = {"up": Rate(), "down": Rate()}
        self._reported: dict[LimitName, _LimitState] = {}
        self._room: DiskBudget | None = None

    # --- life

    def close(self) -> None:
        """End the checks. What is paused stays so."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def configure(self, settings: LimitSettings, *, hold: bool = False) -> None:
        """Set other limits. `hold`: download nothing in any case."""
        if settings.max_bytes != self.settings.max_bytes:
            self._disk.count_again()
        self.settings = settings
        self._set_paused("request", hold)
        self.poll()

    def stored_changed(self) -> None:
        """Blocks were deleted: count again."""
        self._disk.count_again()

    def content_deleted(self) -> None:
        """Check the disk at once: there may be room again."""
        self._disk.count_again()
        self.poll()

    # --- status

    @property
    def holding(self) -> bool:
        """Whether downloads are paused."""
        return self._cores.downloads_paused

    @property
    def full(self) -> bool:
        """Whether downloads stopped for lack of room."""
        return self._needed > 0

    @property
    def room(self) -> tuple[int, int, int] | None:
        """Bytes that may still be stored, bytes that may be in all, and bytes that a download waits for; None
        before the first check."""
        if self._room is None:
            return None
        return self._room.left, self._room.stored + self._room.left, self._cores.download.limit.lacking

    @property
    def disk_problem(self) -> str:
        """Why downloads are stopped; empty if they run."""
        room = self._room
        return f"NO_ROOM: {room.text}: {_CONSEQUENCE}" if self.full and room is not None else ""

    def status(self) -> tuple[LimitStatus, ...]:
        """Status of the limits that are set."""
        now = monotonic()
        found: list[LimitStatus] = []
        for name, throttle in self._rates():
            rate = throttle.limit.rate
            if rate is not None:
                value = self._meters[name].per_second(now)
                found.append(self._status(name, value, int(rate)))
        room = self._room
        if room is not None and (room.quota or self.full):
            text = "" if room.quota else room.text
            found.append(self._status("disk", room.stored, max(0, room.stored + room.left), text))
        if self._slots is not None and self._is_reported("peers"):
            found.append(self._status("peers", len(self._slots), self._slots.limit))
        if self._open_files is not None and self._is_reported("files"):
            found.append(self._status("files", *self._open_files()))
        return tuple(found)

    def _is_reported(self, name: LimitName) -> bool:
        state = self._reported.get(name)
        return state is not None and state.reached

    def _status(self, name: LimitName, value: float, maximum: int, text: str = "") -> LimitStatus:
        return LimitStatus(limit=name, value=value, max=maximum, reached=self._is_reported(name), text=text)

    def _rates(self) -> tuple[tuple[LimitName, Throttle], ...]:
        return (("up", self._cores.upload), ("down", self._cores.download))

    # --- checks

    def poll(self) -> None:
        """Apply the current limits, emit changes, and schedule the next check."""
        self.close()
        now = monotonic()
        self._timer = self._loop.call_later(POLL_INTERVAL, self.poll)
        self._set_rates(now)
        self._check_disk(now)
        self._check_counts(now)

    def _check_counts(self, now: float) -> None:
        slots, files = self._slots, self._open_files
        if slots is not None:
            slots.limit = self.settings.max_peers
            rejected, self._rejected = slots.rejected - self._rejected, slots.rejected
            self._report("peers", rejected > 0 or len(slots) >= slots.limit, len(slots), slots.limit, now)
        if files is not None:
            used, maximum = files()
            self._report("files", used >= maximum, used, maximum, now)

    def _set_rates(self, now: float) -> None:
        local = self._local_time()
        for name, throttle in self._rates():
            table: RateSchedule = getattr(self.settings, name)
            rate = table.rate_at(local)
            throttle.set_rate(rate)
            limit = throttle.limit
            meter = self._meters[name]
            meter.sample(limit.moved, now)
            held = rate is not None and now - limit.held_at <= POLL_INTERVAL
            self._report(name, held, round(meter.per_second(now)), rate or 0, now)

    def _check_disk(self, now: float) -> None:
        try:
            room = self._room = self._disk.measure(self.settings, now, full=self.full)
        except (OSError, StorageError):
            return  # the store fails and reports that itself
        limit = self._cores.download.limit
        was_full = self.full
        if was_full:
            if room.left >= self._needed + (0 if room.quota else SLACK_BYTES):
                self._needed = 0
        elif room.left <= 0 or room.left < limit.lacking:
            self._needed = max(limit.lacking, 1)
        left = max(0, room.left - limit.reserved)
        limit.set_budget(left if self.full or room.left < NEAR_BYTES else None)
        if self.full and not was_full:
            self._emit(Problem(key=None, code="NO_ROOM", message=f"{room.text}: {_CONSEQUENCE}"))
        self._set_paused("disk", self.full)
        text = "" if room.quota else room.text
        max_bytes = max(0, room.stored + room.left)
        self._report("disk", self.full, room.stored, max_bytes, now, at_once=True, text=text)

    def _set_paused(self, reason: Literal["disk", "request"], paused: bool) -> None:
        (self._cores.pause_downloads if paused else self._cores.resume_downloads)(reason)

    def _report(
        self,
        name: LimitName,
        reached: bool,
        value: int,
        maximum: int,
        now: float,
        *,
        at_once: bool = False,
        text: str = "",
    ) -> None:
        last = self._reported.setdefault(name, _LimitState())
        if reached:
            last.at = now
        if reached is last.reached or (
            not reached and not at_once and maximum and now - last.at < CLEAR_AFTER
        ):
            return
        last.reached = reached
        state: Literal["reached", "cleared"] = "reached" if reached else "cleared"
        self._emit(LimitChanged(limit=name, state=state, value=value, max=maximum, text=text))
