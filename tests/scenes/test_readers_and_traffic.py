"""A farm lists the readers of a drive, how they are connected, how much they read, and its files."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from hypercore.keys import encode_key

from ..support.content import File
from ..support.farm_home import FarmHome
from ..support.node import Publisher, Reader
from ..support.published import publish_drive, read_drive
from ..support.waiting import eventually

FILES = [File(path="/three-megabytes.bin", size=3_000_000), File(path="/folder/note.txt", size=12)]


@pytest.mark.interop
@pytest.mark.timeout(240)
def test_readers_are_listed_while_a_drive_is_watched_and_bytes_that_they_read_are_counted(
    farm: FarmHome, publisher: Publisher, bootstrap: list[str], tmp_path: Path
) -> None:
    made = publish_drive(publisher, "plain", FILES)
    farm.start()
    farm.lines("add", made["key"], "--wait=1", "--timeout", "60")
    (token,) = farm.lines("tokens", "add", "reader", "--scope", "read")

    def get(path: str) -> Any:
        request = urllib.request.Request(f"{farm.address}api/v1/{path}")
        request.add_header("Authorization", f"Bearer {token['token']}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def peers() -> dict[str, Any]:
        found = get(f"drives/{made['key']}/peers")
        return {peer["id"]: peer for peer in found["peers"]}

    source = encode_key(bytes.fromhex(publisher.public_key))
    eventually(lambda: source in peers(), timeout=30, what="the publisher in the list")
    (publishing,) = [peer for name, peer in peers().items() if name == source]
    assert publishing["way"] == "direct"
    assert publishing["bytes_in"] >= 3_000_000
    reader = Reader(tmp_path / "reader", bootstrap)
    try:
        publisher.stop()
        read_drive(reader, made, FILES)
        me = encode_key(bytes.fromhex(reader.public_key))

        def served() -> bool:
            found = peers()
            return me in found and found[me]["bytes_out"] >= 3_000_000

        eventually(served, timeout=30, what="the reader in the list, with what it read")
        (worker,) = farm.lines("workers")
        assert worker["network"] in ("direct", "hole-punchable", "not known yet")
        assert sum(worker["peers"].values()) >= 1
        assert len(worker["load"]) == 3
        assert worker["engines"][0]["restarts"] == 0

        def counted() -> bool:
            (shown,) = farm.lines("show", made["key"])
            return shown["served_bytes"] >= 3_000_000 and shown["files"] is not None

        eventually(counted, timeout=90, what="bytes served and files")
        drive = get(f"drives/{made['key']}")
        assert (drive["files"], drive["file_bytes"]) == (2, 3_000_012)
        assert drive["served_bytes"] < 4_000_000, "each byte counts once"
    finally:
        reader.dispose()
