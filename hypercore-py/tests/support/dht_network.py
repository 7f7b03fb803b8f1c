"""A network of DHT nodes in one process: simulated links with latency and loss, and a clock that jumps."""

import random
from heapq import heappop, heappush
from itertools import count

from hypercore.dht.address import Address
from hypercore.dht.handshake_router import Router
from hypercore.dht.node import DhtCore
from hypercore.dht.query import Query
from hypercore.dht.record_store import Store
from hypercore.dht.rpc import OutgoingRequest, ReplyHandler


class Network:
    def __init__(self, seed=1, *, latency=(0.005, 0.08), loss=0.0):
        self.rng = random.Random(seed)
        self.now = 0.0
        self.latency = latency
        self.loss = loss
        self.nodes = {}
        self.delivered = 0
        self.sent_by = {}
        self.drop = None
        """Called with (data, source, destination); true loses the datagram."""
        self._queue = []
        self._order = count()
        self._hosts = count(1)

    def address(self):
        number = next(self._hosts)
        return Address(f"77.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 49737)

    def node(self, *, persistent=True, bootstrap=(), address=None):
        address = address or self.address()
        core = DhtCore(
            rng=random.Random(self.rng.random()),
            now=self.now,
            address=address if persistent else None,
        )
        core.here = address
        core.router = Router(self.now)
        core.handlers.update(core.router.handlers())
        if persistent:
            core.store = Store(
                own_id=core.own_id,
                router=core.router,
                rng=self.rng,
                now=self.now,
                wall_clock=lambda: self.now,
            )
            core.handlers.update(core.store.handlers())
        core.bootstrap = list(bootstrap)
        self.nodes[address] = core
        core.start_bootstrap(self.now)
        self.flush(core)
        return core

    def nodes_of(self, count, **options):
        """`count` persistent nodes that know each other through the first."""
        first = self.node(**options)
        others = []
        for _ in range(count - 1):
            others.append(self.node(bootstrap=[first.here], **options))
            self.run(0.5)
        self.run(10)
        return [first, *others]

    def kill(self, core):
        del self.nodes[core.here]

    def flush(self, core):
        for data, to in core.take_output(self.now):
            self.sent_by[core.here] = self.sent_by.get(core.here, 0) + 1
            if self.rng.random() < self.loss or (self.drop and self.drop(data, core.here, to)):
                continue
            at = self.now + self.rng.uniform(*self.latency)
            heappush(self._queue, (at, next(self._order), data, core.here, to))

    def run(self, seconds=30.0, until=None):
        """Let time pass, at most until `until()` is true. Returns whether it became true."""
        end = self.now + seconds
        while until is None or not until():
            deadlines = [
                (core.next_deadline(), index, core) for index, core in enumerate(self.nodes.values())
            ]
            timer = min(deadlines)[0] if deadlines else end
            packet = self._queue[0][0] if self._queue else end
            self.now = max(self.now, min(timer, packet, end))
            if self.now >= end:
                self.now = end
                return until is not None and until()
            if packet <= timer:
                _, _, data, source, to = heappop(self._queue)
                core = self.nodes.get(to)
                if core is None:
                    continue
                self.delivered += 1
                core.receive((data, source), self.now)
                self.flush(core)
            else:
                for at, _, core in deadlines:
                    if at <= self.now:
                        core.handle_timer(self.now)
                        self.flush(core)
        return True

    def query(self, core, target, command, *, seconds=60.0, **options):
        """Run a query to its end and return it."""
        return self.finish(core, lambda done: Query(core, target, command, on_done=done, **options), seconds)

    def finish(self, core, make, seconds=60.0):
        """Run the query that `make(on_done)` makes to its end and return it."""
        done = []
        query = make(done.append)
        core.start(query, self.now)
        self.flush(core)
        assert self.run(seconds, until=lambda: done), "the query did not end"
        return query

    def ask(self, core, to, command, *, seconds=30.0, **options):
        """Send one request and return the reply, or None."""
        result = []
        handler = ReplyHandler(result.append, lambda: result.append(None))
        core.call(OutgoingRequest(to, command, **options), self.now, handler)
        self.flush(core)
        assert self.run(seconds, until=lambda: result), "the request did not end"
        return result[0]
