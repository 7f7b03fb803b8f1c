"""A node of the DHT without its socket: datagrams and the time in, datagrams, events and a deadline out.

Source: dht-rpc index.js (6.27.0). Driven by the verbs of `hypercore.machine`. Requests take callbacks, which
are called within `receive` and `handle_timer`.

It has one socket. An official node has two, to test whether other hosts reach it; the shell tests that
otherwise (`aio/dht/reachability.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto

from .._types import Random
from ..errors import FrameDecodeError
from .address import Address, encode_address, node_id
from .constants import Internal, RpcError
from .health import NetworkHealth
from .incoming_request import Inbound
from .internal_commands import InternalCommands
from .nat import NatSampler
from .packet import Datagram, Request, decode_packet
from .query import CAUTIOUS_CONCURRENCY, Query
from .routing_table import BUCKET_SIZE, RoutingTable, TableNode
from .rpc import DEFAULT_RETRIES, IGNORE_REPLY, Call, OutgoingRequest, ReplyHandler, Rpc
from .table_maintenance import TableMaintenance
from .tokens import TokenIssuer

TICK_SECONDS = 5.0
"""Seconds between two checks of the network and the known nodes (dht-rpc TICK_INTERVAL)."""
PING_TICKS = 8
"""Ticks between tests of the nodes silent longest."""
REFRESH_TICKS = 64
"""Ticks between refreshes of a table with less than a bucket of nodes."""
REFRESH_SECONDS = 300.0
"""Seconds without a query after which the table is refreshed."""
MAX_DOWN_HINTS_PER_TICK = 50
"""DOWN_HINTs that we send within a tick (dht-rpc `downHintsRateLimit`)."""
RETRY_BOOTSTRAP_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits between attempts while no node answers."""
SILENT_BOOTSTRAP_SECONDS = 60.0
"""Seconds for which a bootstrap node that did not answer gets no requests, if there is another one."""


class NodeEvent(Enum):
    """Events of a node. `next_event` returns them in order."""

    BOOTSTRAPPED = auto()
    """The walk to our own id found nodes, or there are none to find."""
    BOOTSTRAP_FAILED = auto()
    """No node answered; the next attempt is scheduled."""
    ADDRESS_CHANGED = auto()
    """The others see us at another address than before (`nat.host`, `nat.port`)."""
    REACHABILITY_CHANGED = auto()
    """Other hosts can reach us without a relay, or no longer can (set by the shell)."""
    NAME_UNRESOLVED = auto()
    """The name of a bootstrap node does not resolve; it is looked up again (set by the shell)."""
    OFFLINE = auto()
    ONLINE = auto()


Handler = Callable[[Inbound, float], None]


class DhtCore:
    """`address` makes the node persistent: it has an id, others add it to their tables, it may store."""

    def __init__(self, *, rng: Random, now: float, address: Address | None = None) -> None:
        self.rng = rng
        self.handlers: dict[int, Handler] = {}
        """Handlers by command. Other commands are answered with UNKNOWN_COMMAND."""
        self.bootstrap: list[Address] = []
        self.bootstrapped = False
        self.own_id = None if address is None else node_id(address)
        self._maintenance = TableMaintenance(
            rng.randbytes(32) if self.own_id is None else self.own_id, self.ping
        )
        self._internal = InternalCommands(self._maintenance)
        self._health = NetworkHealth()
        self.queries = 0
        """Queries so far."""
        self._rpc = Rpc(first_tid=rng.randrange(65536), now=now)
        self._tokens = TokenIssuer(rng.randbytes, now)
        self._events: deque[NodeEvent] = deque()
        self._bootstrap_query: Query | None = None
        self._bootstrap_attempt = 0
        self._bootstrap_at: float | None = None
        self._silent: dict[Address, float] = {}
        """Bootstrap nodes that did not answer, and until when they get no requests."""
        self._down_hints = 0
        self._now = now
        self._ticks = rng.randrange(PING_TICKS)
        self._tick_at = now + TICK_SECONDS
        self._refresh_at = now + REFRESH_SECONDS
        if address is not None:
            self.nat.add(address, by=address)

    @property
    def table(self) -> RoutingTable:
        return self._maintenance.table

    @property
    def nat(self) -> NatSampler:
        return self._maintenance.nat

    @property
    def rpc(self) -> Rpc:
        """Our requests. Others only read its counters."""
        return self._rpc

    @property
    def online(self) -> bool:
        return self._health.online

    # --- input and output ----------------------------------------------------------------------------

    def receive(self, datagram: Datagram, now: float) -> None:
        """A datagram of two bytes or more that is not UDX, and its source. Invalid ones are dropped."""
        data, source = datagram
        self._now = now
        if not source.port:
            return
        try:
            packet = decode_packet(data)
        except FrameDecodeError:
            return
        if isinstance(packet, Request):
            self._requested(packet, source, len(data))
            return
        reply = self._rpc.match(packet, source, now)
        if reply is not None:
            self._on_node_seen(source, reply.id, reply.to)
            self._rpc.deliver(packet.tid, reply, now)

    def take_output(self, now: float) -> list[Datagram]:
        """All datagrams to send, with their destinations."""
        outbox = self._rpc.outbox
        if not outbox:
            return []
        self._rpc.outbox = []
        return outbox

    def next_deadline(self) -> float:
        """When `handle_timer` must be called at the latest."""
        at = self._tick_at
        for other in (self._rpc.next_deadline(), self._internal.next_deadline(), self._bootstrap_at):
            if other is not None and other < at:
                at = other
        return at

    def handle_timer(self, now: float) -> None:
        self._now = now
        for call in self._rpc.expire(now):
            if call.sent > 1:
                self._maintenance.timed_out(call.to)
                if call.to in self.bootstrap:
                    self._silent[call.to] = now + SILENT_BOOTSTRAP_SECONDS
        self._internal.handle_timer(now)
        if self._bootstrap_at is not None and self._bootstrap_at <= now:
            self._bootstrap_at = None
            self.start_bootstrap(now)
        if self._tick_at <= now:
            self._tick(now)

    def next_event(self) -> NodeEvent | None:
        return self._events.popleft() if self._events else None

    # --- requests ------------------------------------------------------------------------------------

    def call(
        self, outgoing: OutgoingRequest, now: float, handler: ReplyHandler = IGNORE_REPLY
    ) -> Call | None:
        """Send one request to one node. Returns None, without a callback, if too many are in flight."""
        self._now = now
        return self.request(outgoing, handler)

    def cancel(self, call: Call) -> None:
        """Drop a request; its callbacks are not called any more."""
        self._rpc.cancel(call)

    def ping(
        self,
        to: Address,
        now: float,
        handler: ReplyHandler = IGNORE_REPLY,
        *,
        retries: int = DEFAULT_RETRIES,
    ) -> Call | None:
        """Ping one node. Returns None as `call` does."""
        return self.call(OutgoingRequest(to, Internal.PING, internal=True, retries=retries), now, handler)

    def start(self, query: Query, now: float) -> Query:
        """Run a query of this node."""
        self._now = now
        self._refresh_at = now + REFRESH_SECONDS
        self.queries += 1
        query.start()
        return query

    def start_bootstrap(self, now: float) -> None:
        """Query our own id, which fills the table with neighbours. Repeated until a node answers."""
        if self._bootstrap_query is not None:
            return
        query = Query(
            self, self.table.id, Internal.FIND_NODE, internal=True, retries=2, on_done=self._bootstrap_done
        )
        self._bootstrap_query = query
        self.start(query, now)

    def refresh(self, now: float) -> None:
        """Query the id of a random known node, to refresh the table."""
        nodes = list(self.table)
        target = node_id(nodes[self.rng.randrange(len(nodes))].address) if nodes else self.table.id
        self.start(
            Query(self, target, Internal.FIND_NODE, internal=True, concurrency=CAUTIOUS_CONCURRENCY), now
        )

    # --- for queries and answers ---------------------------------------------------------------------

    def request(self, outgoing: OutgoingRequest, handler: ReplyHandler = IGNORE_REPLY) -> Call | None:
        """Send one request, at the time of the current call. Returns None as `call` does."""
        return self._rpc.call(outgoing, self._now, handler, own_id=self.own_id)

    def closest_nodes(self, target: int, count: int) -> list[TableNode]:
        return self.table.closest(target, count)

    def bootstrap_addresses(self) -> Iterable[Address]:
        """The bootstrap nodes that answered last time: one that is down would delay every query of a small
        network."""
        alive = [a for a in self.bootstrap if self._silent.get(a, self._now) <= self._now]
        return alive or self.bootstrap

    def is_own(self, address: Address) -> bool:
        return self._maintenance.is_own(address)

    def down_hint(self, referrer: Address, down: Address) -> None:
        if self._down_hints < MAX_DOWN_HINTS_PER_TICK:
            self._down_hints += 1
            value = encode_address(down)
            self.request(OutgoingRequest(referrer, Internal.DOWN_HINT, internal=True, value=value, retries=0))

    def issue_token(self, host: str) -> bytes:
        return self._tokens.issue(host, self._now)

    def closer_addresses(self, target: bytes) -> tuple[Address, ...]:
        nodes = self.table.closest(int.from_bytes(target, "big"), BUCKET_SIZE)
        return tuple(node.address for node in nodes)

    def send(self, data: bytes, address: Address) -> None:
        self._rpc.outbox.append((data, address))

    # --- requests of others --------------------------------------------------------------------------

    def _requested(self, request: Request, source: Address, size: int) -> None:
        sender_id = request.id if request.id is not None and request.id == node_id(source) else None
        if sender_id is not None:
            self._on_node_seen(source, sender_id, request.to)
        inbound = Inbound(self, request, source, sender_id, size)
        if request.token is not None and not self._tokens.accepts(request.token, source.host, self._now):
            inbound.reply(error=RpcError.INVALID_TOKEN)
        elif request.internal:
            self._internal.handle(inbound, self._now)
        elif (handler := self.handlers.get(request.command)) is not None:
            handler(inbound, self._now)
        else:
            inbound.reply(error=RpcError.UNKNOWN_COMMAND, token=False)

    def _on_node_seen(self, source: Address, sender_id: bytes | None, to: Address) -> None:
        if self._maintenance.on_node_seen(source, sender_id, to, self._now):
            self._events.append(NodeEvent.ADDRESS_CHANGED)

    def set_persistent_address(self, address: Address | None, now: float) -> None:
        """Become persistent at `address`, or ephemeral if None. Keeps the routing table."""
        self._now = now
        self.own_id = None if address is None else node_id(address)
        self._maintenance.change_id(self.rng.randbytes(32) if self.own_id is None else self.own_id)
        if self.own_id is not None and self.bootstrapped:
            # So that the nodes near us learn of us
            self.start(Query(self, self.own_id, Internal.FIND_NODE, internal=True), now)

    def on_network_changed(self, votes: Iterable[tuple[Address, Address]] = ()) -> None:
        """The network changed. `votes`: nodes that see us at another address, with that address."""
        self._maintenance.on_network_changed(votes)
        self._events.append(NodeEvent.ADDRESS_CHANGED)

    # --- the clock -----------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        slept = now - self._tick_at > 2 * TICK_SECONDS
        self._tick_at = now + TICK_SECONDS
        self._ticks += 1
        self._down_hints = 0
        if self._health.update(self._rpc.answered, self._rpc.timed_out):
            self._events.append(NodeEvent.ONLINE if self.online else NodeEvent.OFFLINE)
        if not self.bootstrapped:
            return
        if slept or self._ticks % PING_TICKS == 0:
            self._maintenance.ping_oldest(3 if self._rpc.in_flight > 2 else 5, now)
        if not len(self.table) or not self.online:
            if self._bootstrap_at is None and self.bootstrap:
                self.start_bootstrap(now)
        elif slept or now >= self._refresh_at or self._sparse_refresh_due():
            self.refresh(now)

    def _sparse_refresh_due(self) -> bool:
        return self._ticks % REFRESH_TICKS == 0 and len(self.table) < BUCKET_SIZE

    def _bootstrap_done(self, query: Query) -> None:
        self._bootstrap_query = None
        if query.successes or not self.bootstrap:
            self._bootstrap_attempt = 0
            self._maintenance.swapping = True
            if not self.bootstrapped:
                self.bootstrapped = True
                self._events.append(NodeEvent.BOOTSTRAPPED)
            if not self.online:
                self._health.online = True
                self._events.append(NodeEvent.ONLINE)
            return
        waits = RETRY_BOOTSTRAP_SECONDS
        self._bootstrap_at = self._now + waits[min(self._bootstrap_attempt, len(waits) - 1)]
        self._bootstrap_attempt += 1
        self._events.append(NodeEvent.BOOTSTRAP_FAILED)
        if self.online:
            self._health.online = False
            self._events.append(NodeEvent.OFFLINE)
