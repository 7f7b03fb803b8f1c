"""Executes the commands of the worker, and writes the engine's events."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

from hypercore.errors import HypercoreError

from ...settings.rate_schedule import RateSchedule, parse_rate_schedule
from ..launch import EngineParts
from ..model.events import BlindCoreChanged, Event, PeerChanged, Problem, Progress, Synced, to_json
from ..model.interfaces import CoreSession
from ..model.kind import Kind
from ..removal.removal import Removals
from ..seeds.file_counts import FileCounts, Files
from ..seeds.title import Titles
from ..settings.blind_peer import BlindPeerSettings
from ..settings.settings import LimitSettings
from .assigned_keys import AssignedKeys
from .blind_core_lines import BlindCoreLines
from .event_facts import EventFacts
from .json_lines import LineWriter
from .prover import Prover
from .replica_reports import ReplicaReports
from .status_lines import StatusLines
from .watched_peers import WatchedPeers

log = logging.getLogger(__name__)


class EngineProcess:
    """A running engine that is driven by commands. `run` lists what has to run beside it."""

    def __init__(self, parts: EngineParts, writer: LineWriter) -> None:
        self._parts = parts
        self._writer = writer
        self._hold = False
        self._facts = EventFacts()
        self._reports = ReplicaReports(self._facts)
        blind_peer = parts.blind_peer
        self._keys = AssignedKeys(
            parts.engine,
            on_removed=self._on_removed,
            is_announced=lambda key: blind_peer is not None and blind_peer.records.announces(key),
            join_peer=parts.swarm.join_peer,
            leave_peer=parts.swarm.leave_peer,
        )
        is_assigned = self._keys.__contains__
        self._status = StatusLines(parts, self._reports, write=writer.put_object)
        self._prover = Prover(
            parts,
            is_assigned=lambda key: is_assigned(key) or (blind_peer is not None and blind_peer.keeps(key)),
            write=writer.put_object,
        )
        self._blind_cores = (
            None if blind_peer is None else BlindCoreLines(blind_peer, parts.cores, write=writer.put_object)
        )
        self._titles = Titles(self._open_session, is_wanted=is_assigned, on_title=self._on_title)
        self._files = FileCounts(self._open_session, is_wanted=is_assigned, on_count=self._on_count)
        self._peers = WatchedPeers(parts, write=writer.put_object)
        self._removals = Removals(
            parts.cores,
            parts.owners,
            is_wanted=is_assigned,
            on_removed=self._on_deleted,
            may_begin=parts.engine.loaded,
            keeps=lambda core: blind_peer is not None and blind_peer.keeps(core),
        )

    def run(self) -> list[Coroutine[Any, Any, None]]:
        """Coroutines to run until the engine ends."""
        return [
            self._status.run(),
            self._status.keep_alive(),
            self._prover.run(),
            self._titles.run(),
            self._files.run(),
            self._peers.run(),
            self._removals.run(),
            *([] if self._blind_cores is None else [self._blind_cores.run()]),
        ]

    # --- events

    def emit(self, event: Event) -> None:
        """Write an event."""
        self._facts.record(event)
        if isinstance(event, Synced) and event.kind is Kind.DRIVE:
            self._titles.changed(event.key)
            self._files.changed(event.key)
        if isinstance(event, BlindCoreChanged) and event.state != "added" and self._blind_cores is not None:
            self._blind_cores.changed(event.core)
        self._writer.put(to_json(event), droppable=isinstance(event, Progress | PeerChanged))

    def _on_removed(self, key: bytes) -> None:
        self._facts.remove(key)
        self._reports.remove(key)
        self._titles.discard(key)
        self._files.discard(key)

    def _on_deleted(self, key: bytes) -> None:
        self._facts.remove(key)
        self._reports.remove(key)
        self._parts.limits.stored_changed()
        self._writer.put_object({"event": "dropped", "key": key.hex()})

    def _open_session(self, core: bytes) -> CoreSession | None:
        cores = self._parts.cores
        return None if cores.stored(core) is None else cores.get(core, active=False)

    def _on_title(self, key: bytes, title: str) -> None:
        self._facts.set_title(key, title)
        self._parts.engine.mark_changed(key)
        self._status.wake()

    def _on_count(self, key: bytes, files: Files | None) -> None:
        self._facts.set_files(key, files)
        self._parts.engine.mark_changed(key)
        self._status.wake()

    # --- commands

    async def execute(self, command: dict[str, Any]) -> None:
        """Execute one command. A malformed one is logged and has no effect."""
        try:
            match command.get("cmd"):
                case "sync":
                    await self._sync(command)
                case "prove":
                    self._prover.put(command)
                case "configure":
                    self._configure(command)
                case "search_again":
                    for key in command["keys"]:
                        self._parts.engine.reopen(bytes.fromhex(key))
                case "watch":
                    self._peers.watch(map(bytes.fromhex, command["keys"]), float(command["seconds"]))
                case "refresh":
                    self._status.wake(everything=True)
                case other:
                    log.error("unknown command %r", other)
        except (KeyError, TypeError, ValueError) as error:
            log.error("cannot execute %.100r: %r", command, error)
        except HypercoreError as error:
            self.emit(Problem(key=None, code=error.code, message=str(error)))
        except Exception:
            log.exception("cannot execute %.100r", command)  # later commands are independent

    async def _sync(self, command: dict[str, Any]) -> None:
        delete = await self._keys.sync(command)
        if delete is not None:
            self._removals.request(delete)
            self._status.wake()

    def _configure(self, command: dict[str, Any]) -> None:
        now = self._parts.limits.settings
        wanted = LimitSettings(
            up=_rates(command, "up", now.up),
            down=_rates(command, "down", now.down),
            max_bytes=_count(command, "quota_bytes", now.max_bytes),
            keep_free=_count(command, "headroom_bytes", now.keep_free),
            max_blocks=_count(command, "max_blocks", now.max_blocks),
            max_peers=_count(command, "max_peers", now.max_peers) or now.max_peers,
        )
        blind_peer, clients = self._parts.blind_peer, command.get("blind_peer")
        if blind_peer is not None and clients is not None:
            blind_peer.change_settings(BlindPeerSettings.from_fields(clients))
        self._hold = bool(command.get("hold", self._hold))
        self._parts.engine.set_limits(wanted, hold=self._hold)


def _rates(command: dict[str, Any], name: str, now: RateSchedule) -> RateSchedule:
    return parse_rate_schedule(command[name]) if name in command else now


def _count(command: dict[str, Any], name: str, now: int | None) -> int | None:
    value = command.get(name, now)
    return None if value is None else int(value)
