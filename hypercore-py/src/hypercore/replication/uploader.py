"""Answers the requests of one peer, as fast as it reads the answers.

Requests and wants wait in a queue; while the muxer has room, channels take turns in answering. So a peer that
requests everything and reads nothing costs a bounded number of small entries, and a request that is cancelled
before its turn costs nothing.
"""

from __future__ import annotations

import logging
from collections import deque

from ..codec import Reader, Writer
from ..errors import BlockNotAvailable, InvalidRequest, RemoteProtocolError, StorageError
from ..mux.accounts import Account
from ..wire.control import REASON_INVALID_REQUEST, REASON_NOT_AVAILABLE, NoData, Want
from ..wire.data import Data
from ..wire.request import Request, RequestBlock
from .block_announcer import BlockAnnouncer
from .config import MAX_BACKLOG, MAX_INVALID_REQUESTS, MAX_REASONED_REFUSALS, REQUEST_BYTES
from .interfaces import PeerView
from .ratelimit import RateLimit

log = logging.getLogger(__name__)

TURN = 4
"""Requests answered before another channel has its turn."""

_Waiting = tuple[int, int, int, int] | bytes
"""A waiting request: one for a block only as (fork, index, nodes, priority), others encoded as they came.
Thousands may wait, and the garbage collector does not traverse these types."""

NODE_BYTES = 42
"""Bytes of a tree node in a proof on the wire, about."""


class Uploader:
    __slots__ = (
        "_account",
        "_announcer",
        "_counted",
        "_held",
        "_limit",
        "_normal",
        "_peer",
        "_requests",
        "_urgent",
        "_wants",
    )

    def __init__(self, peer: PeerView, announcer: BlockAnnouncer, limit: RateLimit) -> None:
        """`announcer` answers its wants."""
        self._peer = peer
        self._announcer = announcer
        self._limit = limit
        self._requests: dict[int, _Waiting] = {}
        self._urgent: deque[int] | None = None
        self._normal: deque[int] | None = None
        """Ids of requests in the order of arrival, cancelled ones included. Made when needed: most channels
        are idle."""
        self._wants: dict[tuple[int, int, bool], Want] = {}
        self._held: dict[int, _Waiting] = {}
        """Requests that wait for the head to become durable."""
        self._account: Account | None = None
        """Counters of this core on this connection, from the first answer on."""
        self._counted = 0

    def __len__(self) -> int:
        """Number of waiting requests and wants."""
        return len(self._requests) + len(self._wants) + len(self._held)

    def count(self) -> None:
        """Report the memory of waiting requests to the muxer."""
        waiting = len(self._requests) + len(self._wants) + len(self._held)
        if waiting != self._counted:
            self._peer.muxer.backlog_bytes += (waiting - self._counted) * REQUEST_BYTES
            self._counted = waiting

    def close(self) -> None:
        """Drop all waiting requests."""
        self._requests.clear()
        self._wants.clear()
        self._held.clear()
        self.count()

    def on_request(self, r: Reader) -> None:
        """Queue a request. A request with the same id is replaced.

        Raises RemoteProtocolError for too many at once, and after too many invalid ones.
        """
        start = r.pos
        request = Request.decode(r)
        if (self._account or self._counters()).invalid >= MAX_INVALID_REQUESTS:
            raise RemoteProtocolError(f"{MAX_INVALID_REQUESTS} requests that cannot be answered")
        self._check_backlog()
        if self._held:
            self._held.pop(request.id, None)
        if (block := request.block_only) is not None:
            self._requests[request.id] = (request.fork, block.index, block.nodes, request.priority)
        else:
            self._requests[request.id] = bytes(r.data[start : r.pos])
        self._enqueue(request.id, request.priority)

    def _check_backlog(self) -> None:
        if len(self) >= MAX_BACKLOG:
            raise RemoteProtocolError(f"more than {MAX_BACKLOG} requests without waiting for an answer")

    def _enqueue(self, number: int, priority: int) -> None:
        if priority:
            self._urgent = self._queued(self._urgent, number)
        else:
            self._normal = self._queued(self._normal, number)
        self._peer.wait_writable()

    def on_cancel(self, request_id: int) -> None:
        self._requests.pop(request_id, None)
        self._held.pop(request_id, None)

    def resume(self) -> None:
        """The head is durable: queue the requests that waited for it."""
        held, self._held = self._held, {}
        for number, waiting in held.items():
            self._requests[number] = waiting
            self._enqueue(number, _restored(number, waiting).priority)

    def on_want(self, want: Want) -> None:
        """Queue a want. Raises RemoteProtocolError for too many."""
        self._check_backlog()
        self._wants[want.start, want.length, want.any_] = want
        self._peer.wait_writable()

    def on_unwant(self, want: Want) -> None:
        self._wants.pop((want.start, want.length, want.any_), None)

    def _queued(self, queue: deque[int] | None, number: int) -> deque[int]:
        if queue is None:
            return deque((number,))
        if len(queue) >= 2 * MAX_BACKLOG:  # mostly cancelled ones
            queue = deque(dict.fromkeys(old for old in queue if old in self._requests and old != number))
        queue.append(number)
        return queue

    def work(self, now: float) -> None:
        """Answer up to TURN requests, while there is room."""
        peer, limit = self._peer, self._limit
        if limit.active and self._requests:
            self._work_limited(now)
            return
        for _ in range(TURN):
            if self._wants:
                self._announcer.answer(self._wants.pop(next(iter(self._wants))))
            else:
                request = self._next()
                if request is None:
                    return
                self._answer(request)
            if not peer.writable:
                break
        if self._requests or self._wants:
            peer.wait_writable()

    def _work_limited(self, now: float) -> None:
        """The same within the rate limit. Announcements do not count."""
        peer, limit = self._peer, self._limit
        if self._wants:
            self._announcer.answer(self._wants.pop(next(iter(self._wants))))
            peer.wait_writable()
            return
        left = limit.take_turn(peer.wait_writable, now)
        if not left:
            return
        end = limit.moved + left
        while limit.moved < end:
            request = self._next()
            if request is None:
                return
            self._answer(request)
            if not peer.writable:
                if self._requests:
                    peer.wait_writable()
                return
        if self._requests:
            limit.wait(peer.wait_writable, now)

    def _next(self) -> Request | None:
        for queue in (self._urgent, self._normal):
            while queue:
                number = queue.popleft()
                waiting = self._requests.pop(number, None)
                if waiting is not None:
                    return _restored(number, waiting)
        self._urgent = self._normal = None
        return None

    def _answer(self, request: Request) -> None:
        peer, core = self._peer, self._peer.core
        if peer.head_not_durable and (request.upgrade is not None or request.fork != core.head.fork):
            # The answer would show a head that is not durable
            w = Writer()
            request.encode(w)
            self._held[request.id] = bytes(w)
            return
        block = request.block
        if request.fork != core.head.fork or (block is not None and not core.bitfield.get(block.index)):
            self._refuse(request)
            return
        try:
            data = core.prove(request)
        except (BlockNotAvailable, StorageError) as error:
            if isinstance(error, StorageError):
                peer.storage_failed(error)
            self._refuse(request)
            return
        except InvalidRequest:
            self._counters().invalid += 1
            self._no_data(request, REASON_INVALID_REQUEST)
            return
        peer.send_data(data)
        if data.block is not None:
            size = len(data.block.value)
            peer.stats.blocks_up += 1
            peer.stats.bytes_up += size
            account = self._counters()
            account.given += 1
            if account.given <= core.head.length:  # beyond that it has had some of them before
                peer.muxer.useful += 1
                peer.muxer.useful_bytes += size
            if self._limit.active:
                self._limit.consume(size + NODE_BYTES * len(data.block.nodes))

    def _refuse(self, request: Request) -> None:
        core = self._peer.core
        if request.manifest and core.has_manifest:
            self._peer.send_data(Data(request=request.id, fork=core.head.fork, manifest=core.manifest))
        else:
            self._no_data(request, REASON_NOT_AVAILABLE)

    def _no_data(self, request: Request, reason: int) -> None:
        log.debug("%r is refused %s", self._peer, request)
        account = self._counters()
        account.refused += 1
        self._peer.send(
            NoData(request=request.id, reason=reason if account.refused <= MAX_REASONED_REFUSALS else 0)
        )

    def _counters(self) -> Account:
        if self._account is None:
            self._account = self._peer.muxer.accounts.of(self._peer.core.discovery_key)
        return self._account


def _restored(number: int, waiting: _Waiting) -> Request:
    if isinstance(waiting, bytes):
        return Request.decode(Reader(waiting))
    fork, index, nodes, priority = waiting
    return Request(id=number, fork=fork, block=RequestBlock(index, nodes), priority=priority)
