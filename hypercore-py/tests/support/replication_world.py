"""Cores on several sites, joined by simulated links, for the tests of replication."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypercore.codec import Reader, Writer
from hypercore.core import Core, Store, memory_store
from hypercore.crypto import KeyPair
from hypercore.mux import Channel, CloseReason, Frame, Muxer
from hypercore.replication import (
    PROTOCOL,
    BlockReceived,
    Event,
    Peer,
    ReplicationConfig,
    Replicator,
)
from hypercore.testing.cores import download, make_writer, sample_blocks
from hypercore.testing.linked import LinkedNetwork, LinkedPair
from hypercore.wire.control import Range, Sync
from hypercore.wire.handshake import ChannelHandshake, capability
from hypercore.wire.registry import MESSAGES, Message
from hypercore.wire.request import Request

FLUSH_AFTER = 0.05
"""Seconds of fake time until what a site has is durable."""


class Site:
    """One core in a store of its own, replicated. Flushes by itself."""

    def __init__(
        self,
        world: World,
        store: Store,
        core: Core,
        *,
        key_pair: KeyPair | None = None,
        config: ReplicationConfig | None = None,
    ) -> None:
        self.world = world
        self.store = store
        self.core = core
        self.key_pair = key_pair
        self.replicator = Replicator(core, config=config)
        self.received: list[BlockReceived] = []
        self._events: list[Event] = []
        self._flush_at: float | None = None
        self.flushing = True

    @property
    def events(self) -> list[Event]:
        """All events except for blocks, which are in `received`."""
        while (event := self.replicator.next_event()) is not None:
            if isinstance(event, BlockReceived):
                self.received.append(event)
            else:
                self._events.append(event)
        return self._events

    def events_of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def complete(self) -> bool:
        return self.core.length > 0 and self.core.complete

    def append(self, *blocks: bytes) -> None:
        assert self.key_pair is not None
        self.core.append(blocks, self.key_pair)

    def truncate(self, length: int, fork: int | None = None) -> None:
        assert self.key_pair is not None
        self.core.truncate(length, self.key_pair, fork)

    def blocks(self) -> list[bytes | None]:
        return [self.core.get(index) for index in range(self.core.length)]

    def flush(self) -> None:
        self._flush_at = None
        for _, runs in self.store.flush():
            self.replicator.on_durable(runs, self.world.now)

    def next_deadline(self) -> float | None:
        if self._flush_at is None and self.flushing and self.store.dirty:
            self._flush_at = self.world.now + FLUSH_AFTER
        times = [at for at in (self._flush_at, self.replicator.next_deadline()) if at is not None]
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        self.replicator.handle_timer(now)
        if self._flush_at is not None and now >= self._flush_at:
            self.flush()


class World(LinkedNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.sites: list[Site] = []

    @property
    def now(self) -> float:
        return self.clock.now

    def writer(
        self,
        count: int = 0,
        *,
        blocks: Iterable[bytes] | None = None,
        config: ReplicationConfig | None = None,
    ) -> Site:
        """The site that signs; it has `count` blocks."""
        made = make_writer(sample_blocks(count) if blocks is None else list(blocks))
        return self._add(Site(self, made.store, made.core, key_pair=made.key_pair, config=config))

    def reader(
        self,
        key: bytes,
        *,
        source: Core | None = None,
        have: Iterable[int] = (),
        config: ReplicationConfig | None = None,
    ) -> Site:
        """A site that knows the key, and the blocks `have` of `source`."""
        store = memory_store()
        core = store.open_core(key)
        assert core is not None
        if source is not None:
            download(source, core, have)
        store.flush()
        return self._add(Site(self, store, core, config=config))

    def _add(self, site: Site) -> Site:
        self.sites.append(site)
        self.timed.append(site)
        return site

    def connect(self, a: Site, b: Site, *, latency: float = 0.0, window: int | None = None) -> LinkedPair:
        pair = self.link(latency=latency, window=window)
        for site, muxer in ((a, pair.a), (b, pair.b)):
            muxer.on_open(PROTOCOL, lambda name, now, site=site, muxer=muxer: accept(site, muxer, name, now))
            site.replicator.attach(muxer, self.now)
        return pair

    def script(self, site: Site, *, latency: float = 0.0) -> Script:
        """A peer of the site that says what the test wants."""
        return Script(self, site, latency)

    def run_until_idle(self, seconds: float = 60.0) -> None:
        self.run(seconds=seconds)


def accept(site: Site, muxer: Muxer, name: bytes | None, now: float) -> bool:
    if name == site.core.discovery_key:
        site.replicator.attach(muxer, now)
    return False


class Script:
    """The other end of a channel: records what the site sends, and sends what a test asks for."""

    def __init__(self, world: World, site: Site, latency: float, *, remote: bytes = b"") -> None:
        self.world = world
        self.site = site
        self.pair = world.link(latency=latency)
        self.pair.a.remote_public_key = remote
        self.received: list[Message] = []
        self.log: list[Message] = []
        """All that the site ever sent."""
        self.closed: CloseReason | None = None
        self.opened = False
        self.on_message: Callable[[Message], None] | None = None
        site.replicator.attach(self.pair.a, world.now)
        self.join()
        self.greeting = self.turn()
        """What the site sent as soon as the channel was open."""

    def join(self) -> None:
        """Open the channel from this side."""
        muxer, core = self.pair.b, self.site.core
        self.channel: Channel = muxer.create_channel(PROTOCOL, core.discovery_key, self)
        w = Writer()
        proof = capability(core.key, muxer.handshake_hash, sender_is_initiator=False)
        ChannelHandshake(capability=proof).encode(w)
        self.channel.open(bytes(w), self.world.now)

    @property
    def peer(self) -> Peer:
        """What the site has of us."""
        found = self.site.replicator.attach(self.pair.a, self.world.now)
        assert found is not None
        return found

    def turn(self) -> list[Message]:
        """Deliver all that can be sent at this time; returns what we received."""
        while any([pair.step() for pair in self.world.links]):
            pass
        return self.take()

    def send(self, *frames: Frame) -> list[Message]:
        """Send frames; returns what comes back at once."""
        for frame in frames:
            self.channel.send_frame(frame)
        return self.turn()

    def take(self) -> list[Message]:
        received, self.received = self.received, []
        return received

    def wait(self, seconds: float) -> list[Message]:
        """Let time pass."""
        end = self.world.now + seconds
        self.world.run(until=lambda: False, seconds=seconds)
        self.world.clock.now = max(end, self.world.now)
        return self.turn()

    def channel_opened(self, handshake: Reader, now: float) -> None:
        self.opened = True

    def channel_message(self, type_id: int, message: Reader, now: float) -> None:
        if type_id >= len(MESSAGES):
            return
        frame = MESSAGES[type_id].decode(message)
        self.received.append(frame)
        self.log.append(frame)
        if self.on_message is not None:
            self.on_message(frame)

    def channel_closed(self, reason: CloseReason, now: float) -> None:
        self.closed = reason

    def channel_flush(self, now: float) -> None: ...

    def channel_writable(self, now: float) -> None: ...


def of(kind: type[Message], messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if isinstance(message, kind)]


class Server(Script):
    """A scripted peer that answers from a core, when and as the test wants."""

    source: Core

    def offer(self, source: Core, *, announce: int | None = None) -> list:
        """Say sync and range like a complete seeder; returns what is asked for."""
        self.source = source
        length = source.length
        sync = Sync(fork=source.fork, length=length, remote_length=self.site.core.length, can_upgrade=True,
                    has_manifest=True)  # fmt: skip
        if announce is None:
            announce = length
        return self.send(sync, *([Range(start=0, length=announce)] if announce else []))

    def answer(self, *requests: Request) -> list:
        return self.send(*(self.source.prove(request) for request in requests))

    def serve(self) -> None:
        """From now on answer everything at once."""
        self.on_message = self._serve

    def _serve(self, message: object) -> None:
        if isinstance(message, Request):
            self.channel.send_frame(self.source.prove(message))
