"""Following a writer: appends reach a reader of ours at once, truncations and new histories too.

The publisher only dials (`server: false`) and the reader only dials, so the two never meet: all that
the reader sees came through us.
"""

from __future__ import annotations

import time

import pytest

from ..conftest import NewFarm, NewReader
from ..support.content import File, listing
from ..support.node import Publisher, Reader
from ..support.published import Made, met
from ..support.seed_process import SeedProcess

pytestmark = pytest.mark.interop

VISIBLE_WITHIN = 2.0
"""Seconds from the publisher's append to the newest block at a reader of ours (the issue's promise)."""


def between(publisher: Publisher, farm: SeedProcess, reader: Reader, made: Made, kind: str) -> None:
    """Publisher → ours → reader, connected, and everything of `made` at the reader."""
    farm.wait_ready()
    publisher.ask("join", name="thing", server=False)
    farm.wait_synced(made["key"], made["core"]["length"])
    reader.open("thing", made["key"], kind)
    reader.complete("thing", made)
    assert publisher.public_key not in met(reader)


def test_live_appends_reach_a_reader_of_ours_within_two_seconds(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    publisher.make("thing", "core")
    made = publisher.append("thing", [(f"before {i}", 900) for i in range(30)])
    farm, reader = new_farm(made["key"]), new_reader()
    between(publisher, farm, reader, made, "core")

    slowest = 0.0
    for i in range(10):
        since = reader.position()
        began = time.monotonic()
        length = publisher.append("thing", [(f"live {i}", 5_000)])["core"]["length"]
        arrived = reader.wait_newest(length, since=since)
        slowest = max(slowest, arrived["at"] - began)
    assert slowest < VISIBLE_WITHIN
    assert publisher.public_key not in met(reader)

    burst = [(f"burst {i}", 3_000) for i in range(300)]
    made = publisher.append("thing", burst)
    reader.complete("thing", made)
    assert reader.ask("blocks", name="thing")["blocks"] == publisher.ask("blocks", name="thing")["blocks"]
    farm.check_contract()


def test_files_added_to_a_drive_reach_a_reader_of_ours(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    publisher.make("thing", "drive")
    files = [File(path="/first.txt", size=100)]
    publisher.put_all("thing", files)
    made = publisher.ask("describe", name="thing")
    farm, reader = new_farm(made["key"]), new_reader()
    between(publisher, farm, reader, made, "drive")

    for i in range(5):
        added = File(path=f"/later/{i}.bin", size=i * 200_000)
        publisher.put_all("thing", [added])
        files.append(added)
        made = publisher.ask("describe", name="thing")
        began = time.monotonic()
        reader.complete("thing", made)
        assert time.monotonic() - began < VISIBLE_WITHIN
    assert reader.ask("files", name="thing")["files"] == listing(files)
    farm.wait_synced(made["key"], made["core"]["length"])


def test_a_truncation_and_the_new_history_are_followed(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    publisher.make("thing", "core")
    made = publisher.append("thing", [(f"old {i}", 2_000) for i in range(100)])
    farm, reader = new_farm(made["key"]), new_reader()
    between(publisher, farm, reader, made, "core")

    for fork, keep in ((1, 64), (2, 7), (3, 0)):
        publisher.ask("truncate", name="thing", length=keep)
        made = publisher.append("thing", [(f"fork {fork} {i}", 3_000) for i in range(50)])
        assert made["core"]["fork"] == fork
        reader.complete("thing", made)
        theirs = publisher.ask("blocks", name="thing")["blocks"]
        assert reader.ask("blocks", name="thing")["blocks"] == theirs
        farm.wait_fork(made["key"], fork)
    assert publisher.public_key not in met(reader)

    since = farm.position()
    made = publisher.ask("truncate", name="thing", length=20)
    farm.wait_fork(made["key"], made["core"]["fork"])  # `synced` may still be about the longer history before
    farm.wait_synced(made["key"], 20, since=since)
    publisher.stop()
    late = new_reader()
    late.open("thing", made["key"], "core")
    late.complete("thing", made)
    assert late.ask("blocks", name="thing")["blocks"] == theirs[:20]


def test_a_history_rewritten_while_we_were_away_is_followed(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    publisher.make("thing", "drive")
    kept = [File(path=f"/kept/{i}.bin", size=30_000) for i in range(8)]
    publisher.put_all("thing", kept)
    version = publisher.ask("describe", name="thing")["core"]["length"]
    publisher.put_all("thing", [File(path=f"/lost/{i}.bin", size=90_000) for i in range(8)])
    made = publisher.ask("describe", name="thing")
    publisher.ask("join", name="thing")
    farm = new_farm(made["key"], "--until-synced")
    farm.finish()

    publisher.ask("truncate", name="thing", version=version)
    fresh = [File(path=f"/new/{i}.bin", size=120_000) for i in range(6)]
    publisher.put_all("thing", fresh)
    made = publisher.ask("describe", name="thing")
    assert (made["core"]["fork"], made["blobs"]["fork"]) == (1, 1)
    before = publisher.ask("uploads", name="thing")["blobs"].copy()

    farm = new_farm(made["key"])
    farm.wait_fork(made["core"]["key"], 1)
    farm.wait_fork(made["blobs"]["key"], 1)
    farm.wait_synced(made["key"], made["core"]["length"])
    after = publisher.ask("uploads", name="thing")["blobs"]
    again = [index for index in after if int(index) < len(kept) and after[index] != before[index]]
    assert again == [], "blocks below the truncation were downloaded a second time"
    publisher.stop()

    reader = new_reader()
    reader.open("thing", made["key"], "drive")
    reader.complete("thing", made)
    assert reader.ask("files", name="thing")["files"] == listing([*kept, *fresh])
