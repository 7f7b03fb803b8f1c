"""The main job where people live: publisher, farm and reader each behind a router of their own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support.nat_world import NatWorld
from ..support.node import Publisher, Reader
from ..support.published import met, publish_drive, read_drive
from ..support.seed_process import SeedProcess

pytestmark = pytest.mark.interop


def test_a_drive_outlives_its_publisher_with_every_peer_behind_a_nat(
    world: NatWorld, processes: ExitStack, tmp_path: Path
) -> None:
    homes = [world.site("consistent").host() for _ in range(3)]
    publisher = Publisher(tmp_path / "publisher", world.bootstrap, prefix=homes[0].prefix)
    processes.callback(publisher.dispose)
    made = publish_drive(publisher, "plain")

    farm = SeedProcess(tmp_path / "farm", world.bootstrap, made["key"], prefix=homes[1].prefix)
    processes.callback(farm.dispose)
    farm.wait_synced(made["key"], made["core"]["length"])
    publisher.stop()

    reader = Reader(tmp_path / "reader", world.bootstrap, prefix=homes[2].prefix)
    processes.callback(reader.dispose)
    read_drive(reader, made)
    assert met(reader) == {farm.wait_ready()["public_key"]}
