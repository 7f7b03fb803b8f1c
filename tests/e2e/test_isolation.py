"""What one core does to a connection must not cost the other cores of that peer anything."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support.content import File
from ..support.farm import Farm
from ..support.node import Publisher, Reader
from ..support.waiting import eventually

pytestmark = pytest.mark.interop

BLOCKS = 64
"""Of the core that makes trouble."""
DRIVE_BYTES = 20_000_000
"""Of the drive beside it."""


def poisoned(publisher: Publisher, start: int, end: int) -> str:
    """A core of 64 blocks, cleared from an odd block on: the official publisher has no proof of what is left
    of it, and ends the connection when it is asked."""
    publisher.make("poisoned", "core")
    made = publisher.append("poisoned", [(f"block {i}", 1_000) for i in range(BLOCKS)])
    publisher.ask("clear", name="poisoned", start=start, end=end)
    publisher.ask("join", name="poisoned")
    return str(made["key"])


def drive(publisher: Publisher) -> dict[str, object]:
    publisher.make("drive", "drive")
    publisher.put_all(
        "drive", [File(path=f"/{i}.bin", size=4_000_000) for i in range(DRIVE_BYTES // 4_000_000)]
    )
    made = publisher.ask("describe", name="drive")
    publisher.ask("join", name="drive")
    return made


def blocks_here(farm: Farm, key: str) -> int:
    return max((event["have_blocks"] for event in farm.of("progress", key)), default=0)


@pytest.mark.parametrize(
    ("start", "end", "unprovable"),
    [(21, 30, 1), (19, 31, 3), (7, 9, 7), (20, 31, 0)],
    ids=["one level", "two levels", "from the beginning", "even: none"],
)
def test_blocks_that_the_publisher_cannot_prove_cost_only_themselves(
    start: int,
    end: int,
    unprovable: int,
    publisher: Publisher,
    bootstrap: list[str],
    tmp_path: Path,
    processes: ExitStack,
) -> None:
    key = poisoned(publisher, start, end)
    made = drive(publisher)
    reader = Reader(tmp_path / "reader", bootstrap)
    processes.callback(reader.dispose)
    began = time.monotonic()
    reader.open("drive", str(made["key"]), "drive")
    reader.complete("drive", made)
    official = time.monotonic() - began

    farm = Farm(tmp_path / "farm", bootstrap, key, str(made["key"]), "-vv")
    processes.callback(farm.dispose)
    farm.wait_ready()
    began = time.monotonic()
    farm.wait_synced(str(made["key"]), timeout=30)
    assert time.monotonic() - began < 2 * official + 1

    there = BLOCKS - (end - start) - unprovable
    eventually(lambda: blocks_here(farm, key) == there, timeout=20, what=f"{there} blocks of the core")
    if unprovable:
        farm.wait_for(
            lambda event: (
                event.get("event") == "error" and event["code"] == "PEER_BACKOFF" and event["key"] == key
            ),
            timeout=20,
            what="the back-off",
        )
    # And the publisher is followed further on, with both
    publisher.put_all("drive", [File(path="/news.bin", size=10_000)])
    version = publisher.ask("describe", name="drive")["core"]["length"]
    farm.wait_synced(str(made["key"]), version, timeout=30)
    publisher.append("poisoned", [("news", 500)])
    eventually(lambda: blocks_here(farm, key) == there + 1, timeout=20, what="the new block")

    ends = [event for event in farm.of("peer", key) if event["state"] == "close"]
    assert len(ends) == min(unprovable, 1)
    course = farm.stderr
    assert "channel open" in course
    assert ("connection with" in course) is bool(unprovable)
