"""When `get` gives up on a block: what no peer has, what is only claimed, and when no peer is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hypercore.errors import BlockNotAvailable
from seederfarm.cli.peer import waiting
from seederfarm.cli.peer.waiting import Waiting


class Peer:
    def __init__(self, *blocks: int) -> None:
        self._blocks = blocks

    def has(self, index: int) -> bool:
        return index in self._blocks


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL", 0.005)
    for name, seconds in (("UNCONNECTED", 0.4), ("LACKING", 0.2), ("SILENT", 0.4), ("MIN_SILENT", 0.05)):
        monkeypatch.setattr(waiting, name, seconds)


async def never() -> bytes:
    await asyncio.Event().wait()
    return b""


async def timed(wait: Coroutine[Any, Any, bytes]) -> tuple[float, str]:
    """Seconds until a wait was given up, and why."""
    began = time.monotonic()
    with pytest.raises(BlockNotAvailable) as raised:
        await wait
    return time.monotonic() - began, str(raised.value)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def test_what_no_peer_has_is_given_up_soon_and_the_next_at_once() -> None:
    async def main() -> None:
        wait, peers = Waiting(None), [Peer(1), Peer()]
        took, why = await timed(wait.wait(never(), peers, 0, "its content"))
        assert 0.15 < took < 0.39
        assert why == "its content is not here, and none of the 2 peers that are connected has it"
        took, _ = await timed(wait.wait(never(), peers, 2, "its content"))
        assert took < 0.05
        peers.append(Peer())  # another peer may have it: it is given time to say so
        took, _ = await timed(wait.wait(never(), peers, 3, "its content"))
        assert took > 0.15

    run(main)


def test_a_peer_that_only_claims_costs_less_each_time() -> None:
    async def main() -> None:
        wait, peers = Waiting(None), [Peer(*range(20))]
        times = [(await timed(wait.wait(never(), peers, index, "x")))[0] for index in range(6)]
        assert times[0] > 0.35 and times[-1] < 0.1
        assert await wait.wait(asyncio.sleep(0.01, b"came"), peers, 7, "x") == b"came"
        took, why = await timed(wait.wait(never(), peers, 8, "x"))
        assert took > 0.35, "it sends after all"
        assert "do not send it" in why

    run(main)


def test_slow_blocks_are_waited_for_as_long_as_something_comes() -> None:
    async def main() -> None:
        wait, peers = Waiting(None), [Peer(0, 1, 2)]
        for index in range(3):
            assert await wait.wait(asyncio.sleep(0.3, b"slow"), peers, index, "x") == b"slow"

    run(main)


def test_without_any_peer_there_is_one_wait_for_all() -> None:
    async def main() -> None:
        wait = Waiting(None)
        took, why = await timed(wait.wait(never(), [], 0, "x"))
        assert took > 0.35 and "no peer that has it was found" in why
        took, _ = await timed(wait.wait(never(), [], 1, "x"))
        assert took < 0.05

    run(main)


def test_one_wait_takes_a_third_of_the_time_at_most() -> None:
    async def main() -> None:
        wait = Waiting(0.3)
        took, _ = await timed(wait.wait(never(), [], 0, "x"))
        assert took < 0.2

    run(main)


def test_an_error_of_the_read_comes_through() -> None:
    async def fails() -> bytes:
        raise ValueError("rot")

    async def main() -> None:
        with pytest.raises(ValueError, match="rot"):
            await Waiting(None).wait(fails(), [], 0, "x")

    run(main)
