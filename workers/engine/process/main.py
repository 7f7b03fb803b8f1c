"""The engine as a child process, driven by JSON lines: `python -m workers.engine.process.main --data DIR …`.

Standard input, one command a line:

* `{"cmd":"sync","entries":[entry],"drop":[key],"more":false}`: seed exactly these (`key`, `kind`, `priority`,
  `max_fork`, `announce`, `peers`: see `farmwire.assignment`); delete the blocks of those in `drop`. Keys in
  neither are no longer seeded and stay on disk. With `more` it is a portion: the command runs for all
  portions together when the last one (without `more`) has come. A portion with `"first":false` continues the
  previous one.
* `{"cmd":"prove","id","key","core","blocks"}`: prove that blocks of a core of a key are stored.
* `{"cmd":"configure","quota_bytes","headroom_bytes","up","down","max_blocks","max_peers","hold",
  "blind_peer"}`: limits (rates as on the command line, docs/cli.md); `hold` stops downloads; `blind_peer` is
  what clients may (`BlindPeerSettings.to_fields`). Absent fields stay unchanged.
* `{"cmd":"refresh"}`: write the status of every key.
* `{"cmd":"search_again","keys"}`: other replicas have blocks of these keys that were given up here: look for
  them.
* `{"cmd":"watch","keys","seconds"}`: list the peers of these keys, and of no others, for so long.
* `{"cmd":"stop"}`, and the end of standard input: leave the network, flush, end.

Standard output: the engine's events (docs/cli.md), and

* `status` with `keys`: those whose numbers changed (see `status_lines` and `replicas`);
* `alive`: every two seconds, as long as the loop turns;
* `engine`: totals of the engine, every few seconds; its longest stalls since the last such line;
* `served` with `keys`: bytes of blocks sent to peers since the last such line, by key, once a minute;
* `peers` with `key`, `total`, `peers` (`farmwire.traffic.PeerTraffic`), every two seconds while watched;
* `blind_cores` with `cores` (see `blind_core_lines`): what the blind peer keeps for clients, as a list in
  lines that say `first` and, but for the last, `more`; then what changes. `client` null: kept no longer;
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
from pathlib import Path
from typing import Any

from hypercore.dht.address import parse_bootstrap
from hypercore.errors import HypercoreError
from hypercore.printable import VisibleFormatter

from ..launch import launched_parts
from ..model.events import Problem, to_json
from ..settings.blind_peer import BlindPeerSettings
from ..settings.settings import EngineSettings
from .engine_process import EngineProcess
from .json_lines import LineWriter, read_lines
from .loop import run, stop_on_signals
from .parent_death import end_with_parent

STOP_TIMEOUT = 15.0
"""Seconds that stopping may take from the end of standard input on. Then the process exits: what was
acknowledged is on disk."""

log = logging.getLogger(__name__)


async def serve(settings: EngineSettings) -> None:
    """Run until asked to stop."""
    loop = asyncio.get_running_loop()
    writer = LineWriter()
    commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    stop = asyncio.Event()

    def on_command(fields: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(commands.put_nowait, fields)

    def on_end() -> None:
        _force_exit_later()
        loop.call_soon_threadsafe(stop.set)

    try:
        with stop_on_signals(stop):
            # An engine emits nothing before it has been started and the loop turns
            async with launched_parts(settings, lambda event: process.emit(event)) as parts:
                process = EngineProcess(parts, writer)
                read_lines(on_command, on_end)
                tasks: list[asyncio.Task[Any]] = [
                    asyncio.create_task(work)
                    for work in (_execute_all(process, commands), *process.run(), stop.wait())
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


async def _execute_all(process: EngineProcess, commands: asyncio.Queue[dict[str, Any]]) -> None:
    while True:
        command = await commands.get()
        if command.get("cmd") == "stop":
            _force_exit_later()
            return
        await process.execute(command)


def _force_exit_later() -> None:
    timer = threading.Timer(STOP_TIMEOUT, os._exit, (1,))
    timer.daemon = True
    timer.start()


def main() -> int:
    """Run an engine as the child of `--parent`. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="workers.engine.process.main")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of the parent")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bootstrap", action="append", type=parse_bootstrap, required=True)
    parser.add_argument("--relay", type=bytes.fromhex)
    parser.add_argument("--blind-peer", type=BlindPeerSettings.from_text)
    parser.add_argument("--log-level", default="WARNING")
    options = parser.parse_args()
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level, handlers=[handler])
    faulthandler.enable()  # the agent aborts an engine that hangs: write its stacks
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
            blind_peer=options.blind_peer,
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
