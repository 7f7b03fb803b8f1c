"""`kill -9` at random moments, and bits that flip on disk."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from ..conftest import NewFarm, NewReader
from ..support import seed_process as cli
from ..support.content import CHUNK, File, content, listing
from ..support.corruption import flip
from ..support.node import Publisher
from ..support.published import publish_core, read_core
from ..support.waiting import eventually

pytestmark = pytest.mark.interop

KILLS = 6


def verify(data: Path, key: str) -> int:
    """Exit status of `seederfarm verify`; a traceback is never an answer."""
    done = cli.run("verify", key, "--data", str(data))
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode


def test_killed_at_random_moments_nothing_acknowledged_is_lost_or_downloaded_again(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader, tmp_path: Path
) -> None:
    """Rounds of: append, wait for `synced` (the acknowledgement), append more, kill after a random moment."""
    rng = random.Random(20_250_101)
    made = publish_core(publisher, "plain", [(f"start {i}", 4_000) for i in range(50)])
    key = made["key"]
    for round_ in range(KILLS):
        farm = new_farm(key)
        farm.wait_synced(key, made["core"]["length"])
        acknowledged = made["core"]["length"]
        sent = publisher.ask("uploads", name="thing")["core"].copy()

        more = [(f"round {round_} block {i}", rng.choice([10, 4_000, CHUNK, 200_000])) for i in range(120)]
        made = publisher.append("thing", more)
        time.sleep(rng.uniform(0, 0.4))
        farm.kill()

        assert verify(tmp_path / "farm", key) == 0, "what is on disk after a kill does not verify"
        farm = new_farm(key)
        farm.wait_synced(key, made["core"]["length"])
        farm.interrupt()
        again = publisher.ask("uploads", name="thing")["core"]
        repeated = [i for i in range(acknowledged) if again[str(i)] != sent[str(i)]]
        assert repeated == [], f"round {round_}: synced blocks were downloaded again"

    digests = publisher.ask("blocks", name="thing")["blocks"]
    publisher.stop()
    new_farm(key).wait_synced(key, made["core"]["length"])
    read_core(new_reader(), made, digests)


def test_what_was_synced_is_served_after_a_kill_without_the_publisher(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 50_000) for i in range(200)])
    digests = publisher.ask("blocks", name="thing")["blocks"]
    farm = new_farm(made["key"])
    farm.wait_synced(made["key"], 200)
    farm.kill()
    publisher.stop()

    new_farm(made["key"])
    read_core(new_reader(), made, digests)


def test_killed_during_the_first_download_it_resumes_where_it_was(
    publisher: Publisher, new_farm: NewFarm, tmp_path: Path
) -> None:
    rng = random.Random(7)
    files = [File(path="/big.bin", size=64 * 1024 * 1024)]
    publisher.make("thing", "drive")
    publisher.put_all("thing", files)
    made = publisher.ask("describe", name="thing")
    publisher.ask("join", name="thing")

    killed = 0
    for _ in range(5):
        farm = new_farm(made["key"])
        farm.wait_ready()
        time.sleep(rng.uniform(0.1, 0.8))
        whole = bool(farm.of("synced", made["key"]))
        farm.kill()
        killed += 1
        assert verify(tmp_path / "farm", made["key"]) in ((0,) if whole else (0, 1))
        if whole:
            break
    farm = new_farm(made["key"], "--until-synced")
    farm.finish()
    assert verify(tmp_path / "farm", made["key"]) == 0
    sent = publisher.ask("uploads", name="thing")["blobs"]
    assert sum(sent.values()) < made["blobs"]["length"] * (killed + 1), "every start began anew"


@pytest.mark.parametrize("size", [CHUNK, 500], ids=["large core", "small core"])
def test_a_flipped_bit_is_noticed_not_served_and_fetched_again(
    size: int, publisher: Publisher, new_farm: NewFarm, new_reader: NewReader, tmp_path: Path
) -> None:
    count, corrupt = 60, 23
    made = publish_core(publisher, "plain", [(f"block {i}", size) for i in range(count)])
    digests = publisher.ask("blocks", name="thing")["blocks"]
    key, data = made["key"], tmp_path / "farm"
    new_farm(key, "--until-synced").finish()
    publisher.stop()
    assert verify(data, key) == 0

    flip(data, content(f"block {corrupt}", size))
    assert verify(data, key) == 1

    farm = new_farm(key)
    farm.wait_ready()
    reader = new_reader()
    reader.open("thing", key, "core")
    eventually(
        lambda: reader.ask("describe", name="thing")["core"]["contiguous"] == corrupt,
        timeout=20,
        what="every block before the rotten one at the reader",
    )
    reader.ask("fetch", name="thing", start=corrupt + 1, end=count)
    assert reader.running and farm.running
    assert reader.ask("describe", name="thing")["core"]["contiguous"] == corrupt, "a rotten block was served"

    publisher = Publisher(publisher.storage, publisher.bootstrap)
    try:
        publisher.make("thing", "core")
        publisher.ask("join", name="thing", server=False)  # it dials us, and the reader cannot find it
        farm.wait_peer(publisher.public_key)
        reader.complete("thing", made)
        assert reader.ask("blocks", name="thing")["blocks"] == digests
        assert set(publisher.ask("uploads", name="thing")["core"]) == {str(corrupt)}
        farm.wait_synced(key, count)
    finally:
        publisher.dispose()
    farm.interrupt()
    assert verify(data, key) == 0
    new_farm(key).wait_synced(key, count)
    read_core(new_reader(), made, digests)


def test_a_drive_with_a_flipped_bit_is_whole_again_after_a_restart_beside_the_publisher(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader, tmp_path: Path
) -> None:
    file = File(path="/file.bin", size=30 * CHUNK)
    publisher.make("thing", "drive")
    publisher.put_all("thing", [file])
    made = publisher.ask("describe", name="thing")
    publisher.ask("join", name="thing", server=False)
    farm = new_farm(made["key"])
    farm.wait_synced(made["key"], made["core"]["length"])
    flip(tmp_path / "farm", file.bytes[9 * CHUNK : 10 * CHUNK])

    reader = new_reader()
    reader.open("thing", made["key"], "drive")
    reader.complete("thing", made)
    assert reader.ask("files", name="thing")["files"] == listing([file])
    assert publisher.public_key not in {event.get("peer") for event in reader.events}
