"""The event loop of our programs, and how signals stop them."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib.util
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")

STALL_TIMEOUT = 30.0
"""Seconds without a turn of the loop after which stacks are written, repeated at this interval."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run on uvloop where there is one, on asyncio's own loop otherwise."""

    async def entry() -> T:
        watching = asyncio.ensure_future(_report_stalls())
        try:
            return await main()
        finally:
            watching.cancel()
            faulthandler.cancel_dump_traceback_later()

    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        factory = uvloop.new_event_loop
    gc.freeze()  # code that is loaded stays: each full collection would look at all of it again
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(entry())


async def _report_stalls() -> None:
    """Write the stack of each thread to standard error when the loop stands still for STALL_TIMEOUT.
    Continues; the parent decides whether to kill the process."""
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return  # closed, or a test's
    while True:
        with suppress(OSError, ValueError):
            faulthandler.dump_traceback_later(STALL_TIMEOUT, repeat=True, file=descriptor)
        await asyncio.sleep(STALL_TIMEOUT / 6)


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM, SIGHUP) sets `stop`; the next one cancels the current task."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
