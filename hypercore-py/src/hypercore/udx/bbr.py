"""Congestion control by a model of the path: BBR version 1.

Source: Cardwell et al., "BBR: Congestion-Based Congestion Control" (ACM Queue 2016), with the constants of
libudx src/udx_bbr.c (a9af5de). Four things differ:

* Timers are those of event loops, so the window has room for a few timer ticks of data beyond the
  bandwidth-delay product.
* PROBE_RTT goes down to half of that product (as BBR version 2 does) instead of four packets.
* A round with much loss sets a ceiling for packets in flight (as in version 2). Version 1 ignores loss and
  keeps overrunning a buffer that is smaller than its window: the receiver's socket, on many systems.
* A single lost packet does not limit the sender to the delivered rate for a round. On a line that loses one
  packet in a hundred, most rounds have a loss.

Units: packets, seconds, packets per second.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from .limits import TIMER_GRANULARITY

INITIAL_WINDOW = 10
MIN_WINDOW = 4
HIGH_GAIN = 2.88539
"""2 / ln 2: the smallest gain that doubles the rate every round."""

DRAIN_GAIN = 1 / HIGH_GAIN
CRUISE_WINDOW_GAIN = 2.0
PACING_CYCLE = (1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
BANDWIDTH_ROUNDS = 10
MIN_RTT_WINDOW = 10.0
PROBE_RTT_TIME = 0.2
PROBE_RTT_GAIN = 0.5
FULL_PIPE_GROWTH = 1.25
FULL_PIPE_ROUNDS = 3
PACING_MARGIN = 0.99
AGGREGATION_ROUNDS = 5
AGGREGATION_TIME = 0.1
"""Seconds of extra data in flight, since acknowledgements arrive in clumps."""

LOSS_THRESHOLD = 0.02
"""Share of lost packets above which a round has overrun a buffer, often that of the receiver's socket."""

STARTUP_LOSS_THRESHOLD = 0.2
"""The same while the rate doubles every round: more is sent before losses are known."""

LOSS_PACKETS = 6
"""Lost packets in a round below which loss is ignored."""

CEILING_CUT = 0.85
CEILING_GROWTH = 1.0125
"""Factors by which a round with, and one without, such loss changes the ceiling."""

TICKS_IN_FLIGHT = 3
"""Timer ticks of data that the window has room for beside the bandwidth-delay product:
one waiting here, one at the receiver, one on the way back."""


class Phase(Enum):
    STARTUP = 1
    DRAIN = 2
    PROBE_BANDWIDTH = 3
    PROBE_RTT = 4


class Sample(NamedTuple):
    """The measurements of one batch of acknowledgements."""

    now: float
    acked: int
    """Packets that it newly acknowledges."""
    lost: int
    delivered: int
    """Packets that have arrived in all."""
    prior_delivered: int
    """`delivered` at the time when the newest of them was sent; -1 without new ones."""
    interval: float
    """Seconds over which `delivered - prior_delivered` arrived; 0 or less: unknown."""
    rtt: float | None
    in_flight: int
    prior_in_flight: int
    app_limited: bool


class Bbr:
    """`window` is the number of packets that may be in flight, `rate` the packets a second that may be
    sent."""

    def __init__(self, now: float, *, cycle_offset: int = 0) -> None:
        self.window = INITIAL_WINDOW
        self.rate = HIGH_GAIN * INITIAL_WINDOW / TIMER_GRANULARITY
        self.phase = Phase.STARTUP
        self.min_rtt = 0.0
        """Smallest round trip of the last MIN_RTT_WINDOW, 0 before any."""
        self._pacing_gain = self._window_gain = HIGH_GAIN
        self._min_rtt_at = now
        self._rate_is_measured = False
        self._round = 0
        self._round_start = False
        self._next_round_delivered = 0
        self._rates: deque[tuple[int, float]] = deque()  # (round, rate), rates falling
        self._full_rate = 0.0
        self._full_rounds = 0
        self._pipe_is_full = False
        self._cycle_offset = cycle_offset
        self._cycle_index = 0
        self._cycle_at = now
        self._probe_rtt_until = 0.0
        self._probe_rtt_round_done = False
        self._idle_restart = False
        self._saved_window = 0
        self._in_recovery = False
        self._conserving = False
        self._aggregation = (0, 0)  # extra packets in this and the last span of rounds
        self._aggregation_rounds = 0
        self._epoch_at = now
        self._epoch_acked = 0
        self._ceiling = 0.0  # largest number of packets in flight, 0: unknown
        self._round_acked = self._round_lost = self._round_in_flight = 0

    @property
    def bandwidth(self) -> float:
        """The highest delivery rate of the last BANDWIDTH_ROUNDS rounds."""
        return self._rates[0][1] if self._rates else 0.0

    @property
    def probing_rtt(self) -> bool:
        """Whether PROBE_RTT limits the rate."""
        return self.phase is Phase.PROBE_RTT

    def on_restart(self, now: float, *, app_limited: bool) -> None:
        """The first packet after a pause is sent next."""
        if app_limited:
            self._idle_restart = True
            self._epoch_at = now
            self._epoch_acked = 0
            if self.phase is Phase.PROBE_BANDWIDTH:
                self._set_rate(1.0)
            elif self.phase is Phase.PROBE_RTT:
                self._maybe_leave_probe_rtt(now)

    def on_recovery(self, lost: int, acked: int, in_flight: int, delivered: int) -> None:
        """Loss was detected. If it exceeds that of a bad line, send only the delivered amount for one
        round."""
        self._save_window()
        self._in_recovery = True
        if lost < LOSS_PACKETS or lost <= LOSS_THRESHOLD * (lost + acked + in_flight):
            return
        self._conserving = True
        self._next_round_delivered = delivered
        self.window = max(in_flight + acked, MIN_WINDOW)

    def on_recovered(self) -> None:
        """All packets in flight at the loss have arrived or are lost."""
        self._in_recovery = self._conserving = False
        self.window = max(self.window, self._saved_window)

    def on_timeout(self) -> None:
        """After a timeout all packets count as lost.

        A few packets may then be sent, not one: on a path that loses a third of them, single packets would be
        too slow.
        """
        self._save_window()
        self._in_recovery = True
        self._conserving = False
        self._full_rate = 0.0
        self.window = MIN_WINDOW

    def on_sample(self, sample: Sample) -> None:
        self._update_rate_filter(sample)
        self._update_ceiling(sample)
        self._update_aggregation(sample)
        self._update_cycle(sample)
        self._check_full_pipe(sample)
        self._check_drained(sample)
        self._update_min_rtt(sample)
        self._set_rate(self._pacing_gain)
        self._set_window(sample)

    # --- the model ----------------------------------------------------------------------------------------

    def _update_rate_filter(self, sample: Sample) -> None:
        self._round_start = False
        if sample.prior_delivered < 0:
            return
        if sample.prior_delivered >= self._next_round_delivered:
            self._next_round_delivered = sample.delivered
            self._round += 1
            self._round_start = True
            self._conserving = False
        # A span below the shortest round trip is an artefact of clumped acknowledgements.
        if sample.interval <= 0 or sample.interval < self.min_rtt:
            return
        rate = (sample.delivered - sample.prior_delivered) / sample.interval
        if sample.app_limited and rate < self.bandwidth:
            return
        rates = self._rates
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((self._round, rate))
        while rates[0][0] < self._round - BANDWIDTH_ROUNDS:
            rates.popleft()

    def _update_ceiling(self, sample: Sample) -> None:
        """Set the ceiling after a round with much loss. Plain BBR 1 ignores loss."""
        if self._round_start:
            lost, acked = self._round_lost, self._round_acked
            starting = self.phase is Phase.STARTUP
            threshold = STARTUP_LOSS_THRESHOLD if starting else LOSS_THRESHOLD
            if lost >= LOSS_PACKETS and lost > threshold * (lost + acked):
                # Loss may come from a bad line, so probing for more stays possible at any loss.
                floor = self.bandwidth * (PACING_CYCLE[0] * self.min_rtt + TIMER_GRANULARITY)
                self._ceiling = max(MIN_WINDOW, floor, CEILING_CUT * self._round_in_flight)
                self._pipe_is_full = True
            elif self._ceiling:
                self._ceiling *= CEILING_GROWTH
            self._round_lost = self._round_acked = self._round_in_flight = 0
        self._round_lost += sample.lost
        self._round_acked += sample.acked
        self._round_in_flight = max(self._round_in_flight, sample.prior_in_flight)

    def _update_aggregation(self, sample: Sample) -> None:
        if not sample.acked or sample.prior_delivered < 0:
            return
        current, last = self._aggregation
        if self._round_start:
            self._aggregation_rounds += 1
            if self._aggregation_rounds >= AGGREGATION_ROUNDS:
                self._aggregation_rounds = 0
                current, last = 0, current
        expected = self.bandwidth * (sample.now - self._epoch_at)
        if self._epoch_acked <= expected:
            self._epoch_acked = 0
            self._epoch_at = sample.now
            expected = 0.0
        self._epoch_acked += sample.acked
        extra = min(int(self._epoch_acked - expected), self.window)
        self._aggregation = (max(current, extra), last)

    def _update_min_rtt(self, sample: Sample) -> None:
        expired = sample.now > self._min_rtt_at + MIN_RTT_WINDOW
        rtt = sample.rtt
        if rtt is not None and (rtt < self.min_rtt or not self.min_rtt or expired):
            self.min_rtt = rtt
            self._min_rtt_at = sample.now
        if expired and not self._idle_restart and self.phase is not Phase.PROBE_RTT:
            self._save_window()
            self.phase = Phase.PROBE_RTT
            self._pacing_gain = self._window_gain = 1.0
            self._probe_rtt_until = 0.0
        if self.phase is Phase.PROBE_RTT:
            if not self._probe_rtt_until:
                if sample.in_flight <= self._probe_rtt_window():
                    self._probe_rtt_until = sample.now + PROBE_RTT_TIME
                    self._probe_rtt_round_done = False
                    self._next_round_delivered = sample.delivered
            else:
                if self._round_start:
                    self._probe_rtt_round_done = True
                if self._probe_rtt_round_done:
                    self._maybe_leave_probe_rtt(sample.now)
        if sample.acked:
            self._idle_restart = False

    # --- the phases ---------------------------------------------------------------------------------------

    def _update_cycle(self, sample: Sample) -> None:
        if self.phase is not Phase.PROBE_BANDWIDTH:
            return
        over = sample.now - self._cycle_at > self.min_rtt
        gain = self._pacing_gain
        if gain > 1:
            over = over and (sample.lost > 0 or sample.prior_in_flight >= self._product(gain))
        elif gain < 1:
            over = over or sample.prior_in_flight <= self._product(1.0)
        if over:
            self._cycle_index = (self._cycle_index + 1) % len(PACING_CYCLE)
            self._cycle_at = sample.now
            self._pacing_gain = PACING_CYCLE[self._cycle_index]

    def _check_full_pipe(self, sample: Sample) -> None:
        if self._pipe_is_full or not self._round_start or sample.app_limited:
            return
        if self.bandwidth >= self._full_rate * FULL_PIPE_GROWTH:
            self._full_rate = self.bandwidth
            self._full_rounds = 0
            return
        self._full_rounds += 1
        self._pipe_is_full = self._full_rounds >= FULL_PIPE_ROUNDS

    def _check_drained(self, sample: Sample) -> None:
        if self.phase is Phase.STARTUP and self._pipe_is_full:
            self.phase = Phase.DRAIN
            self._pacing_gain = DRAIN_GAIN
            self._window_gain = HIGH_GAIN
        if self.phase is Phase.DRAIN and sample.in_flight <= self._product(1.0):
            self._enter_probe_bandwidth(sample.now)

    def _enter_probe_bandwidth(self, now: float) -> None:
        self.phase = Phase.PROBE_BANDWIDTH
        self._window_gain = CRUISE_WINDOW_GAIN
        # Flows that start together should not probe together; the phase with a gain below 1 is no start.
        self._cycle_index = (2 + self._cycle_offset % 7) % len(PACING_CYCLE)
        self._cycle_at = now
        self._pacing_gain = PACING_CYCLE[self._cycle_index]

    def _maybe_leave_probe_rtt(self, now: float) -> None:
        if not self._probe_rtt_until or now < self._probe_rtt_until:
            return
        self._min_rtt_at = now
        self.window = max(self.window, self._saved_window)
        if self._pipe_is_full:
            self._enter_probe_bandwidth(now)
        else:
            self.phase = Phase.STARTUP
            self._pacing_gain = self._window_gain = HIGH_GAIN

    # --- window and rate ----------------------------------------------------------------------------------

    def _product(self, gain: float) -> float:
        """`gain` times the bandwidth-delay product in packets, plus TICKS_IN_FLIGHT of data."""
        if not self.min_rtt or not self._rates:
            return INITIAL_WINDOW * gain
        return self.bandwidth * (gain * self.min_rtt + TICKS_IN_FLIGHT * TIMER_GRANULARITY)

    def _probe_rtt_window(self) -> int:
        return max(MIN_WINDOW, int(self._product(PROBE_RTT_GAIN)))

    def _set_rate(self, gain: float) -> None:
        if not self._rates:
            if self.min_rtt and not self._rate_is_measured:
                self._rate_is_measured = True
                self.rate = HIGH_GAIN * self.window / max(self.min_rtt, TIMER_GRANULARITY)
            return
        rate = self.bandwidth * gain * PACING_MARGIN
        if self._pipe_is_full or rate > self.rate:
            self.rate = rate

    def _set_window(self, sample: Sample) -> None:
        if sample.acked and not self._recovery_window(sample):
            target = int(self._product(self._window_gain))
            if self._pipe_is_full:
                target += int(min(max(self._aggregation), self.bandwidth * AGGREGATION_TIME))
                self.window = min(self.window + sample.acked, target)
            elif self.window < target or sample.delivered < INITIAL_WINDOW:
                self.window += sample.acked
            self.window = max(self.window, MIN_WINDOW)
        if self._ceiling:
            self.window = max(MIN_WINDOW, min(self.window, int(self._ceiling)))
        if self.phase is Phase.PROBE_RTT:
            self.window = min(self.window, self._probe_rtt_window())

    def _recovery_window(self, sample: Sample) -> bool:
        """Adjust the window during recovery. Returns whether it follows only delivered packets."""
        if self._in_recovery and sample.lost:
            self.window = max(self.window - sample.lost, 1)
        if self._conserving:
            self.window = max(self.window, sample.in_flight + sample.acked)
        return self._conserving

    def _save_window(self) -> None:
        if self._in_recovery or self.phase is Phase.PROBE_RTT:
            self._saved_window = max(self._saved_window, self.window)
        else:
            self._saved_window = self.window
