"""The worker: gives its assignment to its engines, executes messages of control, and collects reports.

Knows no Celery. Any thread may call any method.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from typing import Any

from msgspec.structs import replace

from farmwire import tasks
from farmwire.assignment import Assignment, AssignmentAssembler, AssignmentPage
from farmwire.audit import Answer, Challenge
from farmwire.envelope import node_id, open_envelope
from farmwire.message import decode, to_builtins
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.report import Heartbeat, Phase, ReplicaStatus
from farmwire.tasks import Configure, Refresh, Retire
from farmwire.traffic import PeerList, Watch
from hypercore.crypto import KeyPair

from ..engine.settings.settings import LimitSettings, cap, divide, headroom
from ..state import State
from ..units import format_size
from .challenges import Challenges
from .engine_stats import engine_stats, quota_left
from .host import disk_bytes, host_stats
from .pending_reports import REPORT_ALL_SOON, PendingReports
from .sampler import Sampler
from .settings import WorkerSettings, ordered
from .shard import Shard
from .shard_map import ShardMap

SYNC_PORTION = 5000
"""Keys in one line to an engine: half a megabyte, which it reads in a few milliseconds."""

REPEAT_REFUSAL = 60.0
"""Seconds between events for rejections with the same reason. Each one is counted."""

FACTS_TIMEOUT = 600.0
"""Seconds without a line from an engine, restarts included, after which its copies are reported as errors, so
that control replaces them."""

log = logging.getLogger(__name__)


class Agent:
    """One worker. `identity` signs its messages; the caller that opened `state` closes it."""

    def __init__(self, settings: WorkerSettings, state: State, identity: KeyPair) -> None:
        self.settings = settings
        self.state = state
        self.identity = identity
        self.id = node_id(identity.public_key)
        self.run = secrets.token_hex(8)
        """Random. Two of them that alternate are two machines with one `identity`."""
        self.connections = 0
        """Connections to the broker since the start."""
        self.reported_at: float | None = None
        """When the broker last took a heartbeat, Unix time. None: not yet."""
        self.reports = PendingReports(
            state, heartbeat=self.heartbeat, blind_peer=settings.blind_peer is not None
        )
        self.retired = threading.Event()
        """Set when control ends the membership."""
        self._lock = self.reports.lock
        self._assembler = AssignmentAssembler()
        self._order = Configure()
        self._challenges = Challenges(self._ask)
        self._refused_at: dict[RejectReason, float] = {}
        self._shard_map = ShardMap(state, settings.shards)
        self._shards = {
            index: Shard(
                index,
                settings,
                on_start=self._on_engine_start,
                on_line=self._on_engine_line,
                on_end=self._on_engine_end,
                on_hung=self._on_engine_hung,
            )
            for index in self._shard_map.engines
        }
        self.shards = list(self._shards.values())
        self._sampler = Sampler(settings, state, self.shards, on_tick=self._check_silence)
        self._syncing = {index: threading.Lock() for index in self._shards}

    # --- life

    def start(self) -> None:
        """Seed the assignment of the last run, whether or not the farm can be reached. Safe to call twice."""
        if self._sampler.started:
            return
        if saved := self.state.get("configure"):
            self._order = decode(json.loads(saved), Configure)
        with self._lock:
            self._assign(self.state.assignment())
        for shard in self.shards:
            shard.start()
        self._sampler.start()

    def stop(self) -> None:
        """Safe to call twice."""
        self._sampler.stop()
        stoppers = [threading.Thread(target=shard.stop) for shard in self.shards]
        for thread in stoppers:
            thread.start()
        for thread in stoppers:
            thread.join()

    # --- messages of control

    def handle(self, name: str, sealed: object) -> None:
        """Verify and execute the argument of task `name`. A rejected message is counted and has no effect."""
        try:
            farm = self.state.farm
            if farm is None:
                raise MessageRejected(RejectReason.WRONG_SENDER, "this worker belongs to no farm")
            envelope = self.state.opened(
                farm.control,
                lambda window: open_envelope(
                    sealed, sender=farm.control, me=self.id, name=name, now=time.time(), window=window
                ),
            )
            match name:
                case tasks.SYNC_ASSIGNMENT:
                    self._on_page(decode(envelope.body, AssignmentPage))
                case tasks.AUDIT:
                    self._on_challenge(decode(envelope.body, Challenge))
                case tasks.CONFIGURE:
                    self._on_configure(decode(envelope.body, Configure))
                case tasks.REFRESH:
                    self._on_refresh(decode(envelope.body, Refresh))
                case tasks.WATCH:
                    self._on_watch(decode(envelope.body, Watch))
                case tasks.RETIRE:
                    decode(envelope.body, Retire)
                    self.state.set(retired="yes")
                    self.retired.set()
        except MessageRejected as refused:
            self.refuse(name, refused)

    def refuse(self, name: str, refused: MessageRejected) -> None:
        """Count a rejected message, log it, and report it at most once a REPEAT_REFUSAL."""
        log.warning("refused %s: %s", name, refused)
        self.state.count_refusal(refused.reason)
        now = time.monotonic()
        if now - self._refused_at.get(refused.reason, float("-inf")) >= REPEAT_REFUSAL:
            self._refused_at[refused.reason] = now
            self.reports.record_event("refused", f"{name}: {refused}")

    def _on_refresh(self, refresh: Refresh) -> None:
        if not refresh.search_again:
            self.reports.report_all(REPORT_ALL_SOON)
            return
        by_shard: dict[int, list[str]] = {}
        for key in refresh.search_again:
            by_shard.setdefault(self._shard_map.of(key), []).append(key)
        for index, keys in by_shard.items():
            self._shards[index].send({"cmd": "search_again", "keys": keys})

    def _on_watch(self, watch: Watch) -> None:
        by_shard: dict[int, list[str]] = {index: [] for index in self._shards}
        for key in watch.keys:
            by_shard[self._shard_map.of(key)].append(key)
        for index, keys in by_shard.items():
            self._shards[index].send({"cmd": "watch", "keys": keys, "seconds": watch.seconds})

    def _on_page(self, page: AssignmentPage) -> None:
        with self._lock:
            if page.version < self.state.assignment_version:
                return
            assignment = self._assembler.add(page)
            if assignment is None or not self.state.replace_assignment(assignment, time.time()):
                return
            self._shard_map.place(entry.key for entry in assignment.entries if entry.seeded)
            self._assign(assignment)
        log.info("assignment %d: %d keys", assignment.version, len(assignment.entries))
        for shard in self.shards:
            self._sync(shard)
        self.reports.wake.set()

    def _assign(self, assignment: Assignment) -> None:
        replicas, blind_cores = self.reports.replicas, self.reports.blind_cores
        released = blind_cores.assign(assignment.entries)
        replicas.assign(entry.key for entry in assignment.entries)
        for key in released:  # no engine is asked to delete them: they are the blind peer's
            replicas.removed(key)
        self._record_blind_cores()

    def _record_blind_cores(self, keys: list[str] | None = None) -> None:
        if not self.paused:
            for status in self.reports.blind_cores.statuses(keys):
                self.reports.replicas.record(status)

    def _engine_of(self, key: str) -> int:
        """The first engine is the blind peer."""
        with self._lock:
            return 0 if self.reports.blind_cores.is_only_kept(key) else self._shard_map.of(key)

    def _on_challenge(self, challenge: Challenge) -> None:
        if not self.paused:  # a paused engine has no keys, and would answer that the copy is missing
            self._challenges.add(self._engine_of(challenge.key), challenge)

    def _ask(self, engine: int, challenge: Challenge) -> None:
        with self._syncing[engine]:  # not between portions of what it keeps
            self._shards[engine].send({"cmd": "prove"} | to_builtins(challenge))

    def _on_configure(self, order: Configure) -> None:
        with self._lock:
            known = {name: value for name, value in to_builtins(order).items() if value is not None}
            lifted = dict.fromkeys(order.lift)
            self._order = decode(to_builtins(self._order) | known | lifted | {"lift": []}, Configure)
            self.state.set(configure=json.dumps(to_builtins(self._order)))
            if self.paused:
                self.reports.replicas.rest()
            self._record_blind_cores()
        for shard in self.shards:
            self._configure(shard)
            self._sync(shard)
        self.reports.wake.set()

    # --- the engines

    @property
    def limits(self) -> LimitSettings:
        """The lower of the limits of control and of this machine's operator."""
        order = self._order
        return cap(
            self.settings.limits,
            up=order.up_bytes_per_second,
            down=order.down_bytes_per_second,
            max_bytes=order.quota_bytes,
        )

    @property
    def headroom(self) -> int:
        """Bytes of the disk that stay free."""
        kept = self.settings.limits.keep_free
        return headroom(disk_bytes(self.settings.data)) if kept is None else kept

    @property
    def paused(self) -> bool:
        """Whether control has paused this worker."""
        return bool(self._order.paused)

    def _on_engine_start(self, shard: Shard) -> None:
        self._configure(shard)
        self._sync(shard)
        self._challenges.engine_ready(shard.index)

    def _configure(self, shard: Shard) -> None:
        limits, own = divide(self.limits, len(self.shards)), self.settings.blind_peer
        clients = None if own is None else ordered(own, self._order.blind_peer).to_fields()
        shard.send(
            {
                "cmd": "configure",
                "quota_bytes": limits.max_bytes,
                "headroom_bytes": self.headroom,
                "up": str(limits.up),
                "down": str(limits.down),
                "max_blocks": limits.max_blocks,
                "max_peers": limits.max_peers,
                "blind_peer": clients,
            }
        )

    def _sync(self, shard: Shard) -> None:
        assignment = self.state.assignment()
        entries = [
            to_builtins(entry)
            for entry in assignment.entries
            if entry.seeded and self._shard_map.of(entry.key) == shard.index
        ]
        drop = [key for key in self.state.removals() if self._shard_map.of(key) == shard.index]
        if self.paused:
            entries = []
        count = max(1, len(entries), len(drop))
        with self._syncing[shard.index]:  # portions of two must not mix
            for start in range(0, count, SYNC_PORTION):
                end = start + SYNC_PORTION
                portion = {"cmd": "sync", "entries": entries[start:end], "drop": drop[start:end]}
                shard.send(portion | {"first": start == 0, "more": end < count})

    def _on_engine_line(self, shard: Shard, fields: dict[str, Any]) -> None:
        match fields.get("event"):
            case "status":
                self._on_status(fields["keys"])
            case "blind_cores":
                with self._lock:
                    self.reports.blind_cores.take_line(
                        fields["cores"], first=fields["first"], more=fields["more"]
                    )
                    self._record_blind_cores([core["key"] for core in fields["cores"]])
                self.reports.wake.set()
            case "engine":
                self._sampler.count(shard, fields)
            case "served":
                self.reports.add_served(fields["keys"])
            case "peers":
                self.reports.put_peers(
                    decode({name: fields[name] for name in ("key", "total", "peers")}, PeerList)
                )
            case "proof" if self._challenges.answered(fields["id"]):
                self.reports.add_answer(
                    decode({name: fields[name] for name in ("id", "core", "proofs", "error")}, Answer)
                )
            case "dropped":
                self.state.removed(fields["key"])
                with self._lock:
                    self._shard_map.removed(fields["key"])
                    self.reports.replicas.removed(fields["key"])
                self.reports.wake.set()
            case "synced" if fields["news"]:
                text = f"version {fields['version']}, {format_size(fields['bytes'])}"
                self.reports.record_repeated_event("synced", text, fields["key"])
            case "error":
                self.reports.record_repeated_event(fields["code"].lower(), fields["message"], fields["key"])
            case "limit" if fields["limit"] == "disk" and fields["state"] == "cleared":
                self.reports.record_event("room_again", "there is room again: downloads go on")
            case "network" if fields["state"] == "reached":
                self.reports.record_event("network_reached", f"engine {shard.index} reaches the DHT")
            case "ready":
                self.reports.record_event(
                    "engine_ready", f"engine {shard.index} at {fields['host']}:{fields['port']}"
                )

    def _on_status(self, keys: list[object]) -> None:
        for fields in keys:
            try:
                status = decode(fields, ReplicaStatus)
            except MessageRejected as refused:
                log.error("an engine reports %.200r: %s", fields, refused)
                continue
            with self._lock:
                if not self.paused:
                    self.reports.replicas.record(status)
        self.reports.wake.set()

    def _on_engine_end(self, shard: Shard, status: int) -> None:
        self._challenges.engine_ended(shard.index)
        self.reports.record_event(
            "engine_ended", f"engine {shard.index} ended with status {status}; it is started again"
        )

    def _on_engine_hung(self, shard: Shard, silence: float) -> None:
        self.reports.record_event(
            "engine_hung", f"engine {shard.index} has sent nothing for {silence:.0f} s; it is started again"
        )

    def _check_silence(self) -> None:
        for shard in self.shards:
            if shard.silence > FACTS_TIMEOUT and not self.paused:
                self._expire(shard)

    def _expire(self, shard: Shard) -> None:
        """Discard the last status of a silent engine's copies."""
        keys = [
            entry.key
            for entry in self.state.assignment().entries
            if self._engine_of(entry.key) == shard.index
        ]
        with self._lock:
            self.reports.replicas.expire(
                keys, f"the engine has sent nothing for {FACTS_TIMEOUT / 60:.0f} minutes"
            )
        self.reports.wake.set()

    # --- status

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes of blocks that all engines have received and sent since the start."""
        return self._sampler.moved

    @property
    def challenges_waiting(self) -> int:
        """Challenges without an answer yet."""
        return len(self._challenges)

    def heartbeat(self) -> Heartbeat:
        """Return what a heartbeat reports now. Reads the host's load and the engines' last numbers."""
        settings, quota = self.settings, self.limits.max_bytes
        host = host_stats(settings.data)
        free = max(0, host.disk_free_bytes - self.headroom)
        order = self._order.blind_peer
        engine = engine_stats(self.shards, order="" if order is None else order.version)
        if quota is not None:
            free = min(free, max(0, quota - engine.stored_bytes), quota_left(self.shards))
        return Heartbeat(
            at=time.time(),
            name=settings.name,
            zone=settings.zone,
            tags=list(settings.tags),
            software=settings.software,
            assignment_version=self.state.assignment_version,
            assignment_digest=self.state.assignment_digest,
            quota_bytes=quota,
            free_bytes=free,
            configured=replace(self._order, blind_peer=None),
            host=host,
            engine=engine,
            run=self.run,
        )

    def summary(self) -> dict[str, Any]:
        """Return numbers of the worker for Celery's `inspect stats` and Flower."""
        engine = engine_stats(self.shards)
        with self._lock:
            keys, complete = len(self.reports.replicas), self.reports.replicas.count(Phase.COMPLETE)
        return {
            "worker": self.id,
            "keys": keys,
            "complete": complete,
            "assignment": self.state.assignment_version,
            "engine_pids": [shard.pid for shard in self.shards],
            "engine_restarts": engine.restarts,
            "connections": engine.connections,
            "stored_bytes": engine.stored_bytes,
            "down_per_second": round(engine.down_per_second),
            "up_per_second": round(engine.up_per_second),
            "refused": self.state.refusals(),
        }
