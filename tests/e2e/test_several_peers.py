"""Several sources at once, none of them whole, some of them leaving."""

from __future__ import annotations

import pytest

from ..conftest import NewFarm, NewReader, NewSeeder
from ..support.content import File
from ..support.node import Publisher
from ..support.published import publish_core, publish_drive, read_core, read_drive

pytestmark = pytest.mark.interop


def test_two_peers_that_hold_a_half_each_make_a_whole(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    blocks = [(f"block {i}", 8_000) for i in range(400)]
    made = publish_core(publisher, "plain", blocks)
    digests = publisher.ask("blocks", name="thing")["blocks"]
    halves = []
    for start, end in ((0, 200), (200, 400)):
        half = new_reader()
        half.open("thing", made["key"], "core", announce=True, follow=False)
        half.ask("fetch", name="thing", start=start, end=end)
        halves.append(half)
    publisher.stop()

    farm = new_farm(made["key"])
    farm.wait_synced(made["key"], 400)
    for half in halves:
        farm.wait_peer(half.public_key)
        half.stop()
    read_core(new_reader(), made, digests)


def test_a_peer_with_scattered_blocks_gives_what_it_has_and_the_rest_comes_later(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 3_000) for i in range(300)])
    digests = publisher.ask("blocks", name="thing")["blocks"]
    sparse = new_reader()
    sparse.open("thing", made["key"], "core", announce=True, follow=False)
    for start in range(0, 300, 20):
        sparse.ask("fetch", name="thing", start=start, end=start + 7)
    have = 15 * 7
    publisher.stop()

    farm = new_farm(made["key"])
    farm.wait_for(
        lambda event: event.get("event") == "progress" and event["have_blocks"] == have,
        timeout=30,
        what=f"the {have} blocks that exist",
    )
    assert farm.of("synced", made["key"]) == []

    whole = Publisher(publisher.storage, publisher.bootstrap)
    try:
        whole.make("thing", "core", "plain")
        whole.ask("join", name="thing")
        farm.wait_synced(made["key"], 300)
        assert sum(whole.ask("uploads", name="thing")["core"].values()) <= 300 - have
    finally:
        whole.dispose()
    sparse.stop()
    read_core(new_reader(), made, digests)


def test_a_source_that_dies_in_the_middle_is_replaced_by_the_other(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    files = [File(path="/big.bin", size=48 * 1024 * 1024), File(path="/small.txt", size=5)]
    made = publish_drive(publisher, "plain", files)
    other = new_reader()
    other.open("thing", made["key"], "drive", announce=True)
    other.complete("thing", made)

    farm = new_farm(made["key"])
    farm.wait_for(
        lambda event: event.get("event") == "progress" and event["have_blocks"] > 50,
        timeout=30,
        what="the download to be under way",
    )
    publisher.kill()
    farm.wait_synced(made["key"], made["core"]["length"])
    other.stop()
    read_drive(new_reader(), made, files)


def test_ours_and_the_official_seeder_feed_each_other(
    publisher: Publisher, new_farm: NewFarm, new_seeder: NewSeeder, new_reader: NewReader
) -> None:
    """Both have been seeding for a while; each must take what the other got first."""
    made = publish_drive(publisher, "plain")
    seeder = new_seeder()
    seeder.ask("add", key=made["key"], kind="drive")
    farm = new_farm(made["key"])
    farm.wait_synced(made["key"], made["core"]["length"])
    farm.wait_peer(seeder.public_key)
    publisher.stop()
    read_drive(new_reader(), made)


def test_peers_that_share_an_address_are_distinguished(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    """Several peers behind one address punch towards us at once; each must end up with its own stream."""
    made = publish_core(publisher, "plain", [("block", 10)])
    peers = [publisher.public_key]
    for _ in range(3):
        peer = new_reader()
        peer.open("thing", made["key"], "core", announce=True)
        peer.complete("thing", made)
        peers.append(peer.public_key)
    for start in range(4):
        farm = new_farm(made["key"], data=f"farm-{start}")
        for public_key in peers:
            farm.wait_peer(public_key, timeout=10)  # a stream that went astray takes 13 s to time out
        farm.interrupt()
