"""The main job: a key is given, the publisher goes, a reader that comes later gets every byte from us."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import NewFarm, NewReader
from ..support.content import File
from ..support.node import Publisher
from ..support.published import (
    Made,
    met,
    publish_bee,
    publish_core,
    publish_drive,
    read_bee,
    read_core,
    read_drive,
)

pytestmark = pytest.mark.interop

BIG = [File(path="/forty-megabytes.bin", size=40_000_000), File(path="/note.txt", size=12)]
MANY = [File(path=f"/folder {i % 37}/file-{i:04}.txt", size=i % 3_000) for i in range(2_000)]


def hand_over(new_farm: NewFarm, publisher: Publisher, made: Made, kind: str) -> str:
    """Ours takes everything from the publisher and ends; the publisher goes; ours starts again.

    Gives the public key under which ours is in the swarm the second time.
    """
    first = new_farm(made["key"], "--until-synced")
    first.finish()
    first.check_contract()
    synced = first.of("synced", made["key"])[-1]
    assert (synced["kind"], synced["version"]) == (kind, made["core"]["length"])
    heads = {event["core"]: event for event in first.of("core", made["key"])}
    for part in filter(None, (made["core"], made["blobs"])):
        head = heads[part["key"]]
        assert (head["length"], head["fork"], head["byte_length"]) == (
            part["length"],
            part["fork"],
            part["byte_length"],
        )
    publisher.stop()
    second = new_farm(made["key"])
    second.wait_synced(made["key"], made["core"]["length"])
    second.check_contract()
    return str(second.wait_ready()["public_key"])


@pytest.mark.parametrize("variant", ["plain", "encrypted", "compat", "v0", "dedup"])
def test_a_drive_outlives_its_publisher(
    variant: str, publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_drive(publisher, variant)
    ours = hand_over(new_farm, publisher, made, "drive")
    reader = new_reader()
    read_drive(reader, made)
    assert met(reader) == {ours}


def test_a_drive_with_a_file_of_forty_megabytes_outlives_its_publisher(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_drive(publisher, "plain", BIG)
    hand_over(new_farm, publisher, made, "drive")
    read_drive(new_reader(), made, BIG)


def test_a_drive_of_two_thousand_small_files_outlives_its_publisher(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    publisher.make("thing", "drive")
    made = publisher.put_many("thing", MANY)
    publisher.ask("join", name="thing")
    hand_over(new_farm, publisher, made, "drive")
    read_drive(new_reader(), made, MANY)


def test_a_bee_outlives_its_publisher(publisher: Publisher, new_farm: NewFarm, new_reader: NewReader) -> None:
    made = publish_bee(publisher)
    hand_over(new_farm, publisher, made, "bee")
    read_bee(new_reader(), made)


@pytest.mark.parametrize("variant", ["plain", "encrypted", "compat", "v0", "v2"])
def test_a_core_outlives_its_publisher(
    variant: str, publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_core(publisher, variant)
    digests = publisher.ask("blocks", name="thing")["blocks"]
    hand_over(new_farm, publisher, made, "core")
    read_core(new_reader(), made, digests)


def test_a_drive_passes_from_ours_to_ours_to_an_official_reader(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_drive(publisher, "plain")
    first = new_farm(made["key"], data="first")
    first.wait_synced(made["key"], made["core"]["length"])
    publisher.stop()

    second = new_farm(made["key"], data="second")
    second.wait_synced(made["key"], made["core"]["length"])
    second.wait_peer(first.wait_ready()["public_key"])
    assert first.interrupt() == 0

    reader = new_reader()
    read_drive(reader, made)
    assert second.wait_ready()["public_key"] in met(reader)


def test_a_seeds_file_and_an_older_version_of_a_drive_are_served(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader, tmp_path: Path
) -> None:
    drive = publish_drive(publisher, "plain")
    publisher.make("bee", "bee")
    bee = publisher.ask("insert", name="bee", entries=[["a", "1"], ["b", "2"]])
    publisher.make("core", "core")
    core = publisher.append("core", [("x", 10), ("y", 20)])
    for name in ("bee", "core"):
        publisher.ask("join", name=name)
    seeds = tmp_path / "seeds.txt"
    seeds.write_text(
        f"# what we keep\n\ndrive {drive['key']}\nbee {bee['key']}\ncore {core['key']}\n", encoding="utf-8"
    )
    old_version = 5
    before = publisher.ask("files", name="thing", version=old_version)["files"]
    assert before

    farm = new_farm("--file", str(seeds))
    for made, kind in ((drive, "drive"), (bee, "bee"), (core, "core")):
        assert farm.wait_synced(made["key"], made["core"]["length"])["kind"] == kind
    publisher.stop()

    reader = new_reader()
    read_drive(reader, drive)
    assert reader.ask("files", name="thing", version=old_version)["files"] == before
    reader.open("bee", bee["key"], "bee")
    reader.complete("bee", bee)
    assert reader.ask("entries", name="bee")["entries"] == [["a", "1"], ["b", "2"]]
