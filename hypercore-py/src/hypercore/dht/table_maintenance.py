"""Keeps the routing table: which nodes are added, tested and removed.

Source: dht-rpc index.js (6.27.0), `_addNodeFromNetwork` to `_check`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .address import Address
from .nat import NatSampler
from .routing_table import RoutingTable, TableNode, node_number
from .rpc import Call, Reply, ReplyHandler

FRESH_SECONDS = 5.0
"""Seconds within which a node is not tested twice."""
RECENT_SECONDS = 60.0
"""Seconds since its last message in which a node counts as alive."""
OLD_SECONDS = 1800.0
"""Seconds after which a known node is replaced less readily by a new one."""

MAX_REPINGS = 3
"""Full buckets in which a node is tested for replacement at a time."""
MAX_CHECKS = 10
"""Nodes tested at a time because others report them as down."""
MAX_ANONYMOUS_SAMPLES = 3
"""Nodes without an id that may report our address: bootstrap nodes have none."""

IGNORED_NODES = frozenset(
    {
        Address("134.209.28.98", 49738),
        Address("167.99.142.185", 49738),
        Address("35.233.47.252", 9400),
    }
)
"""Test nodes that got into the public network by accident (hyperdht index.js `filterNode`)."""


Ping = Callable[[Address, float, ReplyHandler], Call | None]
"""`DhtCore.ping`."""


class TableMaintenance:
    """The routing table, and our address as its nodes report it."""

    def __init__(self, own_id: bytes, ping: Ping) -> None:
        self.table = RoutingTable(own_id)
        self.nat = NatSampler()
        self.swapping = False
        """Whether dead nodes of full buckets are replaced: not before the first bootstrap."""
        self._ping = ping
        self._anonymous: set[Address] = set()
        self._repinging = 0
        self._checks = 0

    def is_own(self, address: Address) -> bool:
        """Whether `address` is ours, or unusable."""
        return node_number(address) == self.table.number or address in IGNORED_NODES

    def on_node_seen(self, source: Address, node_id: bytes | None, to: Address, now: float) -> bool:
        """Record a message whose sender sees us as `to`. Returns whether our view of our address changed."""
        if node_id is None:
            if len(self._anonymous) >= MAX_ANONYMOUS_SAMPLES or source in self._anonymous:
                return False
            self._anonymous.add(source)
            return self.nat.add(to, source)
        node = self.table.get(node_number(source))
        if node is None:
            if source in IGNORED_NODES:
                return False
            node = TableNode(source, now)
            if not self.table.add(node):
                self._bucket_full(node, now)
                return False
        node.seen = node.pinged = now
        self.table.touch(node)
        return self.nat.add(to, source)

    def change_id(self, own_id: bytes) -> None:
        """Our id has changed: sort the nodes into new buckets, the latest first."""
        nodes, self.table = list(self.table.latest()), RoutingTable(own_id)
        kept = [node for node in nodes if self.table.add(node)]
        for node in reversed(kept):
            self.table.touch(node)

    def on_network_changed(self, votes: Iterable[tuple[Address, Address]]) -> None:
        """The network changed. `votes`: nodes and the address at which they see us. All others may report
        again."""
        self.nat.restart(votes)
        self._anonymous.clear()

    def reported_down(self, address: Address, now: float) -> None:
        """A node reports that `address` is dead; it is tested here."""
        node = self.table.get(node_number(address))
        if node is not None and self._checks < MAX_CHECKS and now - node.pinged >= FRESH_SECONDS:
            self._check(node, now)

    def timed_out(self, address: Address) -> None:
        """Several requests to `address` were not answered."""
        self.table.remove(node_number(address))

    def ping_oldest(self, count: int, now: float) -> None:
        """Test the nodes that have been silent longest."""
        for node in list(self.table)[:count]:
            if now - node.pinged < RECENT_SECONDS:
                break
            self._check(node, now)

    def _bucket_full(self, newcomer: TableNode, now: float) -> None:
        """The bucket of `newcomer` is full: replace the node tested longest ago, if it is dead."""
        if not self.swapping or self._repinging >= MAX_REPINGS or newcomer.number == self.table.number:
            return
        oldest = min(self.table.bucket_of(newcomer.number), key=lambda node: (node.pinged, node.added))
        silent = now - oldest.pinged
        if silent < FRESH_SECONDS or (silent < RECENT_SECONDS and now - oldest.added > OLD_SECONDS):
            return

        def dead() -> None:
            self.table.remove(oldest.number)
            self.table.add(newcomer)

        self._repinging += 1
        self._test(oldest, now, dead, self._repinged)

    def _check(self, node: TableNode, now: float) -> None:
        self._checks += 1
        self._test(node, now, lambda: self.table.remove(node.number), self._checked)

    def _test(self, node: TableNode, now: float, dead: Callable[[], None], over: Callable[[], None]) -> None:
        node.pinged = now

        def answered(reply: Reply) -> None:
            over()
            if reply.id is None:  # alive, but no longer a persistent node
                dead()

        def timed_out() -> None:
            over()
            dead()

        if self._ping(node.address, now, ReplyHandler(answered, timed_out)) is None:
            over()

    def _repinged(self) -> None:
        self._repinging -= 1

    def _checked(self) -> None:
        self._checks -= 1
