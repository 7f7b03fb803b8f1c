"""A query for a target: asks the nearest known nodes, learns of nearer ones, until there are none.

Source: dht-rpc lib/query.js (6.27.0). One difference: the nearest node comes next, where the official query
takes the one found last.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Protocol

from .address import Address
from .constants import RpcError
from .routing_table import BUCKET_SIZE, TableNode, node_number
from .rpc import Call, OutgoingRequest, Reply, ReplyHandler

CONCURRENCY = 10
"""Requests of one query in flight at a time."""

CAUTIOUS_CONCURRENCY = 3
"""The same until the first answers of the closest nodes of the last query."""

QUERY_RETRIES = 5
"""Attempts after the first one."""

MAX_SEEN = 2048
"""Addresses that one query keeps; in the public network it meets one to two hundred."""

MAX_REFERRERS = 8
"""Nodes kept per address that named it; they are notified if it is dead."""

_DONE: list[Address] = []
_DOWN: list[Address] = []


class QueryHost(Protocol):
    """The members of a node that a query uses."""

    def request(self, outgoing: OutgoingRequest, handler: ReplyHandler) -> Call | None:
        """Send one request. Returns None, without a callback, if too many are in flight."""

    def cancel(self, call: Call) -> None: ...

    def closest_nodes(self, target: int, count: int) -> list[TableNode]: ...

    def bootstrap_addresses(self) -> Iterable[Address]: ...

    def is_own(self, address: Address) -> bool: ...

    def down_hint(self, referrer: Address, down: Address) -> None: ...


class Query:
    """`on_reply` is called with every successful reply, `on_done` once at the end (not after `cancel`).

    `commit`, if given, is called with each of the closest replies at the end. It returns the command and
    value to send to that node with its token, or None to skip it. `force` skips the congestion window and
    asks each node once; used to remove announcements, which must not wait.
    """

    def __init__(
        self,
        host: QueryHost,
        target: bytes,
        command: int,
        *,
        internal: bool = False,
        value: bytes | None = None,
        seeds: Iterable[Address] = (),
        only_seeds: bool = False,
        concurrency: int = CONCURRENCY,
        retries: int = QUERY_RETRIES,
        force: bool = False,
        on_reply: Callable[[Reply], None] | None = None,
        commit: Callable[[Reply], tuple[int, bytes] | None] | None = None,
        on_done: Callable[[Query], None] | None = None,
    ) -> None:
        self.target = target
        self.command = command
        self.successes = 0
        self.errors = 0
        """Nodes that answered with an error, or not at all."""
        self.committed = 0
        """Nodes that accepted the commit."""
        self.finished = False
        self._host = host
        self._internal = internal
        self._value = value
        self._retries = 0 if force else retries
        self._force = force
        self._number = int.from_bytes(target, "big")
        self._only_seeds = only_seeds
        self._concurrency = concurrency
        self._on_reply = on_reply
        self._commit = commit
        self._on_done = on_done
        self._seeds = list(seeds)
        self._seen: dict[Address, list[Address]] = {}
        self._pending: list[tuple[int, Address]] = []
        self._calls: set[Call] = set()
        self._slow: set[Call] = set()
        self._distances: list[int] = []
        self._hopeful: list[int] = []
        """Distances of nodes that are, or may become, one of the closest replies."""
        self._closest: list[Reply] = []
        self._used_table = False
        self._cautious = False
        self._committing = False
        self._holds = 0

    @property
    def closest(self) -> list[Reply]:
        """The nearest nodes that answered, nearest first, at most `BUCKET_SIZE`."""
        return self._closest

    @property
    def failed(self) -> bool:
        """Whether no node answered, or none stored the value."""
        return self.committed == 0 if self._commit is not None else self.successes == 0

    def start(self) -> None:
        """Ask the first nodes. Callbacks may be called within, even `on_done`."""
        for address in self._seeds:
            self._add(address, None)
        if not self._only_seeds and len(self._pending) < BUCKET_SIZE:
            self._add_from_table()
        self._ask_more()

    def cancel(self) -> None:
        """Stop without a callback."""
        self.finished = True
        for call in self._calls:
            self._host.cancel(call)
        self._calls.clear()
        self._pending.clear()

    def hold(self) -> None:
        """Neither commit nor end before as many calls of `release`."""
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        if not self.finished and not self._committing:
            self._ask_more()

    # --- finding -------------------------------------------------------------------------------------

    def _add_from_table(self) -> None:
        self._used_table = True
        missing = BUCKET_SIZE - len(self._pending)
        for node in self._host.closest_nodes(self._number, missing):
            self._add(node.address, None)
        if len(self._pending) < BUCKET_SIZE:
            for address in self._host.bootstrap_addresses():
                self._add(address, None)

    def _is_closer(self, distance: int) -> bool:
        return len(self._closest) < BUCKET_SIZE or distance < self._distances[-1]

    def _add(self, address: Address, referrer: Address | None) -> bool:
        """Queue `address`. False if it is farther than the kept ones; those listed after it are, too."""
        distance = node_number(address) ^ self._number
        closer = self._is_closer(distance)
        referrers = self._seen.get(address)
        if referrers is _DONE:
            return closer
        if referrers is _DOWN:
            if referrer is not None:
                self._host.down_hint(referrer, address)
            return closer
        if referrers is not None:
            if referrer is not None and len(referrers) < MAX_REFERRERS:
                referrers.append(referrer)
            return closer
        if not closer or len(self._seen) >= MAX_SEEN:
            return False
        self._seen[address] = [] if referrer is None else [referrer]
        heappush(self._pending, (distance, address))
        return True

    def _add_closer(self, reply: Reply) -> None:
        seen = self._seen
        for address in reply.closer_nodes:
            if seen.get(address) is _DONE:  # most are, towards the end of a query
                continue
            if address.port and not self._host.is_own(address) and not self._add(address, reply.source):
                break

    def _ask_more(self) -> None:
        if self.finished or self._committing:
            return
        limit = (CAUTIOUS_CONCURRENCY if self._cautious else self._concurrency) + len(self._slow)
        while len(self._calls) < limit and self._pending and self._is_promising(self._pending[0][0]):
            distance, address = heappop(self._pending)
            self._ask(distance, address)
        if not self._used_table and not self.successes and not self.errors and not self._only_seeds:
            # Wait for the closest nodes of the last query before using full concurrency
            self._cautious = True
        if self._holds or not self._is_over():
            return
        if not self._used_table and not self._only_seeds and self.successes < BUCKET_SIZE // 4:
            self._add_from_table()
            self._ask_more()
        else:
            self._finish()

    def _is_promising(self, distance: int) -> bool:
        """Whether fewer than BUCKET_SIZE nearer nodes answered or may still answer."""
        return len(self._hopeful) < BUCKET_SIZE or distance < self._hopeful[BUCKET_SIZE - 1]

    def _is_over(self) -> bool:
        """Whether no answer is awaited, or the result is full and only slow nodes are left."""
        return not self._calls or (len(self._slow) == len(self._calls) and len(self._closest) >= BUCKET_SIZE)

    def _ask(self, distance: int, address: Address) -> None:
        call: Call | None = None

        def answered(reply: Reply) -> None:
            self._discard(call)
            self._seen[address] = _DONE
            self._give_up(distance)
            self._answered(reply)

        def timed_out() -> None:
            self._discard(call)
            referrers, self._seen[address] = self._seen[address], _DOWN
            for referrer in referrers:
                self._host.down_hint(referrer, address)
            self._give_up(distance)
            self.errors += 1
            self._ask_more()

        def slow() -> None:
            if call is not None and call in self._calls:
                self._slow.add(call)
                self._give_up(distance)
                self._ask_more()

        outgoing = OutgoingRequest(
            address,
            self.command,
            internal=self._internal,
            target=self.target,
            value=self._value,
            retries=self._retries,
            force=self._force,
        )
        call = self._host.request(outgoing, ReplyHandler(answered, timed_out, slow))
        if call is None:
            self.errors += 1
        else:
            self._calls.add(call)
            insort(self._hopeful, distance)

    def _give_up(self, distance: int) -> None:
        at = bisect_left(self._hopeful, distance)
        if at < len(self._hopeful) and self._hopeful[at] == distance:
            del self._hopeful[at]

    def _discard(self, call: Call | None) -> None:
        if call is not None:
            self._calls.discard(call)
            self._slow.discard(call)

    def _answered(self, reply: Reply) -> None:
        if self.finished or self._committing:
            return
        if reply.error == RpcError.NONE:
            self.successes += 1
            if reply.id is not None:
                self._keep(reply)
        else:
            self.errors += 1
        # Answers with an error can have closer nodes
        if not self._only_seeds:
            self._add_closer(reply)
        if self.successes + self.errors >= self._concurrency:
            self._cautious = False
        if reply.error == RpcError.NONE and self._on_reply is not None:
            self._on_reply(reply)
        self._ask_more()

    def _keep(self, reply: Reply) -> None:
        distance = node_number(reply.source) ^ self._number
        if not self._is_closer(distance):
            return
        at = bisect_left(self._distances, distance)
        if at < len(self._distances) and self._distances[at] == distance:
            return
        self._distances.insert(at, distance)
        self._closest.insert(at, reply)
        insort(self._hopeful, distance)
        del self._distances[BUCKET_SIZE:]
        del self._closest[BUCKET_SIZE:]

    # --- ending --------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self._committing = True
        for call in self._calls:
            self._host.cancel(call)
        self._calls.clear()
        if self._commit is not None:
            for reply in self._closest:
                self._commit_to(reply)
        if not self._calls:
            self._end()

    def _commit_to(self, reply: Reply) -> None:
        assert self._commit is not None
        if reply.token is None or (request := self._commit(reply)) is None:
            return
        call: Call | None = None

        def answered(answer: Reply) -> None:
            self._discard(call)
            if answer.error == RpcError.NONE:
                self.committed += 1
            if not self._calls:
                self._end()

        def timed_out() -> None:
            self._discard(call)
            if not self._calls:
                self._end()

        command, value = request
        outgoing = OutgoingRequest(
            reply.source, command, target=self.target, value=value, token=reply.token, force=self._force
        )
        call = self._host.request(outgoing, ReplyHandler(answered, timed_out))
        if call is not None:
            self._calls.add(call)

    def _end(self) -> None:
        if self.finished:
            return
        self.finished = True
        if self._on_done is not None:
            self._on_done(self)
