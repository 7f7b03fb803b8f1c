"""The sending half: packets that may be sent now, retransmissions, and the next deadline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .._types import Buffer
from .bbr import Bbr, Sample
from .flight import Arrival, Flight
from .limits import (
    MAX_BURST_BYTES,
    MAX_BURST_PACKETS,
    MAX_FLIGHT_BYTES,
    MAX_TIMEOUTS,
    RECEIVE_WINDOW_BYTES,
    WRITE_BUFFER_BYTES,
)
from .mtu import MtuSearch
from .pacing import Pacer
from .packet import HEADER_BYTES
from .rtt import RoundTrip
from .send_queue import SendQueue

TAIL_PROBE_SLACK = 0.002
"""Seconds added to the tail probe's time when a single packet is in flight (udx.c:988)."""

TAIL_PROBE_UNKNOWN = 1.0
"""Seconds of the tail probe's time before any round trip is known."""


class PacketBatch(NamedTuple):
    """Packets to send: all payloads but the last are equally long."""

    seqs: Sequence[int]
    payloads: Sequence[bytes]
    ends: bool
    """Whether the last one carries END."""
    padding: int = 0
    """Bytes of padding between header and payload of each."""


class Sender:
    """Packet numbers are not wrapped here, times are seconds."""

    def __init__(self, now: float, first_seq: int = 0, first_ack: int = 0, *, cycle_offset: int = 0) -> None:
        self.queue = SendQueue()
        self.flight = Flight(first_seq)
        self.rtt = RoundTrip()
        self.congestion = Bbr(now, cycle_offset=cycle_offset)
        self.mtu = MtuSearch()
        self.remote_window = RECEIVE_WINDOW_BYTES
        self._window_source = (first_ack, first_seq)
        """Number and acknowledgement of the packet with the current window (udx.c wl1, wl2)."""
        self.end_seq: int | None = None
        """Number of the packet with END, once it was sent."""
        self.timed_out = False
        """Whether retransmissions have failed MAX_TIMEOUTS times."""
        self.budget: int | None = None
        """Bytes that may still be sent, see `restrict`; None: no bound. An acknowledgement removes the
        bound."""
        self.timeout_budget = 0
        self._allowed_timeouts = MAX_TIMEOUTS
        self._pacer = Pacer(now)
        self._end_queued = False
        self._timeouts = 0
        self._recovery_point: int | None = None
        self._timeout_at: float | None = None
        self._tail_probe_at: float | None = None
        self._tail_probe_used = False
        self._tail_probe_due = False
        self._losses_at: float | None = None
        self._pacing_at: float | None = None
        self._window_probe_at: float | None = None
        self._window_probes = 0

    # --- the application's side ---------------------------------------------------------------------------

    @property
    def high_water(self) -> int:
        """Unsent bytes from which the application should wait."""
        return WRITE_BUFFER_BYTES + min(self.congestion.window * self.mtu.payload_bytes, MAX_FLIGHT_BYTES)

    def write(self, data: Buffer) -> None:
        self.queue.append(data)

    def restrict(self, budget: int | None, timeout_budget: int = 0, timeouts: int = MAX_TIMEOUTS) -> None:
        """The path now leads to another address. Until a packet is acknowledged, it is sent at most
        `budget` bytes of UDP payload, and `timeout_budget` more at each of the first `timeouts`
        retransmission timeouts. None: no bound."""
        self.budget, self.timeout_budget = budget, timeout_budget
        self._allowed_timeouts = timeouts

    def allow(self, size: int) -> None:
        """Raise the allowance, if there is one."""
        if self.budget is not None:
            self.budget += size

    def spend(self, size: int) -> None:
        """Charge a packet without data to the allowance."""
        if self.budget is not None:
            self.budget -= size

    def end(self) -> None:
        self._end_queued = True

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent and not acknowledged, about."""
        return (self.flight.next_seq - self.flight.una) * self.mtu.payload_bytes

    @property
    def ending(self) -> bool:
        """Whether no more may be written."""
        return self._end_queued

    @property
    def finished(self) -> bool:
        """Whether END and all before it were acknowledged."""
        return self.end_seq is not None and self.flight.una > self.end_seq

    @property
    def only_end_is_missing(self) -> bool:
        """Whether the peer has acknowledged every byte, though not END."""
        flight = self.flight
        return self.end_seq == flight.una and flight.outstanding and not flight.payload(flight.una)

    # --- acknowledgements ---------------------------------------------------------------------------------

    def update_window(self, window: int, seq: int, ack: int) -> None:
        """The window in packet `seq`, which acknowledges up to `ack`. An older packet changes nothing."""
        if ack >= self.flight.una and self._window_source <= (seq, ack):
            self.remote_window = window
            self._window_source = (seq, ack)

    def acknowledge(self, ack: int, sacks: Iterable[tuple[int, int]], now: float) -> None:
        """Apply a cumulative acknowledgement and SACK ranges, all of sent packets."""
        flight = self.flight
        in_flight = flight.in_flight
        arrival = Arrival()
        flight.acknowledge(ack, sacks, now, arrival)
        if not arrival.delivered and not arrival.acked:
            return
        flight.finish(arrival, now)
        self._check_probe()
        if arrival.rtt is not None:
            self.rtt.sample(arrival.rtt, now)
            flight.min_rtt = self.rtt.minimum
            self._tail_probe_used = False
        if arrival.acked:
            self.budget = None
            self._timeouts = 0
            self._timeout_at = now + self.rtt.rto if flight.outstanding else None
            if self._recovery_point is not None and flight.una >= self._recovery_point:
                self._recovery_point = None
                self.congestion.on_recovered()
        lost = self._find_losses(now, arrival.delivered)
        self._notify_congestion(arrival, lost, in_flight, now)
        self._arm_tail_probe(now)

    def _check_probe(self) -> None:
        """Handle the arrival of the MTU probe."""
        probe = self.mtu.probe_seq
        if probe is not None and self.flight.has_arrived(probe):
            self.mtu.on_arrived()

    def _find_losses(self, now: float, acked: int) -> int:
        flight, rtt = self.flight, self.rtt
        in_recovery = self._recovery_point is not None
        if not flight.reordering_seen and (in_recovery or flight.sacked.count >= 3):
            reordering = 0.0
        else:
            reordering = min(rtt.minimum / 4, rtt.smoothed)
        lost, self._losses_at = flight.detect_losses(now, rtt.latest + reordering)
        if lost and self.mtu.probe_seq in flight.lost:
            self.mtu.on_lost()
            lost -= 1  # it was too large, which is no sign of congestion
        if lost and not in_recovery:
            self._recovery_point = flight.next_seq
            self.congestion.on_recovery(lost, acked, flight.in_flight, flight.delivered)
        return lost

    def _notify_congestion(self, arrival: Arrival, lost: int, prior_in_flight: int, now: float) -> None:
        flight, run = self.flight, arrival.newest
        if run is None:
            prior, interval, limited = -1, 0.0, False
        else:
            prior, limited = run.delivered, run.app_limited
            interval = max(run.sent_at - run.first_sent_at, now - run.delivered_at)
        self.congestion.on_sample(
            Sample(
                now,
                arrival.delivered,
                lost,
                flight.delivered,
                prior,
                interval,
                arrival.rtt,
                flight.in_flight,
                prior_in_flight,
                limited,
            )
        )
        if self.congestion.probing_rtt:
            flight.app_limited_until = max(1, flight.delivered + flight.in_flight)

    # --- packets ------------------------------------------------------------------------------------------

    def transmit(self, now: float) -> PacketBatch | None:
        """The next packets that may be sent now. Call it until it returns None."""
        self._pacing_at = None
        if self.budget is not None:
            return self._transmit_within(self.budget, now)
        return self._transmit(now)

    def _transmit_within(self, budget: int, now: float) -> PacketBatch | None:
        """At most one packet that fits the allowance."""
        flight = self.flight
        if budget <= HEADER_BYTES:
            return None
        again = flight.next_lost() if flight.lost else flight.next_seq - 1 if self._tail_probe_due else None
        if again is not None and flight.outstanding and HEADER_BYTES + len(flight.payload(again)) > budget:
            return None
        out = self._transmit(now)
        if out is not None:
            self.budget = budget - sum(HEADER_BYTES + out.padding + len(p) for p in out.payloads)
        return out

    def _transmit(self, now: float) -> PacketBatch | None:
        if self.flight.lost:
            out = self._send_lost(now)
        elif self._tail_probe_due:
            out = self._send_tail_probe(now)
        else:
            out = None
        if out is None and self._pacing_at is None:
            out = self._send_new(now)
        return out

    def _send_lost(self, now: float) -> PacketBatch | None:
        """Packets to send again. The peer's window has room for them: they were in it before."""
        flight, congestion = self.flight, self.congestion
        budget = self._pacer.budget(now, congestion.rate)
        if budget < 1:
            self._pacing_at = self._pacer.ready_at(1, congestion.rate)
            return None
        room = min(congestion.window - flight.in_flight, budget, self._burst_packets)
        seqs: list[int] = []
        payloads: list[bytes] = []
        while flight.lost and len(seqs) < room:
            seq = flight.next_lost()
            payload = flight.payload(seq)
            if payloads and len(payload) > len(payloads[0]):
                break
            self._resend(seq, now)
            seqs.append(seq)
            payloads.append(payload)
            if seq == self.end_seq or len(payload) < len(payloads[0]):
                break
        if not seqs:
            return None
        self._sent(len(seqs), now)
        return PacketBatch(seqs, payloads, seqs[-1] == self.end_seq)

    def _send_new(self, now: float) -> PacketBatch | None:
        queue, flight, congestion = self.queue, self.flight, self.congestion
        waiting = queue.size
        if not waiting and (not self._end_queued or self.end_seq is not None):
            if flight.in_flight < congestion.window:
                flight.app_limited_until = max(1, flight.delivered + flight.in_flight)
            return None
        in_flight = flight.in_flight
        # Out-of-order packets wait at the peer, within its window
        room = min(self._window_packets(now) - (flight.next_seq - flight.una), congestion.window - in_flight)
        if room <= 0:
            return None
        wanted = min(room, -(-waiting // self._payload_bytes) or 1, self._burst_packets)
        rate = congestion.rate
        budget = self._pacer.budget(now, rate)
        needed = min(wanted, self._pacer.quantum(rate)) if in_flight else 1
        if budget < needed:
            self._pacing_at = self._pacer.ready_at(needed, rate)
            return None
        if not flight.outstanding:
            congestion.on_restart(now, app_limited=flight.app_limited_until > 0)
        if self.mtu.searching and self.rtt.known and waiting > self._payload_bytes and self.budget is None:
            return self._send_mtu_probe(now)
        return self._send_packets(min(wanted, budget), now)

    def _send_mtu_probe(self, now: float) -> PacketBatch:
        self.mtu.probe_seq = self.flight.next_seq
        return self._send_packets(1, now)._replace(padding=self.mtu.padding)

    @property
    def _burst_packets(self) -> int:
        """Number of full packets in one send."""
        if self.budget is not None:
            return 1
        return min(MAX_BURST_PACKETS, MAX_BURST_BYTES // (HEADER_BYTES + self.mtu.payload_bytes))

    @property
    def _payload_bytes(self) -> int:
        """Payload bytes of a new full packet."""
        payload_bytes = self.mtu.payload_bytes
        return payload_bytes if self.budget is None else min(payload_bytes, self.budget - HEADER_BYTES)

    def _resend(self, seq: int, now: float) -> None:
        if seq == self.mtu.probe_seq:
            self.mtu.on_lost()
        self.flight.resend(seq, now)

    def _send_packets(self, count: int, now: float) -> PacketBatch:
        """Send `count` new packets, without a check of windows."""
        flight = self.flight
        payloads = self.queue.take(self._payload_bytes, count) or [b""]
        first = flight.send(payloads, now)
        ends = self._end_queued and not self.queue
        if ends:
            self.end_seq = flight.next_seq - 1
        self._sent(len(payloads), now)
        return PacketBatch(range(first, flight.next_seq), payloads, ends)

    def _send_tail_probe(self, now: float) -> PacketBatch | None:
        """One packet beyond what the window allows, so that an acknowledgement shows what was lost."""
        flight = self.flight
        self._tail_probe_due = False
        if not flight.outstanding:
            return None
        fresh = self.queue.size or (self._end_queued and self.end_seq is None)
        if fresh and self._window_packets(now) > flight.in_flight:
            return self._send_packets(1, now)
        seq = flight.next_seq - 1
        if seq in flight.sacked:
            return None
        payload = flight.payload(seq)
        self._resend(seq, now)
        self._sent(1, now)
        return PacketBatch((seq,), (payload,), seq == self.end_seq)

    def _sent(self, count: int, now: float) -> None:
        self._pacer.spend(count)
        if self._timeout_at is None:
            self._timeout_at = now + self.rtt.rto
        self._arm_tail_probe(now)

    def _window_packets(self, now: float) -> int:
        """Packets that fit the peer's window; starts the probe timer of a closed window."""
        if self.remote_window > 0:
            self._window_probe_at = None
            self._window_probes = 0
            return min(self.remote_window, MAX_FLIGHT_BYTES) // self.mtu.payload_bytes or 1
        if self._window_probe_at is None and not self.flight.outstanding:
            self._window_probe_at = now
        return 0

    def take_window_probe(self, now: float) -> bool:
        """Whether to send a HEARTBEAT now, to learn if the peer's window is still closed."""
        if self._window_probe_at is None or now < self._window_probe_at:
            return False
        self._window_probe_at = now + self.rtt.rto * (2 if self._window_probes else 1)
        self._window_probes += 1
        return True

    # --- timers -------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        deadlines = [
            at
            for at in (
                self._timeout_at,
                self._tail_probe_at,
                self._losses_at,
                self._pacing_at,
                self._window_probe_at,
            )
            if at is not None
        ]
        return min(deadlines, default=None)

    def handle_timer(self, now: float) -> None:
        """Handle expired timers. Call `transmit` afterwards."""
        if self._losses_at is not None and now >= self._losses_at:
            self._losses_at = None
            self._find_losses(now, 0)
        if self._tail_probe_at is not None and now >= self._tail_probe_at:
            self._tail_probe_at = None
            self._tail_probe_used = self._tail_probe_due = True
        if self._timeout_at is not None and now >= self._timeout_at:
            self._on_timeout(now)

    def _on_timeout(self, now: float) -> None:
        flight = self.flight
        if not flight.outstanding:
            self._timeout_at = None
            return
        self._timeouts += 1
        if self._timeouts > MAX_TIMEOUTS:
            self._timeout_at = None
            self.timed_out = True
            return
        if self.budget is not None and self._timeouts <= self._allowed_timeouts:
            self.budget += self.timeout_budget
        self._timeout_at = now + 2 * self.rtt.rto
        self._tail_probe_at = self._losses_at = None
        self._tail_probe_due = False
        flight.mark_all_lost()
        self._recovery_point = flight.next_seq
        self.congestion.on_timeout()

    def _arm_tail_probe(self, now: float) -> None:
        flight = self.flight
        if (
            self._tail_probe_used
            or self._recovery_point is not None
            or flight.sacked
            or not flight.outstanding
            or self._timeout_at is None
        ):
            self._tail_probe_at = None
            return
        wait = 2 * self.rtt.smoothed if self.rtt.known else TAIL_PROBE_UNKNOWN
        if flight.in_flight == 1:
            wait += TAIL_PROBE_SLACK
        self._tail_probe_at = min(now + wait, self._timeout_at)

    def stop(self) -> None:
        """Drop all output and timers."""
        self.queue.clear()
        self.flight.clear()
        self._timeout_at = self._tail_probe_at = self._losses_at = None
        self._pacing_at = self._window_probe_at = None
