"""A publisher of thousands of cores, of which the farm wants one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from ..support.node import Publisher, Testnet
from ..support.seed_process import SeedProcess

pytestmark = pytest.mark.interop

CORES = 3_500
"""An official peer opens the channels of all its cores in its first frame: some 100 bytes each, 350 kB."""
AT_ONCE = 250
BLOCKS = 5


def test_a_publisher_of_thousands_of_cores_is_read_from(testnet: Testnet, tmp_path: Path) -> None:
    with ExitStack() as stack:
        publisher = Publisher(tmp_path / "publisher", testnet.bootstrap)
        stack.callback(publisher.dispose)
        for start in range(0, CORES, AT_ONCE):
            asked = [
                publisher.send("make", name=f"core {number}", kind="core")
                for number in range(start, start + AT_ONCE)
            ]
            for number in asked:
                publisher.answer(number)
        made = publisher.append("core 0", [(f"block {i}", 1_000) for i in range(BLOCKS)])
        publisher.ask("join", name="core 0", client=False)
        farm = SeedProcess(tmp_path / "farm", testnet.bootstrap, made["key"])
        stack.callback(farm.dispose)
        farm.wait_synced(made["key"], BLOCKS)
