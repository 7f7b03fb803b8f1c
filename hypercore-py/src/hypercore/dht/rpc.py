"""Our requests in flight: ids, retries, timeouts, and a window that protects home routers from bursts.

Source: dht-rpc lib/io.js (6.27.0). Unlike in the official node, which accepts a response with a known tid
from any address, a response must come from the address that was asked: tids have only 16 bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from .address import Address, node_id
from .packet import Datagram, Request, Response

REQUEST_TIMEOUT = 1.0
"""Seconds per attempt."""

DEFAULT_RETRIES = 3
"""Attempts after the first one."""

WINDOW = 80
"""Unanswered requests per slot of the congestion window; twice that over all of them (dht-rpc MAX_WINDOW)."""

SLOT_SECONDS = 0.75
"""Seconds for which requests are counted in one slot of the congestion window."""

SLOTS = 4
"""Slots of the window (dht-rpc lib/io.js, CongestionWindow: four of 750 ms)."""

MAX_CALLS = 32768
"""Requests in flight or waiting for room: half of the 16-bit id space, so that a free id is found at once."""


class Reply(NamedTuple):
    """The response to a request."""

    source: Address
    to: Address
    """Our own address, as the responder sees it."""
    id: bytes | None
    """The responder's node id, if it sent one that matches its address."""
    token: bytes | None
    closer_nodes: tuple[Address, ...]
    error: int
    value: bytes | None
    rtt: float


class OutgoingRequest(NamedTuple):
    """One request to one node, with its timeout and retries."""

    to: Address
    command: int
    internal: bool = False
    """Whether `command` is one of `Internal`, else one of `Command`."""
    target: bytes | None = None
    """32 bytes, for commands about a place in the DHT."""
    value: bytes | None = None
    token: bytes | None = None
    """The token from the node's last reply, for commands that store something."""
    retries: int = DEFAULT_RETRIES
    """Attempts after the first one."""
    timeout: float | None = None
    """Seconds per attempt. None: REQUEST_TIMEOUT."""
    force: bool = False
    """Ignore the congestion window, for requests that must not wait."""


class ReplyHandler(NamedTuple):
    """Callbacks of a request: exactly one of `on_reply` and `on_timeout` is called, unless it is
    cancelled."""

    on_reply: Callable[[Reply], None] | None = None
    on_timeout: Callable[[], None] | None = None
    on_slow: Callable[[], None] | None = None
    """Called once, when the first attempt was not answered in time."""


IGNORE_REPLY = ReplyHandler()
"""For requests whose answer does not matter."""


class Call:
    """One of our requests in flight."""

    __slots__ = (
        "command",
        "deadline",
        "done",
        "handler",
        "packet",
        "retries_left",
        "sent",
        "sent_at",
        "tid",
        "timeout",
        "to",
    )

    def __init__(self, outgoing: OutgoingRequest, tid: int, packet: bytes, handler: ReplyHandler) -> None:
        self.to = outgoing.to
        self.tid = tid
        self.packet = packet
        self.retries_left = outgoing.retries
        self.timeout = REQUEST_TIMEOUT if outgoing.timeout is None else outgoing.timeout
        self.handler = handler
        self.sent = 0
        self.sent_at = 0.0
        self.deadline = 0.0
        self.done = False


class CongestionWindow:
    """A ring of four slots, each with the number of unanswered requests sent in its time."""

    __slots__ = ("_at", "_slots", "_turn_at", "_window")

    def __init__(self, now: float, window: int = WINDOW) -> None:
        self._window = window
        self._slots = [0] * SLOTS
        self._at = 0
        self._turn_at = now + SLOT_SECONDS

    @property
    def full(self) -> bool:
        return self._slots[self._at] >= self._window or sum(self._slots) >= 2 * self._window

    @property
    def turn_at(self) -> float:
        """When the oldest slot is dropped next."""
        return self._turn_at

    def sent(self) -> None:
        self._slots[self._at] += 1

    def answered(self) -> None:
        if self._slots[self._at]:
            self._slots[self._at] -= 1

    def advance(self, now: float) -> None:
        if now - self._turn_at > SLOTS * SLOT_SECONDS:
            self._slots = [0] * SLOTS
            self._turn_at = now + SLOT_SECONDS
        while now >= self._turn_at:
            self._at = (self._at + 1) % SLOTS
            self._slots[self._at] = 0
            self._turn_at += SLOT_SECONDS


class Rpc:
    """All requests of one node, a part of `DhtCore`. Datagrams to send are in `outbox`."""

    def __init__(self, *, first_tid: int, now: float, window: int = WINDOW) -> None:
        self.outbox: list[Datagram] = []
        self.requests = 0
        """Requests so far."""
        self.sent = 0
        """Datagrams sent, retries included."""
        self.answered = 0
        """Requests that were answered."""
        self.timed_out = 0
        """Requests that failed without an answer."""
        self._tid = first_tid & 0xFFFF
        self._calls: dict[int, Call] = {}
        self._waiting: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []
        self._order = count()
        self._window = CongestionWindow(now, window)

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    @property
    def room(self) -> bool:
        """Whether another request would be accepted."""
        return len(self._calls) < MAX_CALLS

    def call(
        self,
        outgoing: OutgoingRequest,
        now: float,
        handler: ReplyHandler = IGNORE_REPLY,
        *,
        own_id: bytes | None = None,
    ) -> Call | None:
        """Send a request. `own_id` is our node id if we are persistent. Returns None, and sends nothing, if
        too many are in flight (see `room`)."""
        if not self.room:
            return None
        tid = self._next_tid()
        packet = Request(
            tid=tid,
            to=outgoing.to,
            command=outgoing.command,
            internal=outgoing.internal,
            id=own_id,
            token=outgoing.token,
            target=outgoing.target,
            value=outgoing.value,
        ).encode()
        call = Call(outgoing, tid, packet, handler)
        self._calls[tid] = call
        self.requests += 1
        self._window.advance(now)
        if not outgoing.force and (self._window.full or self._waiting):
            self._waiting.append(call)
        else:
            self._send(call, now)
        return call

    def cancel(self, call: Call) -> None:
        """Drop a request; its callbacks are not called any more."""
        if not call.done:
            call.done = True
            del self._calls[call.tid]

    def match(self, response: Response, source: Address, now: float) -> Reply | None:
        """The reply for a response from `source`, None if it belongs to no request. `deliver` finishes the
        call."""
        call = self._calls.get(response.tid)
        if call is None or call.to != source or not call.sent:
            return None
        known = response.id is not None and response.id == node_id(source)
        return Reply(
            source,
            response.to,
            response.id if known else None,
            response.token,
            response.closer_nodes,
            response.error,
            response.value,
            now - call.sent_at,
        )

    def deliver(self, tid: int, reply: Reply, now: float) -> None:
        """Finish the call `tid` with `reply`."""
        call = self._calls.pop(tid)
        call.done = True
        self.answered += 1
        self._window.advance(now)
        self._window.answered()
        if call.handler.on_reply is not None:
            call.handler.on_reply(reply)
        if self._waiting:
            self._send_waiting(now)

    def next_deadline(self) -> float | None:
        while self._timers and self._stale(self._timers[0]):
            heappop(self._timers)
        at = self._timers[0][0] if self._timers else None
        if self._waiting:
            return self._window.turn_at if at is None else min(at, self._window.turn_at)
        return at

    def expire(self, now: float) -> list[Call]:
        """Retry requests without an answer, and fail those without retries left. Call it at `next_deadline`.
        Returns the failed calls, after their callbacks."""
        failed = []
        while self._timers and self._timers[0][0] <= now:
            entry = heappop(self._timers)
            if self._stale(entry):
                continue
            call = entry[2]
            if call.sent == 1 and call.handler.on_slow is not None:
                call.handler.on_slow()
                if call.done:
                    continue
            if call.retries_left > 0:
                call.retries_left -= 1
                self._send(call, now)
                continue
            self.cancel(call)
            self.timed_out += 1
            failed.append(call)
            if call.handler.on_timeout is not None:
                call.handler.on_timeout()
        self._window.advance(now)
        self._send_waiting(now)
        return failed

    def _stale(self, entry: tuple[float, int, Call]) -> bool:
        return entry[2].done or entry[2].deadline != entry[0]

    def _next_tid(self) -> int:
        while self._tid in self._calls:
            self._tid = (self._tid + 1) & 0xFFFF
        tid = self._tid
        self._tid = (tid + 1) & 0xFFFF
        return tid

    def _send(self, call: Call, now: float) -> None:
        call.sent += 1
        if call.sent == 1:
            call.sent_at = now
        call.deadline = now + call.timeout
        heappush(self._timers, (call.deadline, next(self._order), call))
        self._window.sent()
        self.sent += 1
        self.outbox.append((call.packet, call.to))

    def _send_waiting(self, now: float) -> None:
        while self._waiting and not self._window.full:
            call = self._waiting.popleft()
            if not call.done:
                self._send(call, now)
