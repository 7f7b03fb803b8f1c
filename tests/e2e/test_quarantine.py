"""A writer that rewrites its history, while we keep what we have until a person decides."""

from __future__ import annotations

import pytest

from ..conftest import NewFarm, NewReader
from ..support.content import File, listing
from ..support.node import Publisher
from ..support.published import read_drive

pytestmark = pytest.mark.interop


def test_the_old_history_is_kept_and_served_until_the_new_one_is_accepted(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    publisher.make("thing", "drive")
    kept = [File(path=f"/kept/{i}.bin", size=30_000) for i in range(3)]
    publisher.put_all("thing", kept)
    version = publisher.ask("describe", name="thing")["core"]["length"]
    old = [*kept, File(path="/gone.bin", size=200_000)]
    publisher.put_all("thing", old[3:])
    before = publisher.ask("describe", name="thing")
    publisher.ask("join", name="thing")
    key, blobs = before["key"], before["blobs"]["key"]
    farm = new_farm(key, "--forks", "quarantine")
    farm.wait_synced(key, before["core"]["length"])

    publisher.ask("truncate", name="thing", version=version)
    new = [*kept, File(path="/instead.bin", size=100_000)]
    publisher.put_all("thing", new[3:])
    after = publisher.ask("describe", name="thing")
    for core, part in ((key, "core"), (blobs, "blobs")):
        notified = farm.wait_for(
            lambda event, core=core: event.get("event") == "fork" and event.get("core") == core,
            timeout=30,
            what=f"the fork of {part}",
        )
        assert (notified["state"], notified["fork"], notified["new_fork"]) == ("quarantined", 0, 1)
        assert notified["length"] == before[part]["length"]
        assert notified["new_length"] <= after[part]["length"]
    assert {event["code"] for event in farm.of("error", key)} == {"FORK_QUARANTINED"}

    publisher.stop()
    reader = new_reader()
    read_drive(reader, before, old)
    reader.stop()
    farm.check_contract()
    farm.interrupt()

    back = Publisher(publisher.storage, publisher.bootstrap)
    try:
        back.make("thing", "drive")
        back.ask("join", name="thing")
        accepting = new_farm(key, "--forks", "quarantine", "--accept-fork", f"{key}=1")
        accepting.wait_fork(key, 1)
        accepting.wait_fork(blobs, 1)
        accepting.wait_synced(key, after["core"]["length"])
        followed = {event["core"]: event for event in accepting.of("fork", key)}
        assert {event["state"] for event in followed.values()} == {"followed"}
        assert followed[key]["length"] == before["core"]["length"]
    finally:
        back.dispose()
    fresh = new_reader()
    fresh.open("thing", key, "drive")
    fresh.complete("thing", after)
    assert fresh.ask("files", name="thing")["files"] == listing(new)
