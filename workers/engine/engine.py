"""The engine: one swarm, one store, any number of keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from msgspec.structs import replace

from hypercore.aio.cores.corestore import Corestore
from hypercore.crypto import discovery_key
from hypercore.errors import StorageError

from .limits.limits import Limits
from .model.event_buffer import EventBuffer
from .model.events import CoreChanged, Event, Ready
from .model.interfaces import Network
from .model.kind import Kind
from .model.status import BlindPeerStatus, EngineStatus, SeedStatus, State
from .seeds.backlog import Backlog
from .seeds.cold import Cold, load_cold
from .seeds.peer_counters import PeerAmounts
from .seeds.problems import Problems
from .seeds.review_schedule import ReviewSchedule
from .seeds.seed import Seed
from .seeds.served import ServedCounter
from .seeds.stage import Stage
from .seeds.table import SeedSlot, SeedTable, TableTotals, WarmSeed
from .seeds.topic import NoTopic, TopicSubscription
from .settings.key_list import SeedSpec
from .settings.settings import EngineSettings, LimitSettings

READY_TIMEOUT = 2.0
"""Seconds that `ready` waits for the network to report our address. Without a network it is emitted
anyway."""

REPEAT_REVIEW = 5.0
"""Seconds until a failed review of a key is repeated."""

REPORT_SECONDS_OF_KEY = 0.001
"""Seconds between two reports of progress of a key, for each key that is not synced: all together report no
more than a thousand times a second."""

log = logging.getLogger(__name__)


def _held(seed: SeedStatus) -> SeedStatus:
    """The status of a key while there is no room for more."""
    held = seed.state in (State.DOWNLOADING, State.ASKING) or (seed.state is State.WAITING and seed.peers)
    return replace(seed, state=State.HELD) if held else seed


class Engine:
    """Seeds keys over parts that the caller makes (see `launch.assemble`); `stop` closes them.

    Events go to `events`, on the loop's thread.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        swarm: Network[Any],
        cores: Corestore,
        seeds: SeedTable,
        limits: Limits,
        events: EventBuffer,
        online: Callable[[], Awaitable[object]] | None = None,
        claim: Callable[[bytes, bytes], bool] = lambda key, core: True,
        blind_peer: Callable[[], BlindPeerStatus | None] = lambda: None,
    ) -> None:
        """`online` returns when the network has answered and our address is known: `ready` waits for it.
        `claim` records that a core belongs to a key (see `Owners.claim`). `blind_peer` returns the status of
        the engine's blind peer."""
        self.settings = settings
        self._swarm = swarm
        self._cores = cores
        self._seeds = seeds
        self._limits = limits
        self._events = events
        self._problems = Problems(events.emit, monotonic)
        self._online = online
        self._max_blocks = settings.limits.max_blocks
        self._claim = claim
        self._blind_peer = blind_peer
        self._loaded = asyncio.Event()
        """Set while `ready` has been emitted and no key waits to be added."""
        self._loop = asyncio.get_running_loop()
        self._started_at = monotonic()
        self._backlog = Backlog(
            add=self._add, wake=self._wake, on_failure=self._fail, on_progress=self._check_loaded
        )
        self._was_full = False
        """Whether the disk was full at the last call of `changes`."""
        self._changed: set[bytes] = set()
        """Keys with activity since the last call of `changes`."""
        self._unsynced: set[bytes] = set()
        """Keys that are not synced."""
        self._served = ServedCounter()
        self._gone_cold: set[bytes] = set()
        """Keys that became cold since the last call of `served`."""
        self._reviews = ReviewSchedule(self._review, self._is_loaded)
        self._tasks: set[asyncio.Task[object]] = set()
        self._all_synced = asyncio.Event()
        self._stopping = False

    # --- life

    async def start(self) -> None:
        """Join the network and apply the limits. Keys may be added from then on; `ready` is emitted a little
        later."""
        await self._swarm.start()
        self._spawn(self._get_ready())
        self._limits.poll()

    async def _get_ready(self) -> None:
        if self._online is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(READY_TIMEOUT):
                    await self._online()
        self._emit_ready()

    def _emit_ready(self) -> None:
        swarm = self._swarm
        self._events.emit_ready(
            Ready(
                public_key=swarm.public_key,
                host=swarm.host,
                port=swarm.port,
                firewalled=swarm.firewalled,
                bootstrap=tuple(node.label for node in self.settings.bootstrap),
                blind_peer=None if self.settings.blind_peer is None else swarm.public_key,
            )
        )
        self._check_loaded()

    async def loaded(self) -> None:
        """Return once `ready` has been emitted and no key waits to be added."""
        await self._loaded.wait()

    def _check_loaded(self) -> None:
        if self._events.ready and self._backlog.empty:
            self._loaded.set()
        else:
            self._loaded.clear()

    def _emit_of_seed(self, event: Event) -> None:
        if isinstance(event, CoreChanged):
            # A core may belong to several keys: cold ones are notified as well
            self.on_core_requested(discovery_key(event.core))
        self._events.emit(event)

    async def stop(self) -> None:
        """Leave the swarm, flush, close. Safe to call twice."""
        if self._stopping:
            return
        self._stopping = True
        self._limits.close()
        self._reviews.close()
        for task in self._tasks:
            task.cancel()
        self._backlog.close()
        if not self._events.ready:
            self._emit_ready()
        try:
            async with asyncio.timeout(self.settings.leave_timeout):
                await self._swarm.close()
        except TimeoutError:
            log.warning("the swarm was not left in time; peers will notice by themselves")
        for warm in self._seeds.all_warm().values():
            warm.seed.close()
        self._seeds.clear()
        await self._cores.close()  # raises StorageError if the last changes cannot be written

    # --- keys

    def add(self, specs: Iterable[SeedSpec]) -> None:
        """Seed these keys. Keys that are seeded already stay unchanged.

        The first of them are added at once; when there are many, the others soon.
        """
        new = [spec for spec in specs if spec.key not in self._seeds]
        self._unsynced.update(spec.key for spec in new)
        if self._unsynced:
            self._all_synced.clear()
        self._backlog.put(new)

    def _add(self, spec: SeedSpec) -> None:
        key = spec.key
        cold = load_cold(spec, self._cores.stored) if spec.announce and not spec.own else None
        if cold is not None and any(self._cores.has_conflict(core.key) for core in cold.cores):
            cold = None  # a conflict is emitted at each start
        if cold is not None and cold.kind is Kind.CORE and self.settings.encryption_keys:
            cold = None  # one of the keys may show that it is a drive
        for core in () if cold is None else cold.cores:
            self._claim(key, core.key)  # its record may be older than claims
        state: WarmSeed | Cold = self._warmed(spec) if cold is None else cold
        # Spread by key, so that lookups do not start all at once.
        try:
            topic = self._subscribe(key, resting=cold is not None) if spec.announce else NoTopic()
        except BaseException:
            if isinstance(state, WarmSeed):
                self._release(key, state.seed)
            raise
        self._seeds.add(key, SeedSlot(state, topic))
        if cold is None:
            self._reviews.soon(key, prompt=True)
        else:
            for event in cold.events():
                self._events.emit(event)
            self._mark_synced(key)
        self._changed.add(key)

    def _subscribe(self, key: bytes, *, resting: bool) -> TopicSubscription[Any]:
        return TopicSubscription(
            self._swarm,
            discovery_key(key),
            announce=self.settings.announce,
            spread=int.from_bytes(key[:2], "big") / 0x10000,
            resting=resting,
        )

    def _warmed(self, spec: SeedSpec, resting: Cold | None = None) -> WarmSeed:
        key = spec.key
        seed = Seed(
            spec,
            open_session=self._cores.get,
            emit=self._emit_of_seed,
            changed=partial(self._reviews.soon, key),
            claim=lambda core: self._claim(key, core),
            report_interval=self._report_interval,
            max_blocks=self._max_blocks,
            secrets=self.settings.encryption_keys,
            resting=resting,
        )
        return WarmSeed(seed, woken=resting is not None)

    def follow_forks(self, key: bytes, up_to: int | None) -> None:
        """Follow the writer of a key up to this fork; None: any. Higher forks are quarantined: stored blocks
        are kept and served."""
        self._backlog.follow_forks(key, up_to)
        self.wake(key)
        warm = self._seeds.warm(key)
        if warm is not None:
            warm.seed.follow_forks(up_to)
            self._reviews.soon(key)

    def set_limits(self, limits: LimitSettings, *, hold: bool = False) -> None:
        """Apply other limits. `hold`: download nothing in any case."""
        if limits.max_blocks != self._max_blocks:
            self._max_blocks = limits.max_blocks
            for key, warm in self._seeds.all_warm().items():
                warm.seed.max_blocks = limits.max_blocks
                self._reviews.soon(key)
        self._limits.configure(limits, hold=hold)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def remove(self, key: bytes) -> bool:
        """Stop seeding a key; stored blocks stay. Returns False if it was not seeded."""
        self._problems.discard(key)
        if self._backlog.remove(key):
            self._mark_synced(key)
            return True
        slot = self._seeds.remove(key)
        if slot is None:
            return False
        if isinstance(slot.state, WarmSeed):
            self._release(key, slot.state.seed)
        self._changed.discard(key)
        self._served.remove(key)
        self._gone_cold.discard(key)
        self._mark_synced(key)
        await slot.topic.leave()
        return True

    def _release(self, key: bytes, seed: Seed) -> None:
        self._reviews.cancel(key)
        seed.close()

    @property
    def keys(self) -> list[bytes]:
        """The keys that are kept, cold ones included."""
        return [*self._seeds, *self._backlog.waiting]

    def has_key(self, key: bytes) -> bool:
        """Whether a key is kept."""
        return key in self._seeds or self._backlog.has(key)

    # --- cold keys

    def on_core_requested(self, name: bytes) -> None:
        """A peer asks for the core with that discovery key, which is not open: wake its keys."""
        self._backlog.put_waking(self._seeds.owners(name))

    def wake(self, key: bytes) -> None:
        """Load a key if it is cold; call it before using its cores."""
        if self._seeds.get(key) is not None:
            self._wake(key)

    def reopen(self, key: bytes) -> None:
        """Look again for unavailable blocks of a key: another replica has some."""
        self.wake(key)
        warm = self._seeds.warm(key)
        if warm is not None:
            warm.seed.reopen()

    def _wake(self, key: bytes) -> None:
        self._backlog.woken(key)
        slot = self._seeds.get(key)
        if slot is None or not isinstance(slot.state, Cold):
            return
        try:
            self._seeds.change(key, self._warmed(slot.state.spec, slot.state))
        except Exception as error:
            self._fail(key, error)
            return
        self._reviews.soon(key)

    def _make_cold(self, key: bytes, warm: WarmSeed, topic: TopicSubscription[Any] | NoTopic) -> None:
        cold = warm.seed.put_away()
        self._release(key, warm.seed)
        topic.rest()
        self._seeds.change(key, cold)
        self._gone_cold.add(key)

    # --- status

    def status(self, *, cold: int | None = None) -> EngineStatus:
        """Status of the engine and its seeds. `cold` limits how many cold seeds are listed; None: all."""
        now = monotonic()
        seeds = self._shown(self._statuses(self._seeds.slots(cold=cold)))
        return EngineStatus(
            public_key=self._swarm.public_key,
            host=self._swarm.host,
            port=self._swarm.port,
            firewalled=self.firewalled,
            announcing=self.settings.announce,
            connections=self.connections,
            uptime=now - self._started_at,
            seeds=seeds,
            limits=self._limits.status(),
            unseen=len(self._seeds) - len(seeds),
            blind_peer=self._blind_peer(),
        )

    @property
    def connections(self) -> int:
        """Connections with peers."""
        return len(self._swarm.connections)

    @property
    def firewalled(self) -> bool:
        """Whether other hosts cannot reach us."""
        return self._swarm.firewalled

    def totals(self) -> TableTotals:
        """Totals over all keys, without visiting cold ones."""
        return self._seeds.totals()

    def changes(self) -> tuple[SeedStatus, ...]:
        """Status of the keys with activity since the last call."""
        changed, self._changed = self._changed, set()
        full = self._limits.full
        if full is not self._was_full:
            self._was_full = full
            changed.update(self._seeds.all_warm())  # downloads were paused or resumed
        slots = [(key, self._seeds.get(key)) for key in changed]
        return self._shown(self._statuses((key, slot) for key, slot in slots if slot is not None))

    def served(self) -> dict[bytes, int]:
        """Bytes of blocks sent to peers by key, since the last call; keys without any are left out."""
        counters = {key: warm.seed.traffic[1] for key, warm in self._seeds.all_warm().items()}
        for key in self._gone_cold:
            slot = self._seeds.get(key)
            if slot is not None and isinstance(slot.state, Cold):
                counters[key] = slot.state.bytes_out
        self._gone_cold.clear()
        return self._served.take(counters.items())

    def peers_of(self, key: bytes) -> list[PeerAmounts]:
        """The peers that replicate a key now, and the bytes exchanged with each."""
        warm = self._seeds.warm(key)
        return [] if warm is None else warm.seed.peer_amounts()

    def mark_changed(self, key: bytes) -> None:
        """Include a key in the next `changes`: its report changed outside of the engine."""
        self._changed.add(key)

    def _statuses(self, slots: Iterable[tuple[bytes, SeedSlot]]) -> Iterator[SeedStatus]:
        now = monotonic()
        for key, slot in slots:
            try:
                yield slot.status(now)
            except Exception as error:
                self._fail(key, error)

    def _shown(self, seeds: Iterable[SeedStatus]) -> tuple[SeedStatus, ...]:
        return tuple(map(_held, seeds) if self._limits.full else seeds)

    async def all_synced(self) -> None:
        """Return when every key is synced."""
        await self._all_synced.wait()

    def storage_failed(self, error: StorageError) -> None:
        """The disk refused a write; the store keeps the data in memory and retries."""
        self._fail(None, error)

    def _fail(self, key: bytes | None, error: Exception) -> None:
        self._problems.report(key, error)

    # --- reviews

    def _is_loaded(self, key: bytes) -> bool:
        return self._seeds.warm(key) is not None  # one that is being added is reviewed then

    def _report_interval(self) -> float:
        return max(self.settings.report_interval, REPORT_SECONDS_OF_KEY * len(self._unsynced))

    def _review(self, key: bytes) -> None:
        self._changed.add(key)
        slot = self._seeds.get(key)
        assert slot is not None and isinstance(slot.state, WarmSeed)
        warm, topic = slot.state, slot.topic
        seed, now = warm.seed, monotonic()
        try:
            deadline = seed.review(now)
            update_at = topic.update(complete=not seed.seeks_peers, peers=seed.peers, now=now)
            rest_at = self._step_stage(key, warm, topic, now)
        except Exception as error:
            # The disk, most likely. The key stays as it is and is reviewed again.
            self._fail(key, error)
            self._reviews.at(key, now + REPEAT_REVIEW)
            return
        if seed.synced:
            self._mark_synced(key)
        else:
            self._unsynced.add(key)
        if self._seeds.warm(key) is None:
            return
        at = min((at for at in (deadline, update_at, rest_at) if at is not None), default=None)
        if at is not None:
            self._reviews.at(key, at)

    def _step_stage(
        self, key: bytes, warm: WarmSeed, topic: TopicSubscription[Any] | NoTopic, now: float
    ) -> float | None:
        """Make a complete key rest, then cold. Returns the time of the next call at the latest, or None."""
        seed, stage_machine = warm.seed, warm.stage_machine
        before, peers = stage_machine.stage, seed.connected
        stage = stage_machine.step(idle=seed.idle and not topic.looking, peers=peers, now=now)
        if stage is not before:
            seed.set_active(stage is Stage.ACTIVE)
            if stage is Stage.COLD:
                try:
                    seed.record()
                    self._make_cold(key, warm, topic)
                except BaseException:
                    stage_machine.wake()
                    raise
                return None
            if stage is Stage.RESTING:
                seed.record()
            stage = stage_machine.step(idle=stage is Stage.RESTING, peers=seed.connected, now=now)
        return stage_machine.next_deadline()

    def _mark_synced(self, key: bytes) -> None:
        self._unsynced.discard(key)
        if not self._unsynced:
            self._all_synced.set()
