"""Keys that hold more than their content shows to a seeder: it says so, and finds out what it can."""

from __future__ import annotations

import hashlib
import time

import pytest

from ..conftest import NewFarm
from ..support.content import CHUNK, File
from ..support.node import Publisher

pytestmark = pytest.mark.interop


def test_an_encrypted_drive_of_compat_cores_is_kept_whole_with_its_encryption_key(
    publisher: Publisher, new_farm: NewFarm
) -> None:
    key = publisher.make("it", "drive", "compat-encrypted")["key"]
    publisher.put_all("it", [File(path="/a", size=3 * CHUNK), File(path="/b", size=10)])
    made = publisher.ask("describe", name="it")
    publisher.ask("join", name="it")

    blind = new_farm(key, data="blind")
    blind.wait_synced(key)
    [problem] = blind.of("error", key)
    assert problem["code"] == "BLOBS_UNKNOWN" and "--encryption-key" in problem["message"]
    assert {event["core"] for event in blind.of("core", key)} == {key}
    blind.interrupt()

    secret = hashlib.sha256(b"encryption of it").hexdigest()
    seeing = new_farm(key, "--encryption-key", secret, data="blind")
    synced = seeing.wait_for(
        lambda event: event.get("event") == "synced" and event["kind"] == "drive", timeout=30, what="a drive"
    )
    assert synced["length"] == made["core"]["length"] + made["blobs"]["length"]
    assert seeing.of("error", key) == []
    seeing.interrupt()

    later = new_farm(key, data="blind")
    assert later.wait_synced(key)["length"] == synced["length"], "the answer is kept"


@pytest.mark.parametrize("variant", ["plain", "compat", "v0", "v2"])
def test_a_plain_core_is_synced_without_a_wait(publisher: Publisher, new_farm: NewFarm, variant: str) -> None:
    """It was given three seconds to turn out as an encrypted drive. Its first block shows that it is none."""
    key = publisher.make("it", "core", variant)["key"]
    publisher.append("it", [(f"block {number}", 1_000) for number in range(10)])
    publisher.ask("join", name="it")
    farm = new_farm(key)
    complete = farm.wait_for(
        lambda event: event.get("event") == "progress" and event["have_blocks"] == 10, timeout=30
    )
    farm.wait_synced(key)
    assert time.monotonic() - complete["at"] < 1.5


def test_a_core_that_might_be_an_encrypted_drive_is_settled_by_its_peers(
    publisher: Publisher, new_farm: NewFarm
) -> None:
    """None has a blobs core of it. That seeders ask each other for one is no answer."""
    key = publisher.make("it", "core")["key"]
    publisher.append("it", [("like a header", 54), ("block", 1_000)])
    publisher.ask("join", name="it")
    farms = [new_farm(key, data="one"), new_farm(key, data="other")]
    for farm, other in (farms, farms[::-1]):
        complete = farm.wait_for(
            lambda event: event.get("event") == "progress" and event["have_blocks"] == 2, timeout=30
        )
        synced = farm.wait_synced(key)
        assert synced["at"] - complete["at"] < 1.5
        farm.wait_peer(other.wait_ready()["public_key"])
    publisher.append("it", [("later", 10)])  # what they made of each other is told by then
    assert [farm.wait_synced(key, 3)["kind"] for farm in farms] == ["core", "core"]
