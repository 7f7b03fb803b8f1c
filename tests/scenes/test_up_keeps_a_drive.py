"""The farm as a new user meets it: `up`, `add --wait`, the publisher goes, an official reader is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..support.content import File
from ..support.farm_home import FarmHome, wait_dead
from ..support.node import Publisher, Reader
from ..support.published import publish_drive, read_drive
from ..support.waiting import eventually

FILES = [File(path="/three-megabytes.bin", size=3_000_000), File(path="/note.txt", size=12)]


@pytest.mark.interop
def test_a_farm_keeps_a_drive_of_an_official_publisher_through_its_own_restart(
    farm: FarmHome, publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    made = publish_drive(publisher, "plain", FILES)
    assert farm.start()[-1]["event"] == "ready"
    *_, last = farm.lines("add", made["key"], "--wait=1", "--timeout", "60")
    assert (last["event"], last["complete"]) == ("progress", 1), farm.logs()
    (shown,) = farm.lines("show", made["key"])
    assert (shown["kind"], shown["complete"]) == ("drive", 1)
    (worker,) = farm.lines("workers")
    assert worker["online"] and worker["complete"] == 1

    publisher.stop()
    pids = farm.pids()
    assert farm.run("down").returncode == 0
    wait_dead(pids, 0.5)
    farm.start()

    def back() -> bool:
        (status,) = farm.lines("status")
        states = {process["name"]: process["state"] for process in status["processes"]}
        all_of_them = {"control", "beat", "sources", "worker", "gateway", "flower"} <= set(states)
        return all_of_them and set(states.values()) == {"ready"}

    eventually(back, timeout=60, what="every process")
    reader = Reader(tmp_path / "reader", bootstrap)
    try:
        read_drive(reader, made, FILES)
    finally:
        reader.dispose()
