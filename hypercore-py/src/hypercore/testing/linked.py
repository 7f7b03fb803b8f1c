"""Two muxers joined in memory, under a clock that moves only on request.

For tests of anything that runs over a `Muxer`, ours and those of users of the library. Messages arrive whole
and in order, as on a secret stream; a link may have latency, a limited capacity, and may be cut. Nothing here
sleeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..errors import RemoteProtocolError
from ..machine import Timed
from ..mux import Muxer

HANDSHAKE_HASH = bytes(range(64))
"""The Noise handshake hash of links that are not given another."""


class FakeClock:
    """Seconds since some start, like the clock of an event loop; that of a machine that boots is at 0."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def advance(self, seconds: float) -> float:
        if seconds < 0:
            raise ValueError("time does not go back")
        self.now += seconds
        return self.now


class _Direction:
    """Messages on their way from one muxer to the other."""

    def __init__(self, source: Muxer, target: Muxer) -> None:
        self.source = source
        self.target = target
        self.queue: deque[tuple[float, bytes]] = deque()
        self.queued_bytes = 0
        self.total_bytes = 0
        self.total_messages = 0


class LinkedPair:
    """A connection between the muxers `a` (the Noise initiator) and `b`.

    `latency` is one way, in seconds. `window` is how many bytes may be on their way in one direction before
    the sender's transport says that it has enough; None is no limit (`windows` has it per side). `tap`, if
    given, sees every message as ("a" or "b", bytes) when it is sent.
    """

    def __init__(
        self,
        clock: FakeClock | None = None,
        *,
        latency: float = 0.0,
        window: int | None = None,
        handshake_hash: bytes = HANDSHAKE_HASH,
        tap: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.latency = latency
        self.windows = {"a": window, "b": window}
        """Bytes that each side may have in flight. At 0 it sends no more."""
        self.tap = tap
        self.a = Muxer(is_initiator=True, handshake_hash=handshake_hash)
        self.b = Muxer(is_initiator=False, handshake_hash=handshake_hash)
        self.connected = True
        self.errors: list[RemoteProtocolError] = []
        """Protocol violations; the first one cuts the link, as a shell would."""
        self._directions = {"a": _Direction(self.a, self.b), "b": _Direction(self.b, self.a)}
        for muxer in (self.a, self.b):
            muxer.rtt = 2 * latency

    @property
    def bytes_sent(self) -> tuple[int, int]:
        """Bytes that a and b have sent."""
        return self._directions["a"].total_bytes, self._directions["b"].total_bytes

    @property
    def messages_sent(self) -> tuple[int, int]:
        """Messages that a and b have sent."""
        return self._directions["a"].total_messages, self._directions["b"].total_messages

    def send_raw(self, side: str, message: bytes) -> None:
        """Put a message on the way as if the muxer of `side` had sent it."""
        self._put(side, message)

    def next_arrival(self) -> float | None:
        """When the next message arrives."""
        return min((d.queue[0][0] for d in self._directions.values() if d.queue), default=None)

    def step(self) -> bool:
        """One turn of both shells: deliver what has arrived, send what there is. False if nothing
        happened."""
        moved = False
        for side, direction in self._directions.items():
            moved |= self._deliver(direction)
            moved |= self._collect(side, direction)
        return moved

    def cut(self) -> None:
        """Lose the connection: messages in flight are gone, both muxers are shut down."""
        if self.connected:
            self.connected = False
            for direction in self._directions.values():
                direction.queue.clear()
            self.a.shutdown(self.clock.now)
            self.b.shutdown(self.clock.now)

    def _deliver(self, direction: _Direction) -> bool:
        moved = False
        while self.connected and direction.queue and direction.queue[0][0] <= self.clock.now:
            _, message = direction.queue.popleft()
            direction.queued_bytes -= len(message)
            moved = True
            try:
                direction.target.receive(message, self.clock.now)
            except RemoteProtocolError as error:
                self.errors.append(error)
                self.cut()
        return moved

    def _collect(self, side: str, direction: _Direction) -> bool:
        moved = False
        window = self.windows[side]
        while self.connected and (window is None or direction.queued_bytes < window):
            messages = direction.source.take_output(self.clock.now)
            if not messages:
                break
            moved = True
            for message in messages:
                self._put(side, message)
        return moved

    def _put(self, side: str, message: bytes) -> None:
        direction = self._directions[side]
        direction.queue.append((self.clock.now + self.latency, message))
        direction.queued_bytes += len(message)
        direction.total_bytes += len(message)
        direction.total_messages += 1
        if self.tap is not None:
            self.tap(side, message)


class LinkedNetwork:
    """Many links and many things with timers under one clock."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.links: list[LinkedPair] = []
        self.timed: list[Timed] = []

    def link(self, *, latency: float = 0.0, window: int | None = None) -> LinkedPair:
        pair = LinkedPair(self.clock, latency=latency, window=window)
        self.links.append(pair)
        return pair

    def run(
        self, *, until: Callable[[], bool] | None = None, seconds: float = 60.0, max_turns: int = 200_000
    ) -> bool:
        """Let everything happen until `until` holds (True) or for `seconds` of fake time (False).

        Without `until` it returns True as soon as nothing more is going to happen on its own. A network that
        is still busy after `max_turns` turns talks in circles: AssertionError.
        """
        end = self.clock.now + seconds
        for _ in range(max_turns):
            if until is not None and until():
                return True
            moved = False
            for pair in self.links:
                moved |= pair.step()
            if moved:
                continue
            at = self._next_time()
            if at is None:
                return until is None
            if at > end:
                self.clock.now = end
                return until is None and not any(pair.next_arrival() for pair in self.links)
            self.clock.now = max(self.clock.now, at)
            for timed in self.timed:
                deadline = timed.next_deadline()
                if deadline is not None and deadline <= self.clock.now:
                    timed.handle_timer(self.clock.now)
        raise AssertionError(f"still busy after {max_turns} turns")

    def _next_time(self) -> float | None:
        times = [pair.next_arrival() for pair in self.links]
        times += [timed.next_deadline() for timed in self.timed]
        return min((at for at in times if at is not None), default=None)
