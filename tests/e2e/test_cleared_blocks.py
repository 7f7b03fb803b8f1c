"""Official writers that clear blocks, and official readers that have a few: what of it ours calls synced."""

from __future__ import annotations

import asyncio
import time

import pytest

from hypercore.mux import Channel
from hypercore.wire.control import BitfieldMessage, Sync, Want
from hypercore.wire.registry import Message
from hypercore.wire.request import Request

from ..conftest import NewFarm, NewReader
from ..support.attacker import meet
from ..support.content import File, listing
from ..support.node import Publisher
from ..support.published import Made
from ..support.waiting import eventually

pytestmark = pytest.mark.interop

KEPT = [File(path="/note.txt", size=12), File(path="/a.bin", size=7_000_000)]
"""Most of the drive: the more of it is there, the sooner it is decided that no peer has the rest."""
OLD = File(path="/video.bin", size=900_000)
NEW = File(path="/video.bin", size=500_000, seed="another take")


def publish_overwritten(publisher: Publisher) -> Made:
    """A drive of three files, one of which was cleared before it was written again."""
    publisher.make("thing", "drive", "plain")
    publisher.put_all("thing", [*KEPT, OLD])
    publisher.ask("clear", name="thing", path=OLD.path)
    publisher.put_all("thing", [NEW])
    publisher.ask("join", name="thing")
    return publisher.ask("describe", name="thing")


def test_a_drive_with_an_overwritten_and_cleared_file_is_synced_and_outlives_its_publisher(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_overwritten(publisher)
    first = new_farm(made["key"], "--until-synced")
    first.finish()
    first.check_contract()
    synced = first.of("synced", made["key"])[-1]
    assert synced["length"] == made["core"]["length"] + made["blobs"]["length"]
    assert synced["unavailable_bytes"] == OLD.size
    assert 0 < synced["unavailable_blocks"] == -(-OLD.size // 65536)
    progress = first.of("progress", made["key"])[-1]
    assert progress["blocks"] - progress["have_blocks"] == synced["unavailable_blocks"]

    publisher.stop()
    second = new_farm(made["key"])
    asked = time.monotonic()
    again = second.wait_synced(made["key"], made["core"]["length"])
    assert time.monotonic() - asked < 8, "it is known, and nobody has to be asked"
    assert again["unavailable_blocks"] == synced["unavailable_blocks"]

    reader = new_reader()
    reader.open("thing", made["key"], "drive", follow=False)
    eventually(
        lambda: reader.ask("describe", name="thing")["core"]["length"] == made["core"]["length"],
        timeout=30,
        what="the names of the files",
    )
    files = reader.ask("files", name="thing")["files"]
    assert files == listing([*KEPT, NEW])


def test_a_second_copy_is_synced_from_the_first_when_the_publisher_is_gone(
    publisher: Publisher, new_farm: NewFarm
) -> None:
    made = publish_overwritten(publisher)
    first = new_farm(made["key"])
    notified = first.wait_synced(made["key"], made["core"]["length"])
    publisher.stop()
    second = new_farm(made["key"], "--until-synced", data="second")
    second.finish()
    (synced,) = second.of("synced", made["key"])
    assert synced["unavailable_blocks"] == notified["unavailable_blocks"] > 0


def test_a_log_whose_beginning_was_cleared_is_synced(publisher: Publisher, new_farm: NewFarm) -> None:
    publisher.make("log", "core")
    publisher.append("log", [(f"line {number}", 100) for number in range(40)])
    publisher.ask("clear", name="log", start=0, end=5)
    made = publisher.ask("describe", name="log")
    publisher.ask("join", name="log")
    farm = new_farm(made["key"], "--until-synced")
    farm.finish()
    synced = farm.of("synced", made["key"])[-1]
    assert (synced["kind"], synced["length"]) == ("core", 40)
    assert (synced["unavailable_blocks"], synced["unavailable_bytes"]) == (5, 500)


def test_a_reader_that_has_looked_at_a_few_blocks_settles_nothing(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    publisher.make("thing", "core")
    made = publisher.append("thing", [(f"block {number}", 1_000) for number in range(200)])
    publisher.ask("join", name="thing")
    reader = new_reader()
    reader.open("thing", made["key"], "core", announce=True, follow=False)
    reader.ask("fetch", name="thing", start=10, end=20)
    publisher.stop()
    farm = new_farm(made["key"])
    farm.wait_for(
        lambda event: event.get("event") == "progress" and event["have_blocks"] == 10,
        timeout=30,
        what="ten blocks",
    )
    time.sleep(15)  # longer than it takes with a source that has most of it
    assert not farm.of("synced", made["key"])
    assert farm.of("progress", made["key"])[-1]["unavailable_blocks"] == 0


def test_peers_settle_nothing_whatever_they_claim(
    publisher: Publisher, new_farm: NewFarm, bootstrap: list[str]
) -> None:
    """The publisher goes at 90 % of the download, and those who come have nothing to give."""
    publisher.make("thing", "core")
    made = publisher.append("thing", [(f"block {number}", 20_000) for number in range(200)])
    publisher.ask("join", name="thing")
    key = made["key"]
    farm = new_farm(key, "--down", "400k")
    farm.wait_for(
        lambda event: event.get("event") == "progress" and event["have_blocks"] >= 180,
        timeout=60,
        what="most of it",
    )
    publisher.dispose()
    time.sleep(2)
    have = farm.of("progress", key)[-1]["have_blocks"]
    assert 180 <= have < 200
    us = bytes.fromhex(str(farm.wait_ready()["public_key"]))
    wanted: list[Message] = []

    def record(_: Channel, reported: Message) -> None:
        if isinstance(reported, Want | Request):
            wanted.append(reported)

    async def claim(has: int) -> None:
        async with meet(bootstrap, us) as peer:
            peer.on_message = record
            talk = peer.open(bytes.fromhex(key))
            async with asyncio.timeout(10):
                await talk.opened.wait()
            talk.send(
                Sync(fork=0, length=200, remote_length=200, can_upgrade=False, uploading=True,
                     downloading=False, has_manifest=True),
                BitfieldMessage(start=0, words=((1 << has) - 1).to_bytes(28, "little")),
            )  # fmt: skip
            await asyncio.sleep(14)

    async def act() -> None:
        await asyncio.gather(claim(0), claim(have), claim(200))

    asyncio.run(act())
    assert any(isinstance(reported, Want) for reported in wanted), "they were asked what they have"
    assert any(isinstance(reported, Request) for reported in wanted), "and for what they claimed"
    assert not farm.of("synced", key)
    assert farm.of("progress", key)[-1]["unavailable_blocks"] == 0
