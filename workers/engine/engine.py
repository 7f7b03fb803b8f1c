"""The engine: one swarm, one store, any number of keys. Clocks, tasks and sockets are in here alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from hypercore.crypto import discovery_key
from hypercore.dht.constants import BOOTSTRAP_NODES as PUBLIC_BOOTSTRAP
from hypercore.errors import HypercoreError, StorageError

from .events import Event, Problem, Ready
from .keylist import Wanted
from .membership import Membership
from .ports import CoreKeeper, LimitsInForce, Network
from .seed import Seed
from .settings import EngineSettings
from .status import EngineStatus, SeedStatus, State

READY_PATIENCE = 2.0
"""Seconds that `ready` waits for the network to tell us our address. Without a network it is told all the
same."""

REPEAT_ERROR = 60.0
"""Seconds after which an error that lasts is told again. What failed is tried again far sooner."""

REPEAT_REVIEW = 5.0
"""Seconds after which a key is looked at again when that failed."""

REVIEW_DELAY = 0.1
"""Seconds from a change of a core to the look at what follows from it. A core that is downloaded changes with
every block: this many are looked at together."""

DISCOVERY_DELAY = 0.02
"""The same for a key of which it is not known yet what it names: a drive has a second core to be opened."""

log = logging.getLogger(__name__)


class Member(NamedTuple):
    """What the engine keeps of a key."""

    seed: Seed
    membership: Membership[Any]


def _held(seed: SeedStatus) -> SeedStatus:
    """The state of a key while there is no room for more."""
    return replace(seed, state=State.HELD) if seed.state in (State.DOWNLOADING, State.ASKING) else seed


class Engine:
    """Seeds keys. `emit` is called with every event, from the loop's thread, and must not block.

    The store and the swarm are made by whoever makes the engine (see `launch`), and closed by `stop`.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        swarm: Network[Any],
        cores: CoreKeeper,
        emit: Callable[[Event], None],
        online: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`online` returns when the network has answered, and our address is known: `ready` waits for it."""
        self.settings = settings
        self._swarm = swarm
        self._cores = cores
        self._tell = emit
        self._online = online
        self._held: list[Event] | None = []
        """Events that wait for `ready` to go first; None once it has."""
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._members: dict[bytes, Member] = {}
        self._behind: set[bytes] = set()
        """Keys that are not synced."""
        self._timers: dict[bytes, asyncio.TimerHandle] = {}
        self._poked: set[bytes] = set()
        """Keys that are reviewed soon, since something happened to them."""
        self._tasks: set[asyncio.Task[object]] = set()
        self._all_synced = asyncio.Event()
        self._stopping = False
        self.limits: LimitsInForce | None = None
        """What keeps us within bounds, if anything does."""
        self._told_at: dict[tuple[bytes | None, str], float] = {}
        """When an error of that code was last told of that key."""

    # --- life

    async def start(self) -> None:
        """Join the network. Keys may be added from then on; `ready` is told a little later."""
        await self._swarm.start()
        self._spawn(self._get_ready())

    async def _get_ready(self) -> None:
        if self._online is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(READY_PATIENCE):
                    await self._online()
        self._tell_ready()

    def _tell_ready(self) -> None:
        swarm = self._swarm
        held, self._held = self._held, None
        bootstrap = self.settings.bootstrap or PUBLIC_BOOTSTRAP
        self._tell(
            Ready(
                public_key=swarm.public_key,
                host=swarm.host,
                port=swarm.port,
                firewalled=swarm.firewalled,
                bootstrap=tuple(str(node).rpartition("@")[2] for node in bootstrap),
            )
        )
        for event in held or ():
            self._tell(event)

    def tell(self, event: Event) -> None:
        """Have an event of something beside the keys told."""
        self._emit(event)

    def _emit(self, event: Event) -> None:
        if self._held is None:
            self._tell(event)
        else:
            self._held.append(event)

    def emit(self, event: Event) -> None:
        """Tell what somebody on top of the engine did; `ready` goes first."""
        self._emit(event)

    async def stop(self) -> None:
        """Leave the swarm, flush what is here, close. Safe to call twice."""
        if self._stopping:
            return
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._held is not None:
            self._tell_ready()
        try:
            async with asyncio.timeout(self.settings.leave_timeout):
                await self._swarm.close()
        except TimeoutError:
            log.warning("the swarm was not left in time; peers will notice by themselves")
        for member in self._members.values():
            member.seed.close()
        self._members.clear()
        await self._cores.close()  # raises StorageError if what came last cannot be written

    # --- keys

    def add(self, wanted: Iterable[Wanted]) -> None:
        """Seed these, too. Keys that are seeded already stay as they are."""
        for item in wanted:
            if item.key not in self._members:
                self._add(item)

    def _add(self, wanted: Wanted) -> None:
        key = wanted.key
        seed = Seed(
            wanted,
            open_session=self._cores.get,
            emit=self._emit,
            changed=lambda: self._review_soon(key),
            report_interval=self.settings.report_interval,
        )
        announce = self.settings.announce
        # Spread by key, so that they do not all look at the same moment.
        spread = int.from_bytes(key[:2], "big") / 0x10000
        membership = Membership(self._swarm, discovery_key(key), announce=announce, spread=spread)
        self._members[key] = Member(seed, membership)
        self._behind.add(key)
        self._all_synced.clear()
        self._review_soon(key)

    def follow_forks(self, key: bytes, up_to: int | None) -> None:
        """Follow the writer of a key up to this fork; None: onto any. Higher ones are quarantined: what is
        here is kept and served."""
        member = self._members.get(key)
        if member is not None:
            member.seed.follow_forks(up_to)
            self._review_soon(key)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def remove(self, key: bytes) -> bool:
        """Seed it no longer; what is stored stays. False if it was not seeded."""
        member = self._members.pop(key, None)
        if member is None:
            return False
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        member.seed.close()
        self._poked.discard(key)
        self._behind.discard(key)
        self._check_all_synced()
        await member.membership.leave()
        return True

    @property
    def keys(self) -> list[bytes]:
        return list(self._members)

    # --- how things are

    def status(self) -> EngineStatus:
        now, limits = self._loop.time(), self.limits
        seeds = tuple(member.seed.status(now) for member in self._members.values())
        if limits is not None and limits.full:
            seeds = tuple(map(_held, seeds))
        return EngineStatus(
            public_key=self._swarm.public_key,
            host=self._swarm.host,
            port=self._swarm.port,
            firewalled=self._swarm.firewalled,
            announcing=self.settings.announce,
            connections=len(self._swarm.connections),
            uptime=now - self._started_at,
            seeds=seeds,
            limits=() if limits is None else limits.status(),
        )

    async def all_synced(self) -> None:
        """Returns when every key is synced."""
        await self._all_synced.wait()

    def storage_failed(self, error: StorageError) -> None:
        """The disk refused something; the store keeps it in memory and tries again."""
        self._complain(None, error)

    def _complain(self, key: bytes | None, error: HypercoreError) -> None:
        """Tell about an error, but not again and again."""
        now = self._loop.time()
        told_at = self._told_at.get((key, error.code))
        if told_at is None or now >= told_at + REPEAT_ERROR:
            self._told_at[key, error.code] = now
            self._emit(Problem(key=key, code=error.code, message=str(error)))

    # --- looking at keys when something happened

    def _review_soon(self, key: bytes) -> None:
        """Called with every block of every core: the frequent case goes first."""
        if key in self._poked:
            return
        member = self._members.get(key)
        if member is None:
            return  # it is being added, and is reviewed then
        self._poked.add(key)
        delay = DISCOVERY_DELAY if member.seed.kind is None else REVIEW_DELAY
        self._review_at(key, self._loop.time() + delay)

    def _review_at(self, key: bytes, at: float) -> None:
        timer = self._timers.get(key)
        if self._stopping or key not in self._members:
            return
        if timer is not None:
            if timer.when() <= at:
                return
            timer.cancel()
        self._timers[key] = self._loop.call_at(at, self._review, key)

    def _review(self, key: bytes) -> None:
        del self._timers[key]
        self._poked.discard(key)
        seed, membership = self._members[key]
        now = self._loop.time()
        try:
            deadline = seed.review(now)
        except HypercoreError as error:
            # The disk, most likely. The key stays as it is, and is looked at again.
            self._complain(key, error)
            self._review_at(key, now + REPEAT_REVIEW)
            return
        steer_at = membership.steer(complete=seed.complete, peers=seed.peers, now=now)
        at = min((at for at in (deadline, steer_at) if at is not None), default=None)
        if at is not None:
            self._review_at(key, at)
        if seed.synced:
            self._behind.discard(key)
            self._check_all_synced()
        else:
            self._behind.add(key)

    def _check_all_synced(self) -> None:
        if not self._behind:
            self._all_synced.set()
