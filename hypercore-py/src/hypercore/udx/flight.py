"""Packets in flight: arrived ones, lost ones, and measurements of their arrival.

Packets are kept in runs sent at one time, so that sending and in-order acknowledgement cost per run. Only
retransmitted packets have a record of their own. Loss is detected by time of sending (RACK, RFC 8985);
delivery rates are measured as in draft-cheng-iccrg-delivery-rate-estimation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from ..ranges import RangeSet
from .packet import sequence_distance

_COMPACT_AT = 1024


class Run:
    """Packets `first` to `end - 1`, sent together, with the counters at that time."""

    __slots__ = (
        "app_limited",
        "delivered",
        "delivered_at",
        "end",
        "first",
        "first_sent_at",
        "sent_at",
        "times",
    )

    def __init__(self, first: int, end: int, sent_at: float, flight: Flight, times: int = 1) -> None:
        self.first = first
        self.end = end
        self.sent_at = sent_at
        self.delivered = flight.delivered
        self.delivered_at = flight.delivered_at
        self.first_sent_at = flight.first_sent_at
        self.app_limited = flight.app_limited_until > 0
        self.times = times
        """Number of transmissions of a single packet, including this one."""


class Arrival:
    """The results of one or several acknowledgements."""

    __slots__ = ("acked", "delivered", "newest", "rtt")

    def __init__(self) -> None:
        self.acked = 0
        """Packets newly covered by the cumulative acknowledgement."""
        self.delivered = 0
        """Packets newly known to have arrived."""
        self.newest: Run | None = None
        """The delivered packets that were sent last."""
        self.rtt: float | None = None
        """Round trip of the newest packet that was sent only once."""


class Flight:
    """Packet numbers are not wrapped here."""

    def __init__(self, first_seq: int = 0) -> None:
        self.una = first_seq
        """Oldest packet not acknowledged cumulatively."""
        self.next_seq = first_seq
        """Number of the next new packet."""
        self.delivered = 0
        """Packets that have arrived in all."""
        self.delivered_at = 0.0
        self.first_sent_at = 0.0
        """Send time of the packet that arrived last."""
        self.app_limited_until = 0
        """Above 0: rates are limited by the application until this many packets are delivered."""
        self.sacked = RangeSet()
        self.lost: dict[int, None] = {}
        """Lost packets that were not sent again yet, in order of detection."""
        self.reordering_seen = False
        self.min_rtt = 0.0
        """The smallest round trip, to decide which transmission of a packet arrived."""
        self._payloads: list[bytes] = []
        self._base = first_seq  # the number of the first payload in the list
        self._runs: list[Run] = []
        self._resent: dict[int, Run] = {}
        self._highest = first_seq  # one above the largest number known to have arrived
        self._rack_sent_at = 0.0
        self._rack_end = 0

    @property
    def in_flight(self) -> int:
        """Packets that neither are known to have arrived nor count as lost."""
        return self.next_seq - self.una - self.sacked.count - len(self.lost)

    @property
    def outstanding(self) -> bool:
        """Whether anything is not acknowledged yet."""
        return self.una < self.next_seq

    def send(self, payloads: list[bytes], now: float) -> int:
        """Record new packets. Returns the number of the first."""
        if self.una == self.next_seq:
            self.first_sent_at = self.delivered_at = now
        first = self.next_seq
        self.next_seq = first + len(payloads)
        self._payloads += payloads
        self._runs.append(Run(first, self.next_seq, now, self))
        return first

    def payload(self, seq: int) -> bytes:
        return self._payloads[seq - self._base]

    def has_arrived(self, seq: int) -> bool:
        return seq < self.una or seq in self.sacked

    def was_resent(self, seq: int) -> bool:
        """Whether `seq`, which is not acknowledged cumulatively yet, was sent more than once."""
        return seq in self._resent

    def resend(self, seq: int, now: float) -> None:
        """Record that `seq` is sent again, lost or not."""
        self.lost.pop(seq, None)
        before = self._resent.get(seq)
        self._resent[seq] = Run(seq, seq + 1, now, self, before.times + 1 if before else 2)

    def next_lost(self) -> int:
        """The packet to send again first. There must be one."""
        return next(iter(self.lost))

    def valid_ranges(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """SACK ranges of a packet, unwrapped, without packets never sent or acknowledged already."""
        una = self.una
        valid = []
        for wire_start, wire_end in ranges:
            start = una + sequence_distance(una, wire_start)
            end = una + sequence_distance(una, wire_end)
            if una <= start < end <= self.next_seq:
                valid.append((start, end))
        return valid

    def acknowledge(self, ack: int, sacks: Iterable[tuple[int, int]], now: float, arrival: Arrival) -> None:
        """Apply a cumulative acknowledgement and ranges, all of sent packets."""
        if ack > self.una:
            self._acknowledge_below(ack, now, arrival)
        for start, end in sacks:
            start = max(start, self.una)
            if start < end:
                self._acknowledge_range(start, end, now, arrival)

    def finish(self, arrival: Arrival, now: float) -> None:
        """Complete an arrival after all acknowledgements of a batch."""
        if arrival.delivered:
            self.delivered += arrival.delivered
            self.delivered_at = now
            if self.app_limited_until and self.delivered > self.app_limited_until:
                self.app_limited_until = 0
        if arrival.newest is not None:
            self.first_sent_at = arrival.newest.sent_at

    def _acknowledge_below(self, ack: int, now: float, arrival: Arrival) -> None:
        una = self.una
        last_is_new = True
        if self.sacked or self._resent or self.lost:
            last_is_new = ack - 1 not in self.sacked
            self._resolve_gaps(una, ack, now, arrival)
            arrival.delivered -= self.sacked.remove_below(ack)
        arrival.delivered += ack - una
        arrival.acked += ack - una
        self.una = ack
        if ack > self._highest:
            self._highest = ack
        runs = self._runs
        whole = 0
        while whole < len(runs) and runs[whole].end <= ack:
            whole += 1
        partial = whole < len(runs) and runs[whole].first < ack
        if last_is_new and ack - 1 not in self._resent:
            self._record(runs[whole] if partial else runs[whole - 1], ack, now, arrival, fresh=True)
        if partial:
            runs[whole].first = ack
        del runs[:whole]
        for seq in [seq for seq in self._resent if seq < ack]:
            del self._resent[seq]
        offset = ack - self._base
        if offset >= _COMPACT_AT or ack == self.next_seq:
            del self._payloads[:offset]
            self._base = ack

    def _resolve_gaps(self, start: int, end: int, now: float, arrival: Arrival) -> None:
        """Handle newly arrived packets one by one. Only called after loss or reordering."""
        if self.lost:
            for seq in [seq for seq in self.lost if start <= seq < end]:
                del self.lost[seq]
        for low, high in self.sacked.gaps(start, end):
            again = [run for seq, run in self._resent.items() if low <= seq < high]
            for run in again:
                if now - run.sent_at >= self.min_rtt:  # otherwise the first transmission arrived
                    self._record(run, run.end, now, arrival, fresh=False)
            early = min(high, self._highest) - low
            if early > sum(run.first < self._highest for run in again):
                self.reordering_seen = True

    def _acknowledge_range(self, start: int, end: int, now: float, arrival: Arrival) -> None:
        sacked = self.sacked
        newest = next((high for _, high in sacked.gaps(end - 1, end)), None)
        before = sacked.count
        if before == 0 or not self._covers(start, end):
            self._resolve_gaps(start, end, now, arrival)
            arrival.delivered += sacked.add(start, end)
        if newest is not None and end - 1 not in self._resent:
            self._record(self._run_of(end - 1), end, now, arrival, fresh=True)
        if end > self._highest:
            self._highest = end

    def _covers(self, start: int, end: int) -> bool:
        """Whether all of `start` to `end - 1` is known to have arrived."""
        return next(self.sacked.gaps(start, end), None) is None

    def _record(self, run: Run, end: int, now: float, arrival: Arrival, *, fresh: bool) -> None:
        """A packet of `run` below `end` has arrived. `fresh`: it was sent once, so it measures a round
        trip."""
        newest = arrival.newest
        if newest is None or (run.sent_at, run.end) >= (newest.sent_at, newest.end):
            arrival.newest = run
            if fresh:
                arrival.rtt = now - run.sent_at
        if (run.sent_at, end) > (self._rack_sent_at, self._rack_end):
            self._rack_sent_at, self._rack_end = run.sent_at, end

    def _run_of(self, seq: int) -> Run:
        return self._runs[bisect_right(self._runs, seq, key=_first_of) - 1]

    def detect_losses(self, now: float, wait: float) -> tuple[int, float | None]:
        """Mark packets as lost that were sent before an arrived one, and at least `wait` seconds ago.

        Returns their number, and when to check again for younger ones.
        """
        if not (self.sacked or self._resent):
            return 0, None
        found, retry_at = 0, None
        rack = (self._rack_sent_at, self._rack_end)
        for start, end in self.sacked.gaps(self.una, self.next_seq):
            if (self._run_of(start).sent_at, start) >= rack:
                break  # as were all that follow: first transmissions are in order
            for seq in range(start, end):
                if seq in self.lost:
                    continue
                again = self._resent.get(seq)
                sent_at = again.sent_at if again else self._run_of(seq).sent_at
                if (sent_at, seq) >= rack:
                    if again:
                        continue
                    break
                if sent_at + wait <= now:
                    self.lost[seq] = None
                    found += 1
                elif retry_at is None or sent_at + wait < retry_at:
                    retry_at = sent_at + wait
        return found, retry_at

    def mark_all_lost(self) -> int:
        """Mark every packet in flight as lost (after a timeout). Returns the number of new ones."""
        before = len(self.lost)
        lost: dict[int, None] = {}
        for start, end in self.sacked.gaps(self.una, self.next_seq):
            lost.update(dict.fromkeys(range(start, end)))
        self.lost = lost
        return len(lost) - before

    def clear(self) -> None:
        """Drop all payloads."""
        self._payloads.clear()
        self._runs.clear()
        self._resent.clear()
        self.lost.clear()
        self._base = self.una = self.next_seq


def _first_of(run: Run) -> int:
    return run.first
