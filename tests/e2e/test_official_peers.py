"""The counterparts alone: publisher → official seeder → publisher gone → reader.

When one of these fails, the harness or the official packages are at fault, not us.
"""

from __future__ import annotations

import pytest

from ..conftest import NewReader, NewSeeder
from ..support.content import EDGE_FILES, listing
from ..support.node import Publisher
from ..support.waiting import eventually

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("variant", ["plain", "dedup"])
def test_an_official_reader_gets_every_byte_of_a_drive_from_the_official_seeder(
    variant: str, publisher: Publisher, new_seeder: NewSeeder, new_reader: NewReader
) -> None:
    publisher.make("drive", "drive", variant)
    publisher.put_all("drive", EDGE_FILES)
    made = publisher.ask("describe", name="drive")
    publisher.ask("join", name="drive")

    seeder = new_seeder()
    seeder.ask("add", key=made["key"], kind="drive")

    def complete() -> bool:
        status = seeder.ask("status", key=made["key"])
        return all(
            status[part] is not None and status[part]["contiguous"] == made[part]["length"]
            for part in ("core", "blobs")
        )

    eventually(complete, timeout=30, what="the official seeder to hold everything")
    publisher.stop()

    reader = new_reader()
    reader.open("drive", made["key"], "drive")
    reader.complete("drive", made)
    assert reader.ask("files", name="drive")["files"] == listing(EDGE_FILES)
    opened = [event["peer"] for event in reader.events if event.get("event") == "peer"]
    assert opened == [seeder.public_key]


def test_an_official_reader_follows_a_truncated_core_to_its_new_history(
    publisher: Publisher, new_reader: NewReader
) -> None:
    publisher.make("core", "core")
    made = publisher.append("core", [(f"old {i}", 500) for i in range(40)])
    publisher.ask("join", name="core")
    reader = new_reader()
    reader.open("core", made["key"], "core")
    reader.complete("core", made)

    publisher.ask("truncate", name="core", length=11)
    made = publisher.append("core", [(f"new {i}", 700) for i in range(20)])
    reader.complete("core", made)
    assert reader.ask("blocks", name="core")["blocks"] == publisher.ask("blocks", name="core")["blocks"]
    assert made["core"]["fork"] == 1
