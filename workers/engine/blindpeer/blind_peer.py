"""The blind peer of an engine: takes requests, records them, and has the cores downloaded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

from hypercore.aio.cores.corestore import Corestore
from hypercore.aio.cores.link import Link
from hypercore.blindpeer import (
    AddCoreRequest,
    AddedCore,
    CoreRecord,
    CoreRef,
    Cores,
    ErrorCode,
    RpcReply,
    TopK,
    WakeupChannel,
)
from hypercore.blindpeer.wakeup import MAX_HINTS
from hypercore.codec import Writer
from hypercore.crypto import discovery_key
from hypercore.errors import HypercoreError
from hypercore.keys import encode_key
from hypercore.replication import PROTOCOL as REPLICATION

from ..model.events import BlindCoreChanged, Event
from ..model.status import BlindPeerStatus
from ..settings.blind_peer import BlindPeerSettings
from .client import Client
from .collector import Collector
from .decisions import MAX_PRIORITY, MAX_RPC_PRIORITY, NOTHING, Stored, activates, raised
from .host import Host
from .kept import KeptCores, Progress
from .rates import RequestRates, TopCounter
from .records import Record, RecordTable
from .slices import Slices

TICK_SECONDS = 1.0
"""Seconds between two checks of the room and of waiting cores."""

MAX_WAITING = 1 << 17
"""Requests that wait for their records to be durable and the cores that they name, over all clients; further
ones are dropped. Ours."""

State = Literal["added", "complete", "collected", "deleted"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """A request whose records are not durable yet."""

    client: Client
    keys: list[bytes]
    """Cores to replicate."""
    referrer: bytes | None = None
    announced: tuple[bytes, ...] = ()
    answer: Callable[[], None] = lambda: None
    size: int = 1
    """What it counts of MAX_WAITING."""


class BlindPeer:
    """`attach` it to every connection, `start` it when the network runs, `close` it before the corestore."""

    def __init__(
        self,
        settings: BlindPeerSettings,
        *,
        cores: Corestore,
        host: Host,
        emit: Callable[[Event], None],
        max_blocks: int | None = None,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """Raises StorageError if the records cannot be read."""
        self.records = RecordTable(cores.store)
        self._cores = cores
        self._host = host
        self._emit = emit
        self._now_ms = now_ms
        self._loop = asyncio.get_running_loop()
        self._kept = KeptCores(
            cores, self.records, max_blocks=max_blocks, on_progress=self._on_progress, now_ms=now_ms
        )
        self._rates = RequestRates()
        self._top_hosts, self._top_referrers, self._top_clients = TopCounter(), TopCounter(), TopCounter()
        self._clients: dict[Link, Client] = {}
        self._wakeups: dict[bytes, dict[WakeupChannel, None]] = {}
        self._collector = Collector(cores, self.records, self._kept, host, self._on_collected)
        self.wakeups = 0
        self._waiting: deque[_Waiting] = deque()
        self._waiting_size = 0
        self._saving = False
        self._news: dict[bytes, None] = {}
        """Cores whose new length members of their groups have yet to hear of."""
        self._hinting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.counters: Counter[str] = Counter()
        """Since the start, by the names that official blind peers give them."""
        self.change_settings(settings)

    # --- life

    def change_settings(self, settings: BlindPeerSettings) -> None:
        """Take these from now on, but for bans. What is kept already stays, also above a bound."""
        self.settings = settings
        self.records.limit_clients(settings.max_cores, settings.max_bytes)
        for client in self._clients.values():
            client.trusted = client.key in settings.trusted

    def start(self) -> None:
        """Announce what was announced, and begin to watch the room."""
        self._host.announce(record.key for record in self.records if record.announce)
        self._tick()

    def close(self) -> None:
        """Close all cores. Requests whose records are not durable yet stay unanswered."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._collector.close()
        self._kept.close_all()

    @property
    def clients(self) -> int:
        """Connections of clients and of readers."""
        return len(self._clients)

    def status(self) -> BlindPeerStatus:
        """Return totals for people. It visits every record, so call it seldom."""
        held = sum(record.held_bytes for record in self.records)
        announced = sum(record.announce for record in self.records)
        return BlindPeerStatus(
            len(self.records), held, self.records.clients, announced, len(self._clients), dict(self.counters)
        )

    def keeps(self, key: bytes) -> bool:
        """Whether a client has this core kept."""
        record = self.records.get(key)
        return record is not None and not record.collected

    def attach(self, link: Link) -> Client:
        """Accept a client's channels on a connection. Call it before the connection is read."""
        key = link.connection.remote_public_key
        address = link.connection.remote_address
        ignored = self.settings.bans.has_key(key) or (
            address is not None and self.settings.bans.has_host(address[0])
        )
        client = Client(link, self, trusted=key in self.settings.trusted, ignored=ignored)
        self._clients[link] = client
        return client

    def detach(self, link: Link) -> None:
        """The connection has ended."""
        client = self._clients.pop(link, None)
        if client is not None:
            self._kept.leave(client.requester)

    def on_core_requested(self, name: bytes) -> None:
        """A peer has opened the core with that discovery key."""
        key = self._cores.store.find(name)
        record = None if key is None else self.records.get(key)
        if record is not None and not self._closed:
            self.records.touch(record, self._now_ms())
            if not record.collected:
                self._kept.serve(record)

    # --- requests

    def name_cores(self, client: Client, cores: Cores, request: int | None, now: float) -> None:
        """See `ClientHost`."""
        lengths = dict(cores.cores)
        if not self._admit(client, cores.referrer, len(lengths), now):
            self._refuse(client, request)
            return
        wanted: list[bytes] = []
        added: list[AddedCore] = []
        announce = cores.announce and client.trusted
        priority = min(cores.priority, MAX_PRIORITY)
        for key, length in lengths.items():
            stored = self._stored(key)
            active = self._record(
                client, key, length, stored, priority=priority, announce=announce, referrer=cores.referrer
            )
            if active:
                wanted.append(key)
            added.append(AddedCore(key, stored.length, active))
        channel, announced = client.channel, tuple(wanted) if announce else ()
        waiting = _Waiting(client, wanted, cores.referrer, announced, size=1 + len(lengths))
        if request is not None and channel is not None:
            waiting.answer = lambda: channel.respond(request, added)
        self._wait(waiting)

    def add_core(self, client: Client, request: AddCoreRequest, reply: RpcReply, now: float) -> None:
        """See `ClientHost`. A client above its rate gets no answer: it repeats errors at once."""
        if not self._admit(client, request.referrer, 1, now):
            self.counters["cores_dropped"] += 1
            return
        key, stored = request.key, self._stored(request.key)
        announce = request.announce and client.trusted
        priority = min(request.priority, MAX_RPC_PRIORITY)
        self._record(
            client,
            key,
            stored.length,
            stored,
            priority=priority,
            announce=announce,
            referrer=request.referrer,
        )
        record = self.records.get(key)
        if record is None:
            return
        waiting = _Waiting(client, [key], request.referrer, (key,) if announce else (), size=2)
        answer = self._describe(record)
        waiting.answer = lambda: reply.answer(answer)
        self._wait(waiting)

    def delete_core(self, client: Client, key: bytes, reply: RpcReply) -> None:
        """See `ClientHost`."""
        if not client.trusted:
            log.info("peer %s may not delete %s", encode_key(client.key), encode_key(key))
            reply.fail("Only trusted peers can delete cores")
            return
        record = self.records.remove(key)
        if record is None:
            reply.answer(b"\x00")
            return
        self._spawn(self._delete(record, reply))

    def query_top(self, client: Client, reply: RpcReply) -> None:
        """See `ClientHost`."""
        if not client.trusted:
            reply.fail("Only trusted peers can query")
            return
        top = TopK(
            addresses=self._top_hosts.top(),
            referrers=self._top_referrers.top(),
            peers=self._top_clients.top(),
        )
        w = Writer()
        top.encode(w)
        reply.answer(bytes(w))

    def _admit(self, client: Client, referrer: bytes | None, count: int, now: float) -> bool:
        self._top_clients.add(encode_key(client.key))
        self._top_hosts.add(client.network)
        if referrer is not None:
            self._top_referrers.add(encode_key(referrer))
        self.counters["add_cores_rx"] += 1
        return (
            self.settings.may_ask(client.key)
            and self._waiting_size < MAX_WAITING
            and self._rates.admit(client.key, client.network, count, now)
        )

    def _refuse(self, client: Client, request: int | None) -> None:
        """The excess is dropped: a closed connection would be dialled again at once."""
        self.counters["cores_dropped"] += 1
        channel = client.channel
        if request is not None and channel is not None:
            channel.fail(request, ErrorCode.RATE_LIMITED)

    def _stored(self, key: bytes) -> Stored:
        info = self._cores.stored(key)
        return NOTHING if info is None else Stored(info.length, info.complete)

    def _record(
        self,
        client: Client,
        key: bytes,
        length: int,
        stored: Stored,
        *,
        priority: int,
        announce: bool,
        referrer: bytes | None,
    ) -> bool:
        """Record a core. Returns whether it is replicated now."""
        now_ms = self._now_ms()
        record = self.records.get(key)
        referrers = () if referrer is None else (referrer,)
        active = activates(
            record,
            stored,
            length=length,
            announce=announce,
            priority=priority,
            may_return=self._collector.has_room(),
        )
        if record is None:
            record = Record(
                key,
                client.key,
                client.network,
                priority,
                announce,
                referrers,
                length=stored.length,
                updated=now_ms,
                active=now_ms,
            )
            if not self.records.add(record, trusted=client.trusted):
                self.counters["cores_dropped"] += 1
                return False
            self.counters["cores_added"] += 1
            self._report(record, "added", client.key)
            return active
        changed = self.records.adopt(record, client.key, client.network, now_ms)
        changed = raised(record, priority=priority, announce=announce) or changed
        if referrer is not None:
            changed = self.records.join_group(record, referrer) or changed
        if changed:
            self.records.save(record)
        return active

    def _describe(self, record: Record) -> bytes:
        info = self._cores.stored(record.key)
        made = CoreRecord(
            key=record.key,
            length=0 if info is None else info.length,
            bytes_allocated=0 if info is None else info.byte_length,
            updated=record.updated,
            active=record.active,
            priority=record.priority,
            announce=record.announce,
            referrer=record.referrers[0] if record.referrers else None,
        )
        w = Writer()
        made.encode(w)
        return bytes(w)

    # --- after the records are durable

    def _wait(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._waiting_size += waiting.size
        if not self._saving and not self._closed:
            self._saving = True
            self._spawn(self._save())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _save(self) -> None:
        """Flush once for all requests that have come, then act on them."""
        slices = Slices()
        try:
            while self._waiting:
                taken = list(self._waiting)
                try:
                    if self._cores.store.dirty:
                        await self._cores.flush()
                except HypercoreError as error:
                    log.warning("records of a blind peer are not written yet: %s", error)
                    await asyncio.sleep(TICK_SECONDS)
                    continue
                for waiting in taken:
                    self._waiting.popleft()
                    self._waiting_size -= waiting.size
                    self._act(waiting)
                    await slices.rest()
        finally:
            self._saving = False

    def _act(self, waiting: _Waiting) -> None:
        client = waiting.client
        if waiting.announced:
            self._host.announce(waiting.announced)
        waiting.answer()
        if client.link not in self._clients:
            return
        if waiting.referrer is not None and self.records.referrer(discovery_key(waiting.referrer)):
            client.open_wakeup(waiting.referrer, monotonic())
        for key in waiting.keys:
            record = self.records.get(key)
            if record is None:
                continue
            accepted = self._kept.request(client.requester, record.key)
            self.counters["core_activations" if accepted else "cores_dropped"] += 1
        self._kept.pump(client.requester)

    def _on_progress(self, progress: Progress) -> None:
        record = progress.record
        if progress.complete:
            self._report(record, "complete")
        if progress.news and record.referrers:
            self._news[record.key] = None
            if not self._hinting and not self._closed:
                self._hinting = True
                self._spawn(self._send_hints())

    async def _send_hints(self) -> None:
        """Hint new lengths to the members of groups that do not replicate the core: a core has several
        groups, and each connection may be a member."""
        slices = Slices()
        try:
            while self._news:
                key = next(iter(self._news))
                del self._news[key]
                record = self.records.get(key)
                if record is None:
                    continue
                for referrer in record.referrers:
                    for channel in list(self._wakeups.get(referrer, ())):
                        self._hint(channel, record)
                        await slices.rest()
        finally:
            self._hinting = False

    def _hint(self, channel: WakeupChannel, record: Record) -> None:
        if channel.opened:
            replicated = channel.muxer.channel(REPLICATION, discovery_key(record.key))
            if replicated is None or not replicated.opened:
                channel.announce([CoreRef(record.key, record.length)])

    def _on_collected(self, record: Record, size: int) -> None:
        self.counters["bytes_gcd"] += size
        self._report(record, "collected")

    def _report(self, record: Record, state: State, client: bytes | None = None) -> None:
        self._emit(
            BlindCoreChanged(
                core=record.key,
                state=state,
                client=record.client if client is None else client,
                priority=record.priority,
                announce=record.announce,
                length=record.length,
                bytes=record.held_bytes,
            )
        )

    # --- hints

    def find_referrer(self, name: bytes) -> bytes | None:
        """See `ClientHost`."""
        return self.records.referrer(name)

    def wakeup_opened(self, channel: WakeupChannel) -> None:
        """See `ClientHost`."""
        self._wakeups.setdefault(channel.key, {})[channel] = None
        self.wakeups += 1

    def wakeup_active(self, channel: WakeupChannel) -> None:
        """See `ClientHost`: hint the latest cores of the group."""
        latest = self.records.latest(channel.key, MAX_HINTS)
        if latest:
            channel.announce([CoreRef(record.key, record.length) for record in latest])

    def wakeup_closed(self, channel: WakeupChannel) -> None:
        """See `ClientHost`."""
        channels = self._wakeups.get(channel.key)
        if channels is not None:
            self.wakeups -= channels.pop(channel, 0) is None
            if not channels:
                del self._wakeups[channel.key]

    # --- deleting

    async def _delete(self, record: Record, reply: RpcReply) -> None:
        try:
            if record.announce:
                await self._host.withdraw(record.key)
            if record.key not in self.records:  # it may be there again
                self._collector.delete(record.key)
            await self._cores.flush()
        except HypercoreError as error:
            log.warning("cannot delete %s: %s", encode_key(record.key), error)
            reply.fail("The disk refuses changes")
            return
        self._report(record, "deleted")
        reply.answer(b"\x01")

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        try:
            self._collector.tick()
            self._kept.close_unused()
            for client in list(self._clients.values()):
                self._kept.pump(client.requester, stalled=True)
        except HypercoreError as error:
            log.warning("the blind peer cannot make room: %s", error)
