"""A connection with a muxer: passes messages on without knowing their contents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from math import inf
from time import monotonic

from ...connection import MAX_EARLY_FRAME_BYTES, MAX_FRAME_BYTES, Connection
from ...errors import ConnectionClosed, RemoteProtocolError, StreamReset
from ...keys import encode_key
from ...mux import Muxer, UndecidedBudget
from .debts import Debt
from .holdings import MAX_INCOMING_BYTES, MAX_OUTGOING_BYTES, PROGRESS_SECONDS, Holdings
from .turns import Turns, Useful

log = logging.getLogger(__name__)

PAUSE_HELD_BYTES = 2 * 1024 * 1024
"""Bytes received and not processed, at which reading from the peer stops. Ours."""

GATHER_SECONDS = 0.008
"""Seconds between two sends while input waits to be processed, so that the output of much input shares few
messages. Ours."""

UNUSED_SECONDS = 60.0
"""Seconds in which a peer that dialled us must open a channel. Ours."""

FULL_POLL_SECONDS = 0.05
"""Seconds between two checks whether a connection with waiting requests may answer them."""

CLOSED_AT_ONCE = 32
"""Channels that are closed at once when their connection ends, so that most connections are done with. The
others are closed in turns: each takes about ten microseconds, and a peer may have opened thousands. Ours."""


class Hub:
    """The resources that the links of one store share: turns on the loop, and the budget for what they
    hold."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turns = Turns(loop)
        self.incoming = Holdings(MAX_INCOMING_BYTES, grace=0.0)
        self.outgoing = Holdings(MAX_OUTGOING_BYTES, grace=PROGRESS_SECONDS)
        self.undecided = UndecidedBudget()
        self._waiting: dict[Link, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def wait_for_room(self, link: Link) -> None:
        """Resume the link, which has requests to answer, when less waits to be sent."""
        self._waiting[link] = None
        if self._timer is None:
            self._timer = self.loop.call_later(FULL_POLL_SECONDS, self._poll)

    def leave(self, link: Link) -> None:
        self._waiting.pop(link, None)
        self.incoming.leave(link.received)
        self.outgoing.leave(link.queued)

    def _poll(self) -> None:
        self._timer = None
        for holder in self.outgoing.holders():
            holder.poll()  # acknowledgements cause no callback
        waiting, self._waiting = self._waiting, {}
        for link in waiting:
            if self.outgoing.full:
                self.outgoing.make_room()
                self.wait_for_room(link)
            else:
                self.turns.add(link)


class Received:
    """The messages that a link has received and not processed."""

    __slots__ = ("_link", "held")

    def __init__(self, link: Link) -> None:
        self._link = link
        self.held = 0

    @property
    def useful(self) -> int:
        return self._link.muxer.received

    def poll(self) -> None:
        link = self._link
        held = self.held = link.connection.held_bytes + link.muxer.batch_bytes
        link.hub.incoming.record(self, held, link.connection.bytes_in - held)

    def evict(self) -> None:
        self._link.connection.destroy(ConnectionClosed("the peer leaves messages incomplete for too long"))


class Queued:
    """The messages that a link has to send, and the requests that wait to be answered on it."""

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def useful(self) -> int:
        return self._link.muxer.received

    def poll(self) -> None:
        link = self._link
        unsent = link.connection.unsent_bytes
        held = unsent + link.muxer.queued_bytes + link.muxer.backlog_bytes
        link.hub.outgoing.record(self, held, link.connection.bytes_out - unsent)

    def evict(self) -> None:
        self._link.connection.destroy(ConnectionClosed("the peer asks for more than it reads"))


class Link:
    """Pumps between a connection and its muxer, in turns. Output is collected over one turn of the loop, so
    that related messages travel together.

    `on_close` is called once, when the connection has ended. Then the channels are closed, in turns if there
    are many, and then what it returned is iterated, in turns too, for the rest of the owner's work. Links
    that share a `hub` share the time and memory of all connections.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[Link, Exception | None], Iterable[object] | None],
        hub: Hub | None = None,
        open_more: Callable[[Link, Callable[[], bool]], bool] | None = None,
    ) -> None:
        """`open_more(link, expired)`, called once in each turn, opens more channels until `expired()`. It
        returns True if it has more to open now."""
        self.connection = connection
        self.hub = hub or Hub(loop)
        self.muxer = Muxer(
            is_initiator=connection.is_initiator,
            handshake_hash=connection.handshake_hash,
            on_output=self._add,
            undecided=self.hub.undecided,
        )
        self.muxer.remote_public_key = connection.remote_public_key
        self.debt = Debt()
        self.received = Received(self)
        self.queued = Queued(self)
        self._loop = loop
        self._on_close = on_close
        self._open_more = open_more
        self._held = False
        self._paused = False
        self._useful = (0, 0, 0)
        self._sent_at = -inf
        self._ended_at = inf
        self._rest: Iterator[object] = iter(())
        """What the owner has to do after the channels were closed."""
        self._unused: asyncio.TimerHandle | None = None
        if not connection.is_initiator:
            self._unused = loop.call_later(UNUSED_SECONDS, self._check_used)
        connection.max_frame_bytes = MAX_EARLY_FRAME_BYTES
        connection.on_drain = self._add
        connection.on_close = self._closed
        connection.on_readable = self._readable
        connection.on_work = self.charge

    def hold(self, held: bool) -> None:
        """Stop reading from the peer (True) or start again, since blocks in memory wait for the disk."""
        self._held = held
        self._update_reading()
        self._add()

    def work(self, expired: Callable[[], bool]) -> bool:
        """Process messages, then send output; or go on to close the channels. True if there is more to
        do."""
        if self.muxer.closed:
            return not self._end(expired)
        more = self._read(expired)
        gather = more and monotonic() < self._sent_at + GATHER_SECONDS
        if self._open_more is not None:
            more = self._open_more(self, expired) or more
        if not gather:
            more = self._send(expired) or more
        self._update_reading()
        if self.received.held:
            self.received.poll()
        self.queued.poll()
        return self.muxer.closed or (more and not self.connection.closed)

    def take_useful(self) -> Useful:
        muxer = self.muxer
        pieces, size, received = self._useful
        self._useful = (muxer.useful, muxer.useful_bytes, muxer.received)
        return Useful(muxer.useful - pieces, muxer.useful_bytes - size, muxer.received > received)

    @property
    def requested(self) -> int:
        return self.muxer.requested

    @property
    def unprocessed(self) -> int:
        return self.connection.held_bytes + self.muxer.unread_bytes

    def charge(self, seconds: float) -> None:
        """Count processor time that the peer has caused elsewhere."""
        self.hub.turns.charge(self, seconds)

    def _add(self) -> None:
        self.hub.turns.add(self)

    def _readable(self) -> None:
        self.hub.turns.run_now(self, self._read)
        self._add()
        self.received.poll()
        self._update_reading()

    def _read(self, expired: Callable[[], bool]) -> bool:
        """Process messages. True if there is more."""
        try:
            return self._take_apart(expired)
        except RemoteProtocolError as error:
            self.connection.destroy(error)
            return False

    def _take_apart(self, expired: Callable[[], bool]) -> bool:
        connection, muxer = self.connection, self.muxer
        while not self._held and not muxer.closed:
            if not muxer.go_on(monotonic(), expired):
                return True
            if muxer.paused:
                return False
            if expired():
                return True
            if connection.max_frame_bytes != MAX_FRAME_BYTES and muxer.opened_channels:
                connection.max_frame_bytes = MAX_FRAME_BYTES
            message = connection.read()
            if message is None:
                return False
            muxer.begin(message, monotonic())
        return False

    def _send(self, expired: Callable[[], bool]) -> bool:
        """Send as much as the connection takes, the rest when it has drained. True if there is more."""
        connection, muxer = self.connection, self.muxer
        self._sent_at = monotonic()
        muxer.rtt = connection.rtt
        while connection.writable and not muxer.closed:
            muxer.holding = self.hub.outgoing.full
            messages = muxer.take_output(monotonic(), expired=expired)
            if messages:
                connection.send_many(messages)
            if muxer.holding and muxer.waits:
                self.hub.wait_for_room(self)
            if expired():
                return connection.writable and muxer.has_output
            if not messages:
                return False
        return False

    def _update_reading(self) -> None:
        connection = self.connection
        if connection.closed:
            return
        paused = self._held or self.muxer.paused
        if not paused and connection.held_bytes > PAUSE_HELD_BYTES:
            # Unless it is part of one message, which is useless without the rest
            paused = connection.readable
        if paused is self._paused:
            return
        self._paused = paused
        if paused:
            connection.pause_reading()
        else:
            connection.resume_reading()

    def _check_used(self) -> None:
        if not self.muxer.used:
            self.connection.destroy(ConnectionClosed("the peer opened no channel"))

    def _closed(self, error: Exception | None) -> None:
        if self._unused is not None:
            self._unused.cancel()
        self.hub.leave(self)
        log.debug(
            "connection with %s ended: %s", encode_key(self.connection.remote_public_key), error or "closed"
        )
        self.muxer.ended_by_peer = isinstance(error, StreamReset)
        self._ended_at = monotonic()
        self._rest = iter(self._on_close(self, error) or ())
        closed = count(1)
        if not self._end(lambda: next(closed) >= CLOSED_AT_ONCE):
            self._add()

    def _end(self, expired: Callable[[], bool]) -> bool:
        """Close channels, then do the owner's rest, until `expired()`. True if all is done."""
        if not self.muxer.shutdown(self._ended_at, expired):
            return False
        for _ in self._rest:
            if expired():
                return False
        self.hub.turns.discard(self)
        return True
