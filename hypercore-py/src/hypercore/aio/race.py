"""Runs several coroutines until one of them sets a result."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def race(goal: asyncio.Future[Any], *ways: Coroutine[Any, Any, None]) -> None:
    """Run `ways` until one of them has reached `goal` or all have ended; stop the others.

    An exception of a way ends the race and is raised.
    """
    tasks = [asyncio.ensure_future(way) for way in ways]
    running: set[asyncio.Future[Any]] = set(tasks)
    try:
        while running and not goal.done():
            ended, running = await asyncio.wait({goal, *running}, return_when=asyncio.FIRST_COMPLETED)
            running.discard(goal)
            for way in ended - {goal}:
                way.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
