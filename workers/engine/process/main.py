"""The engine as a child process, driven by JSON lines: `python -m workers.engine.process.main --data DIR …`.

Standard input, one command a line:

* `{"cmd":"sync","entries":[{"key","kind","priority","max_fork"}],"drop":[key],"more":false}`: seed exactly
  these; delete the blocks of those in `drop`. Keys in neither are no longer seeded and stay on disk. With
  `more` it is a portion: the command runs for all portions together when the last one (without `more`) has
  come. A portion with `"first":false` continues the previous one.
* `{"cmd":"prove","id","key","core","blocks"}`: prove that blocks of a core of a key are stored.
* `{"cmd":"configure","quota_bytes","headroom_bytes","up","down","max_blocks","max_peers","hold"}`: limits
  (rates as on the command line, docs/cli.md); `hold` stops downloads. Absent fields stay unchanged.
* `{"cmd":"refresh"}`: write the status of every key.
* `{"cmd":"look_again","keys"}`: other replicas have blocks of these keys that were given up here: look for
  them.
* `{"cmd":"stop"}`, and the end of standard input: leave the network, flush, end.

Standard output: the engine's events (docs/cli.md), and

* `status` with `keys`: those whose numbers changed (see `replicas`);
* `alive`: every two seconds, as long as the loop turns;
* `engine`: totals of the engine, every few seconds; its longest stalls since the last such line;
* `proof` with `id`, `core`, `proofs` (`block` and base64 `data`, empty if missing), `error`;
* `dropped` with `key`: its blocks are deleted.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from farmwire.audit import MAX_PROOF_CHARS
from farmwire.proofs import prove_block
from hypercore.dht.address import parse_bootstrap
from hypercore.errors import HypercoreError
from hypercore.printable import VisibleFormatter

from ...settings.rate_schedule import RateSchedule, parse_rate_schedule
from ..launch import EngineParts, launched_parts
from ..model.events import Event, PeerChanged, Problem, Progress, Synced, to_json
from ..model.interfaces import CoreSession
from ..model.kind import Kind
from ..model.rate import Rate
from ..removal.removal import Removals
from ..seeds.title import Titles
from ..settings.key_list import Wanted
from ..settings.settings import EngineSettings, LimitSettings
from .json_lines import LineWriter, read_lines
from .loop import run, stop_on_signals
from .parent_death import end_with_parent
from .replicas import Replicas
from .stalls import StallMeter

STATUS_INTERVAL = 1.0
"""Seconds between two status passes over all keys. With many keys a pass takes longer, and passes are
rarer."""

STATUS_SHARE = 0.05
"""Largest share of the time spent on status passes."""

KEYS_A_LINE = 500

KEYS_A_PORTION = 500
"""Keys of a `sync` that are compared in one turn of the loop (about a millisecond)."""

ENGINE_INTERVAL = 2.0
"""Seconds between two `engine` lines."""

MAX_QUESTIONS = 1000
"""Challenges that wait until the engine is ready. The oldest are dropped first: their deadline is nearest."""

STOP_TIMEOUT = 15.0
"""Seconds that stopping may take from the end of standard input on. Then the process exits: what was
acknowledged is on disk."""

log = logging.getLogger(__name__)


class Child:
    """Reads commands and writes lines."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self._replicas = Replicas()
        self._wanted: dict[bytes, Wanted] = {}
        self._entries: list[tuple[int, Wanted]] = []
        self._drop: list[bytes] = []
        """From the portions of a `sync` received so far."""
        self._begun = False
        """Whether a portion other than the last was received."""
        self._hold = False
        self._refresh = False
        self._wake = asyncio.Event()
        self._questions: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_QUESTIONS)
        self._titles: Titles | None = None
        self._down, self._up = Rate(), Rate()
        self._removals: Removals | None = None

    def emit(self, event: Event) -> None:
        self._replicas.note(event)
        if self._titles is not None and isinstance(event, Synced) and event.kind is Kind.DRIVE:
            self._titles.changed(event.key)
        self._writer.put(to_json(event), droppable=isinstance(event, Progress | PeerChanged))

    async def obey(self, parts: EngineParts, command: dict[str, Any]) -> None:
        """Execute one command. A malformed one is logged and has no effect."""
        try:
            match command.get("cmd"):
                case "sync":
                    await self._sync(parts, command)
                case "prove":
                    self._ask_for_proof(command)
                case "configure":
                    self._configure(parts, command)
                case "look_again":
                    for key in command["keys"]:
                        parts.engine.reopen(bytes.fromhex(key))
                case "refresh":
                    self._refresh = True
                    self._wake.set()
                case other:
                    log.error("unknown command %r", other)
        except (KeyError, TypeError, ValueError) as error:
            log.error("cannot obey %.100r: %r", command, error)
        except HypercoreError as error:
            self.emit(Problem(key=None, code=error.code, message=str(error)))
        except Exception:
            log.exception("cannot obey %.100r", command)  # the next one may go well

    # --- keys

    async def _sync(self, parts: EngineParts, command: dict[str, Any]) -> None:
        """Every step over all keys runs in portions: the loop serves peers in between."""
        if command.get("first", True):
            self._entries, self._drop, self._begun = [], [], True
        elif not self._begun:
            log.warning("a portion of a sync whose beginning did not come is left out")
            return
        entries = [(int(entry["priority"]), _wanted(entry)) for entry in command["entries"]]
        self._entries += entries
        self._drop += [bytes.fromhex(key) for key in command.get("drop", ())]
        if command.get("more"):
            return
        self._begun = False
        entries, self._entries = self._entries, []
        drop, self._drop = self._drop, []
        entries.sort(key=lambda entry: entry[0])  # 0.3 s for a million
        wanted = {item.key: item for _, item in entries}
        kept, self._wanted = self._wanted, wanted
        staying: set[bytes] = set()
        async for keys in _portions(kept):
            gone = [key for key in keys if key not in wanted or wanted[key].kind is not kept[key].kind]
            await asyncio.gather(*(parts.engine.remove(key) for key in gone))
            for key in gone:
                self._replicas.forget(key)
                if self._titles is not None:
                    self._titles.forget(key)
            stay = [key for key in keys if key in wanted and wanted[key].kind is kept[key].kind]
            staying.update(stay)
            for key in stay:
                if kept[key].max_fork != wanted[key].max_fork:
                    parts.engine.follow_forks(key, wanted[key].max_fork)
        async for keys in _portions(wanted):
            parts.engine.add(wanted[key] for key in keys if key not in staying)
        if self._removals is not None:
            self._removals.request(key for key in drop if key not in wanted)
        self._wake.set()

    def attach(self, parts: EngineParts) -> list[Coroutine[Any, Any, None]]:
        """Start using the engine. Returns coroutines to run beside it until it ends; call it before any
        command."""
        self._titles = self._make_titles(parts)
        self._removals = Removals(
            parts.cores,
            parts.owners,
            is_wanted=lambda key: key in self._wanted,
            on_removed=lambda key: self._on_removed(parts, key),
            may_begin=parts.engine.loaded,
        )
        return [
            self.report_loop(parts),
            self.keep_alive(),
            self.keep_proving(parts),
            self._titles.run(),
            self._removals.run(),
        ]

    def _on_removed(self, parts: EngineParts, key: bytes) -> None:
        self._replicas.forget(key)
        parts.limits.stored_changed()
        self._writer.put_object({"event": "dropped", "key": key.hex()})

    # --- proofs

    def _ask_for_proof(self, command: dict[str, Any]) -> None:
        if self._questions.full():
            self._questions.get_nowait()
        self._questions.put_nowait(command)

    async def keep_proving(self, parts: EngineParts) -> None:
        """Answer challenges once every key is loaded: before, a stored copy seems missing."""
        while True:
            command = await self._questions.get()
            await parts.engine.loaded()
            try:
                await self._prove(parts, command)
            except (KeyError, TypeError, ValueError, HypercoreError) as error:
                # Without an answer it is asked again, which is better than one that proves nothing.
                log.error("cannot prove %.100r: %r", command, error)

    async def _prove(self, parts: EngineParts, command: dict[str, Any]) -> None:
        key, core = bytes.fromhex(command["key"]), bytes.fromhex(command["core"])
        answer: dict[str, Any] = {"event": "proof", "id": command["id"], "core": core.hex(), "proofs": []}
        answer["error"] = ""
        if key not in self._wanted:
            answer["error"] = "this worker does not keep that key"
        elif core != key and core not in parts.owners.cores_of(key):
            answer["error"] = "that core is not known to belong to that key"
        else:
            parts.engine.wake(key)  # who finds damage while proving has to be told
            session = parts.cores.get(core, active=False)
            size = 0
            try:
                for block in command["blocks"]:
                    proof = prove_block(session.core, block)
                    size += len(proof.data)
                    if size > MAX_PROOF_CHARS:
                        break
                    answer["proofs"].append({"block": proof.block, "data": proof.data})
                    await asyncio.sleep(0)  # a block may have 15 MiB
            finally:
                session.close()
        self._writer.put_object(answer)

    # --- limits

    def _configure(self, parts: EngineParts, command: dict[str, Any]) -> None:
        now = parts.limits.settings
        wanted = LimitSettings(
            up=_timetable(command, "up", now.up),
            down=_timetable(command, "down", now.down),
            max_bytes=_count(command, "quota_bytes", now.max_bytes),
            keep_free=_count(command, "headroom_bytes", now.keep_free),
            max_blocks=_count(command, "max_blocks", now.max_blocks),
            max_peers=_count(command, "max_peers", now.max_peers) or now.max_peers,
        )
        self._hold = bool(command.get("hold", self._hold))
        parts.engine.set_limits(wanted, hold=self._hold)

    # --- telling

    def _make_titles(self, parts: EngineParts) -> Titles:
        def open_session(core: bytes) -> CoreSession | None:
            return None if parts.cores.stored(core) is None else parts.cores.get(core, active=False)

        def on_title(key: bytes, title: str) -> None:
            self._replicas.call(key, title)
            parts.engine.mark(key)
            self._wake.set()

        return Titles(open_session, is_wanted=lambda key: key in self._wanted, on_title=on_title)

    async def keep_alive(self) -> None:
        """Write a line that shows that the loop turns: with many keys, status passes are minutes apart."""
        while True:
            self._writer.put_object({"event": "alive"})
            await asyncio.sleep(ENGINE_INTERVAL)

    async def report_loop(self, parts: EngineParts) -> None:
        reported_at = float("-inf")
        meter = StallMeter()
        while True:
            started = time.perf_counter()
            everything, self._refresh = self._refresh, False
            self._wake.clear()
            engine = parts.engine
            seeds = engine.status().seeds if everything else engine.changes()
            news = self._replicas.changes(seeds, everything=everything, no_room=parts.limits.trouble)
            totals, moment = engine.totals(), time.monotonic()
            self._down.sample(totals.bytes_in, moment)
            self._up.sample(totals.bytes_out, moment)
            for start in range(0, len(news), KEYS_A_LINE):
                self._writer.put_object({"event": "status", "keys": news[start : start + KEYS_A_LINE]})
            now = time.perf_counter()
            if now - reported_at >= ENGINE_INTERVAL or everything:
                reported_at = now
                stalls = meter.take()
                self._writer.put_object(
                    {
                        "event": "engine",
                        "keys": totals.keys,
                        "synced": totals.synced,
                        "connections": engine.connections,
                        "firewalled": engine.firewalled,
                        "stored_bytes": totals.have_bytes,
                        "bytes_in": totals.bytes_in,
                        "bytes_out": totals.bytes_out,
                        "down": self._down.per_second(moment),
                        "up": self._up.per_second(moment),
                        "peers": totals.peers,
                        "held": parts.limits.holding,
                        "max_stall_ms": stalls.stall,
                        "max_busy_ms": stalls.busy,
                        "limits": [asdict(limit) for limit in parts.limits.status()],
                    }
                )
            spent = time.perf_counter() - started
            await asyncio.sleep(min(0.1, spent / STATUS_SHARE))
            try:
                async with asyncio.timeout(max(STATUS_INTERVAL, spent / STATUS_SHARE)):
                    await self._wake.wait()
            except TimeoutError:
                pass


async def _portions(keys: Iterable[bytes]) -> AsyncIterator[list[bytes]]:
    """All keys, KEYS_A_PORTION at a time, with a turn of the loop between two portions."""
    waiting = iter(list(keys))
    while portion := list(islice(waiting, KEYS_A_PORTION)):
        yield portion
        await asyncio.sleep(0)


def _wanted(entry: dict[str, Any]) -> Wanted:
    kind, max_fork = entry["kind"], entry.get("max_fork")
    return Wanted(
        bytes.fromhex(entry["key"]),
        None if kind is None else Kind(kind),
        None if max_fork is None else int(max_fork),
    )


def _timetable(command: dict[str, Any], name: str, now: RateSchedule) -> RateSchedule:
    return parse_rate_schedule(command[name]) if name in command else now


def _count(command: dict[str, Any], name: str, now: int | None) -> int | None:
    value = command.get(name, now)
    return None if value is None else int(value)


async def serve(settings: EngineSettings) -> None:
    """Run until asked to stop."""
    loop = asyncio.get_running_loop()
    writer = LineWriter()
    child = Child(writer)
    commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    stop = asyncio.Event()

    def on_command(fields: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(commands.put_nowait, fields)

    def on_end() -> None:
        _end_in_any_case()
        loop.call_soon_threadsafe(stop.set)

    try:
        with stop_on_signals(stop):
            async with launched_parts(settings, child.emit) as parts:
                beside = child.attach(parts)
                read_lines(on_command, on_end)
                tasks: list[asyncio.Task[Any]] = [
                    asyncio.create_task(work)
                    for work in (_obey_all(child, parts, commands), *beside, stop.wait())
                ]
                done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
                for task in done:
                    task.result()
    except HypercoreError as error:
        writer.put(to_json(Problem(key=None, code=error.code, message=str(error))))
        raise
    finally:
        writer.close()


async def _obey_all(child: Child, parts: EngineParts, commands: asyncio.Queue[dict[str, Any]]) -> None:
    while True:
        command = await commands.get()
        if command.get("cmd") == "stop":
            _end_in_any_case()
            return
        await child.obey(parts, command)


def _end_in_any_case() -> None:
    timer = threading.Timer(STOP_TIMEOUT, os._exit, (1,))
    timer.daemon = True
    timer.start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="workers.engine.process.main")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of who started us")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bootstrap", action="append", type=parse_bootstrap, required=True)
    parser.add_argument("--relay", type=bytes.fromhex)
    parser.add_argument("--log-level", default="WARNING")
    options = parser.parse_args()
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level, handlers=[handler])
    faulthandler.enable()  # the agent aborts an engine that hangs: say where it was
    if not end_with_parent(options.parent):
        return 0
    try:
        settings = EngineSettings(
            data=options.data,
            bootstrap=tuple(options.bootstrap),
            relay=options.relay,
            host=options.host,
            port=options.port,
            leave_timeout=3.0,
        )
        run(lambda: serve(settings))
    except HypercoreError as error:
        log.error("%s", error)
        return 1
    except asyncio.CancelledError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
