"""The receiving half: in-order and out-of-order packets, and SACK ranges."""

from __future__ import annotations

from .._types import Buffer
from ..ranges import RangeSet
from .limits import MAX_DATAGRAM_BYTES, MAX_OUT_OF_ORDER_PACKETS, RECEIVE_WINDOW_BYTES
from .memory import ReceiveMemory
from .packet import MAX_SACK_RANGES


class Reassembly:
    """Packet numbers are not wrapped here. Holds at most RECEIVE_WINDOW_BYTES for the application, and the
    share that `memory` allows."""

    __slots__ = (
        "_early",
        "_early_bytes",
        "_memory",
        "_ranges",
        "_unread",
        "_unread_bytes",
        "end",
        "next_seq",
    )

    def __init__(self, first_seq: int = 0, memory: ReceiveMemory | None = None) -> None:
        self._memory = memory or ReceiveMemory()
        self.next_seq = first_seq
        """Number of the next packet to deliver."""
        self.end: int | None = None
        """Number of the packet with the END flag, once it is known."""
        self._early: dict[int, bytes] = {}
        self._early_bytes = 0
        self._ranges = RangeSet()
        self._unread: list[Buffer] = []
        self._unread_bytes = 0

    @property
    def simple(self) -> bool:
        """Whether the next packet in order can be delivered directly: use `skip`."""
        return not self._early and self.end is None

    @property
    def finished(self) -> bool:
        """Whether all packets up to and including END were delivered."""
        return self.end is not None and self.next_seq > self.end

    @property
    def has_gaps(self) -> bool:
        return bool(self._early)

    @property
    def window(self) -> int:
        """The window to offer in bytes. 0 instead of less than a packet: a sender sends one packet into any
        window above 0, and that packet must fit."""
        if self._memory.refuses(self.held_bytes):
            return 0
        window = RECEIVE_WINDOW_BYTES - self._unread_bytes
        return window if window >= MAX_DATAGRAM_BYTES else 0

    @property
    def held_bytes(self) -> int:
        return self._unread_bytes + self._early_bytes

    def skip(self, count: int) -> None:
        """`count` packets in order were delivered directly."""
        self.next_seq += count

    def add_packet(self, seq: int, payload: Buffer, *, is_end: bool) -> list[Buffer]:
        """Add a packet in or out of order. Returns the payloads that can be delivered now.

        Empty payloads are left out. Packets too far ahead, beyond the bytes to hold, or behind the end are
        dropped, as if lost.
        """
        if seq < self.next_seq or seq in self._early or seq - self.next_seq >= MAX_OUT_OF_ORDER_PACKETS:
            return []
        if self.end is not None and seq > self.end:
            return []
        if is_end:
            if self._ranges and self._ranges.highest > seq + 1:
                return []  # an invalid END: later packets have come
            self.end = seq
        if seq > self.next_seq:
            if self._has_room(len(payload)):
                self._early[seq] = bytes(payload)
                self._early_bytes += len(payload)
                self._memory.held += len(payload)
                self._ranges.add(seq, seq + 1)
            return []
        ready: list[Buffer] = [payload] if payload else []
        self.next_seq += 1
        if self._early:
            while (early := self._early.pop(self.next_seq, None)) is not None:
                self.next_seq += 1
                self._early_bytes -= len(early)
                self._memory.held -= len(early)
                if early:
                    ready.append(early)
            self._ranges.remove_below(self.next_seq)
        return ready

    def hold(self, seq: int, payload: Buffer, *, is_end: bool) -> None:
        """`add_packet` for an application that does not read now. Beyond the window, the packet is
        dropped."""
        if not self._has_room(len(payload)):
            return
        for chunk in self.add_packet(seq, payload, is_end=is_end):
            self._unread.append(bytes(chunk))
            self._unread_bytes += len(chunk)
            self._memory.held += len(chunk)

    def _has_room(self, size: int) -> bool:
        return self.held_bytes + size <= RECEIVE_WINDOW_BYTES and not self._memory.refuses(self.held_bytes)

    def take_unread(self) -> list[Buffer]:
        """The payloads that `hold` kept, in order."""
        unread, self._unread = self._unread, []
        self._memory.held -= self._unread_bytes
        self._unread_bytes = 0
        return unread

    def close(self) -> None:
        """Stop delivering and drop held payloads."""
        self.take_unread()
        self._memory.held -= self._early_bytes
        self._early_bytes = 0
        self._early.clear()

    def sack_ranges(self) -> list[tuple[int, int]]:
        """Runs of out-of-order packets, ascending, as many as fit a packet."""
        ranges = []
        for run in self._ranges:
            ranges.append(run)
            if len(ranges) == MAX_SACK_RANGES:
                break
        return ranges
