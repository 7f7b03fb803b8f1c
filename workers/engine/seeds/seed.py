"""One key: its cores, and the events about them.

A seed does not wait and has no clock. `review(now)` looks at the cores, acts (opens the blobs core, emits
events) and returns when it must be called again at the latest; the engine also calls it after activity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..model.events import Event, PeerChanged, Synced
from ..model.interfaces import CoreSession, RemotePeer
from ..model.kind import MAIN_ROLE, Finding, Kind, Role
from ..model.rate import Rate
from ..model.status import SeedStatus, State, state_of
from ..settings.key_list import SeedSpec
from .blobs_length import RequiredBlobs
from .cold import Cold, ColdCore, SeedRecord, amounts_of
from .core_problems import doubts_of, problems_of, too_many_blocks, too_many_cores
from .detect import all_lack, detect_kind, detection_basis, remembered
from .peer_counters import PeerAmounts, PeerCounters, PeerDelta
from .progress import ProgressEvents
from .totals import SeedTotals, totals_of
from .tracked_core import TrackedCore

DETECT_TIMEOUT = 3.0
"""Seconds that a complete core which may be an encrypted drive waits for a peer that has its blobs core. No
wait if all peers lack it. An unreadable drive with an empty blobs core waits as long."""

FLUSH_CHECK = 5.0
"""Seconds after which a complete key checks by itself whether it is durable, if no notification comes."""

STARVED_SECONDS = 30.0
"""Seconds without a block after which the connected peers of a key that lacks blocks count as useless."""

_AT_REST = (State.WAITING, State.SYNCED, State.HELD, State.FAILED, State.TOO_LARGE)
"""States in which missing blocks are reported."""


class OpenSession(Protocol):
    """Opens a core: see `Corestore.get`."""

    def __call__(self, key: bytes, /, *, active: bool) -> CoreSession: ...


class Seed:
    """A key that the engine keeps, its cores and their state; the engine drives it. `resting`: it was loaded
    from cold, so its events repeat old facts and its sessions are inactive. `claim` records that a core
    belongs to the key; False: it has too many. `changed` asks for a review, a prompt one if its argument is
    True. `report_interval` returns the seconds between two reports of progress at least."""

    def __init__(
        self,
        spec: SeedSpec,
        *,
        open_session: OpenSession,
        emit: Callable[[Event], None],
        changed: Callable[[bool], None],
        claim: Callable[[bytes], bool],
        report_interval: Callable[[], float],
        max_blocks: int | None = None,
        secrets: Sequence[bytes] = (),
        resting: Cold | None = None,
    ) -> None:
        self.key = spec.key
        self.max_blocks = max_blocks
        """Blocks beyond which nothing more is fetched; applied in the next review. None: any number."""
        self._too_large = self._claims_refused = self._failed = False
        self.kind: Kind | None = None
        """None until it is detected."""
        self._given_kind = spec.kind
        self._open_session = open_session
        self._emit = emit
        self._changed = changed
        self._claim = claim
        self._active = resting is None
        self._tally = PeerCounters()
        self._max_fork = spec.max_fork
        self._own = spec.own
        self._known_to_peers: tuple[int, int] | None = None
        """Fork and length of our own core that a peer could learn."""
        self._secrets = secrets
        self._memo: SeedRecord | None = None
        """The record of an earlier run."""
        claim(spec.key)
        self._main = self._part(spec.key, decisive=True)
        self._memo = SeedRecord.decode(self._main.core.meta)
        self._assume_memo(self._main)
        self._second: TrackedCore | None = None
        """The blobs core of a drive, or of a suspected one."""
        self._open_parts: tuple[TrackedCore, ...] = (self._main,)
        """Both, as far as there are."""
        self.parts: list[tuple[TrackedCore, Role]] = []
        """The cores that are known to belong to the key, each with its role."""
        self._known = [self._main]
        """Those cores; while none is known, the one that the key names."""
        self._awaiting = False
        """A peer may still give missing blocks."""
        self._finding = Finding()
        self._detected_from: object = None
        self._needed = RequiredBlobs()

        self._down, self._up = Rate(), Rate()
        self._progress = ProgressEvents(self.key, emit, report_interval)
        self._synced: object = None
        self._uncertain_since: float | None = None
        self._fed: tuple[int, float] | None = None
        """Bytes received when `lacks_peers` was asked first, or saw that there were more, and when."""
        if resting is not None:
            try:
                self._resume(resting)
            except BaseException:
                self._main.close()
                raise

    def _resume(self, cold: Cold) -> None:
        if len(cold.cores) > 1:
            self._set_blobs_core(cold.cores[1].key)
            blobs = cold.cores[1].length if cold.kind is Kind.DRIVE else 0
            self._needed.assume(self._main.core, blobs if cold.readable else None)
        self._set_kind(cold.kind)
        self._tally.resume(cold.bytes_in, cold.bytes_out)
        self._progress.resume(cold)
        known = [
            (core.key, core.fork, core.length, core.unavailable)
            for core in cold.cores
            if core.role is not None
        ]
        self._synced = (cold.kind, known)
        self._too_large, self._claims_refused = cold.too_large, cold.refused
        if cold.finding is not None:
            self._finding, self._detected_from = cold.finding, detection_basis(self._main, cold.finding.kind)

    # --- how things are

    @property
    def complete(self) -> bool:
        """Whether the kind is known and every available block of every core is received."""
        main = self._main.core
        if self.kind is None or main.length == 0 or not self._main.full:
            return False
        if self.kind is not Kind.DRIVE:
            return True
        if self._second is None:
            return False
        blobs = self._second.core
        # An encrypted db does not tell how much it needs: see `_uncertain`.
        needed = self._needed.update(main) or 0
        return self._second.full and blobs.length >= needed and self._needed.finished

    @property
    def _durable(self) -> bool:
        return all(part.durable for part in self._known)

    @property
    def synced(self) -> bool:
        """Whether all of it is on disk, and `synced` was emitted."""
        return self._synced is not None

    @property
    def peers(self) -> int:
        """Number of peers that are connected and have its cores open."""
        return len(self._tally)

    def peer_amounts(self) -> list[PeerAmounts]:
        """Its peers, and what was exchanged with each."""
        return self._tally.amounts()

    @property
    def connected(self) -> int:
        """Channels with peers, including those of a core that only may belong to the key."""
        return sum(len(part.session.peers) for part in self._open_parts)

    def lacks_peers(self, now: float) -> bool:
        """Whether it has no peers, or lacks blocks and its peers give none. Counts from the first call."""
        if not self.connected:
            return True
        received = self._tally.bytes_in
        if self.complete or self._fed is None or received != self._fed[0]:
            self._fed = (received, now)
        return now >= self._fed[1] + STARVED_SECONDS

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do, as far as peers report. Of our own key there is always: to write."""
        if self._own or not self.synced or self._failed or not self.complete or self._awaiting:
            return False
        return not any(part.has_news or part.offered for part in self._open_parts)

    @property
    def seeks_peers(self) -> bool:
        """Whether to look for peers: blocks are missing, or no peer was here since we wrote the last ones.
        Peers that have all that they know of look seldom."""
        if not self._own:
            return not self.complete
        head = self._main.core.fork, self._main.core.length
        if self.peers:
            self._known_to_peers = head
        return head != self._known_to_peers

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of blocks received and sent."""
        return self._tally.bytes_in, self._tally.bytes_out

    @property
    def have_bytes(self) -> int:
        """Bytes of the stored blocks of its cores."""
        return sum(part.core.have_bytes for part in self._known)

    def set_active(self, active: bool) -> None:
        """True: replicate its cores on every connection; False: only with peers that open them."""
        if active is not self._active:
            self._active = active
            for part in self._open_parts:
                part.session.set_active(active)

    def record(self) -> None:
        """Store the record for a restart with the main core."""
        self._main.session.meta = self.put_away().memo.encode()

    def put_away(self) -> Cold:
        """The cold form of an idle key, to use once it is closed."""
        assert self.kind is not None
        roles = {part.core.key: role for part, role in self.parts}
        cores = (part.core for part in self._open_parts)
        gaps = tuple(part.gaps() for part in self._known) if self._count().unavailable_blocks else ()
        return Cold(
            SeedSpec(self.key, self._given_kind, self._max_fork),
            self.kind,
            tuple(ColdCore(core.key, roles.get(core.key), core.fork, *amounts_of(core)) for core in cores),
            self.kind is not Kind.DRIVE or self._needed.update(self._main.core) is not None,
            *self.traffic,
            gaps,
            self._finding,
            self._too_large,
            self._claims_refused,
        )

    def reopen(self) -> None:
        """Look again for blocks that were given up: a replica is known to have some."""
        for part in self._open_parts:
            part.fullness.reopen()
        if self.kind is not None:
            self._save_kind(self.kind)
        self._changed(False)

    def status(self, now: float) -> SeedStatus:
        """Status for people and reports."""
        self._down.sample(self._tally.bytes_in, now)
        self._up.sample(self._tally.bytes_out, now)
        totals = self._count()
        state = self._state(totals)
        at_rest = state in _AT_REST and totals.have_blocks < totals.blocks
        return SeedStatus(
            key=self.key,
            kind=self.kind,
            state=state,
            length=self._main.core.length,
            fork=self._main.core.fork,
            blocks=totals.blocks,
            have_blocks=totals.have_blocks,
            bytes=totals.bytes,
            have_bytes=totals.have_bytes,
            unavailable_blocks=totals.unavailable_blocks,
            unavailable_bytes=totals.unavailable_bytes,
            gaps=tuple(part.gaps() for part in self._known) if at_rest else (),
            peers=totals.peers,
            bytes_in=self._tally.bytes_in,
            bytes_out=self._tally.bytes_out,
            quarantined=max((part.offered.fork for part in self._open_parts if part.offered), default=None),
            down=self._down.per_second(now),
            up=self._up.per_second(now),
        )

    def _state(self, totals: SeedTotals) -> State:
        if self._failed:
            return State.FAILED
        state = state_of(
            blocks=totals.blocks,
            have_blocks=totals.have_blocks,
            complete=self.complete,
            durable=self._durable,
            synced=self.synced,
            peers=totals.peers,
            offered=any(part.fullness.offered for part in self._known),
        )
        return State.TOO_LARGE if self._too_large and state is not State.SYNCED else state

    # --- what follows from it

    def review(self, now: float) -> float | None:
        """Act on the state of the cores. Returns when to call again at the latest, or None."""
        checks = [part.fullness.review(now) for part in self._open_parts]
        self._detect_kind()
        self._limit_blocks()
        self._emit_peers()
        self._emit_problems()
        self._awaiting = any(part.fullness.busy(now) for part in self._open_parts)
        progress = self._progress.update(self.parts, self._count(), now)
        deadlines = (progress, self._emit_synced(now), *checks)
        if self._main.full and not self._needed.finished:
            self._needed.update(self._main.core)  # in any case: nothing else may ask for it now
            return now  # the db is looked through in portions: go on in the next turn
        return min((at for at in deadlines if at is not None), default=None)

    def follow_forks(self, up_to: int | None) -> None:
        """Follow the writer up to this fork; None: any. Higher forks are quarantined."""
        self._max_fork = up_to
        for part in self._open_parts:
            part.session.follow_forks(up_to)

    def close(self) -> None:
        """Release the cores and emit that peers closed. Stored blocks stay."""
        for part in self._open_parts:
            part.close()
        self._emit_peers(closing=True)

    def _limit_blocks(self) -> None:
        """Stop fetching a key that has more blocks than allowed, or resume."""
        if self.max_blocks is None and not self._too_large:
            return
        parts = self._open_parts
        blocks, limit = sum(part.core.length for part in parts), self.max_blocks
        too_large = limit is not None and blocks > limit
        if too_large or self._too_large:
            for part in parts:  # one of them may have been opened since
                part.session.download(not too_large)
        if too_large and not self._too_large:
            self._emit(too_many_blocks(self.key, blocks, limit or 0))
        self._too_large = too_large

    # --- finding out what the key names

    def _detect_kind(self) -> None:
        seen_from = detection_basis(self._main, self._finding.kind)
        if seen_from != self._detected_from:
            self._detected_from = seen_from
            found = detect_kind(self._main, given=self._given_kind, memo=self._memo, secrets=self._secrets)
            if found.kind is not None:  # otherwise what was known before still holds, if anything was
                if (found.sealed, found.is_writer) != (self._finding.sealed, self._finding.is_writer):
                    for event in doubts_of(self.key, found):
                        self._emit(event)
                self._finding = found
                self._set_blobs_core(found.blobs or found.probe)
                self._set_kind(found.kind)
                if found.unlocked:
                    self._save_kind(found.kind)
        second = self._second
        if second is None or self.kind is not Kind.CORE:
            return
        if second.core.length:
            # A peer has what would be the blobs core: this is a drive, though we cannot read it. A channel
            # alone shows nothing: another seeder asks the same question.
            self._save_kind(Kind.DRIVE)
            self._set_kind(Kind.DRIVE)

    def _set_blobs_core(self, key: bytes | None) -> None:
        if self._second is not None:
            if self._second.core.key == key:
                return
            self._second.close()
        if key is not None and not self._claim(key):
            self._refuse_claim(key)
            key = None
        self._second, self._open_parts = None, (self._main,)
        if key is not None:
            self._second = self._part(key)
            self._open_parts = (self._main, self._second)
            self._assume_memo(self._second)

    def _assume_memo(self, part: TrackedCore) -> None:
        """Do not look again for blocks that an earlier run gave up, if what it had is stored."""
        length = None if self._memo is None else self._memo.given_up_below(self.key, part.core)
        if length is not None:
            part.fullness.trust(length)

    def _refuse_claim(self, core: bytes) -> None:
        if not self._claims_refused:
            self._claims_refused = True
            self._emit(too_many_cores(self.key, core))

    def _part(self, key: bytes, *, decisive: bool = False) -> TrackedCore:
        session = self._open_session(key, active=self._active)
        # New peers are recorded at once: a reader may be done before the next review of the key.
        part = TrackedCore(
            session,
            changed=self._changed,
            on_peer_change=self._emit_peers,
            own=self._own,
            decisive=decisive,
        )
        part.session.follow_forks(self._max_fork)
        return part

    def _set_kind(self, kind: Kind) -> None:
        self.kind = kind
        self.parts = [(self._main, MAIN_ROLE[kind])]
        if kind is Kind.DRIVE and self._second is not None:
            self.parts.append((self._second, Role.BLOBS))
        self._known = [part for part, _ in self.parts]
        self._main.decisive = kind is Kind.DRIVE and self._second is None

    def _save_kind(self, kind: Kind) -> None:
        second = self._finding.blobs if self._finding.unlocked else None
        self._main.session.meta = SeedRecord(kind, second=second).encode()

    def _is_uncertain(self) -> bool:
        """Whether the key may have a second core (or more of it) that is not known yet."""
        if self._second is None or self._second.core.length:
            return False
        if self.kind is Kind.CORE:
            return remembered(self._main.core) is not Kind.CORE
        return self._needed.update(self._main.core) is None

    def _peers_lack_second(self) -> bool:
        return self._second is not None and all_lack(self._second.session, self._main.session)

    # --- events

    def _emit_peers(self, *, closing: bool = False) -> None:
        peers: list[RemotePeer] = []
        if not closing:
            peers.extend(self._main.session.peers)
            # Peers of a core that only may be the blobs core do not count.
            if self._second is not None and self.kind is Kind.DRIVE:
                peers.extend(self._second.session.peers)
        for news in self._tally.update(peers):
            self._emit_peer(news)

    def _emit_peer(self, news: PeerDelta) -> None:
        self._emit(
            PeerChanged(
                key=self.key,
                peer=news.public_key,
                state="open" if news.open else "close",
                bytes_in=news.bytes_in,
                bytes_out=news.bytes_out,
            )
        )

    def _emit_problems(self) -> None:
        for part in self._open_parts:
            if part.has_problems:
                for event in problems_of(self.key, part, failed=self._failed):
                    self._emit(event)
                self._failed |= part.conflict

    def _emit_synced(self, now: float) -> float | None:
        if not self.complete or self.kind is None:
            self._synced = None
            self._uncertain_since = None
            return None
        known = [(p.core.key, p.core.fork, p.core.length, p.fullness.unavailable) for p in self._known]
        state = (self.kind, known)
        if state == self._synced:
            return None
        if not self._durable:
            return now + FLUSH_CHECK
        if self._is_uncertain():
            self._uncertain_since = now if self._uncertain_since is None else self._uncertain_since
            if now < self._uncertain_since + DETECT_TIMEOUT and not self._peers_lack_second():
                return self._uncertain_since + DETECT_TIMEOUT
            self._save_kind(self.kind)
        self._synced = state
        self._progress.emit_heads(self.parts)  # of what `synced` is about
        totals = self._count()
        if totals.unavailable_blocks:
            self.record()  # now: the peer that had the blocks may never return to report that it lacks them
        self._emit(
            Synced(
                key=self.key,
                kind=self.kind,
                version=self._main.core.length,
                length=totals.blocks,
                bytes=totals.bytes,
                unavailable_blocks=totals.unavailable_blocks,
                unavailable_bytes=totals.unavailable_bytes,
            )
        )
        return None

    def _count(self) -> SeedTotals:
        return totals_of(self.kind, self._known, len(self._tally))
