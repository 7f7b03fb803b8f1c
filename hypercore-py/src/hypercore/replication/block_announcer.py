"""Announces our blocks to one peer.

Only durable blocks are announced, so that a crash cannot make an announcement false. The rules are those of
hypercore lib/replicator.js (`broadcastRange`, `_onwant`): a complete core is announced to every peer by one
range from 0; other new blocks go to peers that subscribed to their region, and to all if they are among the
last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..bitfield import Bitfield
from ..mux import Frame
from ..wire.control import BitfieldMessage, Range, Want
from .availability import Availability
from .config import LAST_BLOCKS, WANT_BATCH
from .interfaces import ReplicatedCore
from .wants import RemoteWants

MAX_RUNS = 16
"""Runs of blocks that are announced again one by one after blocks were dropped; more are sent as
bitfields."""


class BlockAnnouncer:
    """Which of our blocks the peer knows, and the announcements it subscribed to."""

    __slots__ = ("_announced", "_core", "_from", "_send", "_stale", "wants")

    def __init__(self, core: ReplicatedCore, send: Send) -> None:
        self._core = core
        self._send = send
        self.wants = RemoteWants()
        self._announced = 0
        """Length up to which the peer knows that we have every block."""
        self._stale = False
        """Whether an announcement was skipped while the peer did not read."""
        self._from: int | None = None
        """First block from which all must be announced again."""

    @property
    def owes(self) -> bool:
        """Whether `flush` has something to do."""
        return self._stale or self._from is not None

    def _contiguous(self) -> int:
        return min(self._core.head.length, self._core.durable.contiguous)

    def opened(self) -> None:
        """Announce our blocks, after the first sync."""
        contiguous = self._contiguous()
        if contiguous:
            self._send(Range(start=0, length=contiguous))
        if contiguous == self._core.head.length:
            self._announced = contiguous

    def have(self, start: int, end: int, theirs: Availability) -> None:
        """Blocks start..end have become durable."""
        length = self._core.head.length
        if self._contiguous() == length:
            if self._announced < length:
                self._announced = length
                self._send(Range(start=0, length=length))
            return
        if end + LAST_BLOCKS <= length and not self.wants.overlaps(start, end):
            return
        if not theirs.covers(start, end):
            self._send(Range(start=start, length=end - start))

    def skipped(self) -> None:
        """The peer does not read: `flush` sends skipped announcements when it does."""
        self._stale = True

    def dropped(self, start: int, end: int, *, truncated: bool) -> None:
        """Blocks start..end were dropped. Sent at once, before any request for them is refused."""
        self._announced = min(self._announced, start)
        self._send(Range(drop=True, start=start, length=end - start))
        if not truncated:
            # An official receiver with a watermark beyond `start` has lost all blocks from there on
            self._from = end if self._from is None else min(self._from, end)

    def flush(self) -> None:
        """Send skipped and repeated announcements."""
        if self._stale:
            self._stale = False
            self._from = None
            self._announced = 0
            contiguous = self._contiguous()
            if contiguous:
                self.opened()
            self._announce_from(contiguous, wanted_only=True)
        elif self._from is not None:
            start, self._from = self._from, None
            self._announce_from(start, wanted_only=False)

    def _announce_from(self, start: int, *, wanted_only: bool) -> None:
        have, length = self._core.durable, self._core.head.length
        runs: list[tuple[int, int]] = []
        for run in have.runs(start, length):
            if len(runs) == MAX_RUNS:
                for message in bitfields(have, start, length):
                    end = message.start + 8 * len(message.words)
                    if not wanted_only or self.wants.overlaps(message.start, end):
                        self._send(message)
                return
            if not wanted_only or self.wants.overlaps(*run) or run[1] + LAST_BLOCKS > length:
                runs.append(run)
        for low, high in runs:
            self._send(Range(start=low, length=high - low))

    def answer(self, want: Want) -> None:
        """A peer subscribes to a region: send our blocks in it (lib/replicator.js `_onwant`)."""
        start, length, contiguous = want.start, self._core.head.length, self._contiguous()
        end = start + want.length
        if end < contiguous or contiguous == length or (want.any_ and start < contiguous):
            self._send(Range(start=0, length=contiguous))
            return
        end = min(end, length)
        if end <= start:
            return
        have = self._core.durable
        if want.any_:
            index = have.first_set(start, end)
            if index is not None:
                self._send(Range(start=index))
            return
        for message in bitfields(have, start, end):
            self._send(message)


class Send(Protocol):
    def __call__(self, frame: Frame, /) -> None: ...


def bitfields(have: Bitfield, start: int, end: int) -> Iterator[BitfieldMessage]:
    """The blocks of start..end as messages: in whole words, split at multiples of 2^21, without empty parts.

    The first part is sent even if it is empty, as official peers do: it answers the `want`.
    Source: lib/bitfield.js `want`.
    """
    start &= ~31
    while start < end:
        if start >= WANT_BATCH:
            first = have.first_set(start, end)
            if first is None:
                return
            start = max(start, first - first % WANT_BATCH)
        stop = min(end, start - start % WANT_BATCH + WANT_BATCH)
        yield BitfieldMessage(start=start, words=have.words(start, stop))
        start = stop
