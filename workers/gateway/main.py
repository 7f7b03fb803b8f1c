"""`python -m workers.gateway.main --socket PATH`: the gateway process of a farm."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import sys
from pathlib import Path

from hypercore.dht.address import BootstrapNode, parse_bootstrap
from hypercore.printable import VisibleFormatter

from ..engine.limits.rlimit import allow_open_files
from ..engine.process.loop import run, stop_on_signals
from ..ready import notify_ready
from .server import running_gateway

log = logging.getLogger(__name__)


async def serve(socket: Path, directories: list[Path], bootstrap: list[BootstrapNode]) -> None:
    """Run until a signal."""
    stop = asyncio.Event()
    with stop_on_signals(stop):
        async with running_gateway(socket, directories=directories, bootstrap=bootstrap):
            notify_ready()
            await stop.wait()


def main() -> int:
    """Run the gateway until SIGTERM or SIGINT. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="workers.gateway.main")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--data", action="append", type=Path, default=[], help="directory of a worker")
    parser.add_argument("--bootstrap", action="append", type=parse_bootstrap, required=True)
    parser.add_argument("--log-level", default="INFO", type=str.upper)
    options = parser.parse_args()
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level, handlers=[handler])
    faulthandler.enable()
    allow_open_files()
    try:
        run(lambda: serve(options.socket, options.data, options.bootstrap))
    except asyncio.CancelledError:
        return 1
    except OSError as error:
        log.error("cannot listen on %s: %s", options.socket, error.strerror)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
