"""The farm's reason to be: a publisher goes, a worker dies, and no reader notices."""

from __future__ import annotations

import pytest

from ..conftest import NewReader
from ..support.content import File
from ..support.control_processes import complete_on, copies, kinds_of_events, online, proven_on
from ..support.node import Publisher
from ..support.published import publish_drive, read_drive
from ..support.waiting import eventually
from .conftest import Scene

FILES = [File(path="/large.bin", size=2_000_000), File(path="/note.txt", size=12)]


@pytest.mark.interop
def test_copies_outlive_their_publisher_and_a_worker_and_only_the_surplus_goes(
    scene: Scene, publisher: Publisher, new_reader: NewReader
) -> None:
    home, workers = scene
    made = publish_drive(publisher, "plain", FILES)
    key = made["key"]
    workers.start("a", "b", "c")
    eventually(lambda: online() >= {"a", "b", "c"}, timeout=60, what="three workers")
    local = online() - {"a", "b", "c"}
    for name in local:
        home.lines("worker", "drain", name)

    home.lines("add", key, "--replicas", "2", "--wait", "--timeout", "60")
    holders = complete_on(key)
    assert len(holders) == 2 and holders < {"a", "b", "c"}
    eventually(lambda: proven_on(key) == holders, timeout=30, what="the proofs of two copies")

    publisher.stop()
    first = new_reader()
    read_drive(first, made, FILES)
    first.dispose()

    dead, alive = sorted(holders)
    (third,) = {"a", "b", "c"} - holders
    workers.kill(dead)
    eventually(lambda: third in complete_on(key), timeout=60, what=f"{third} to take over")
    assert alive in complete_on(key)
    assert "replica.released" not in kinds_of_events(key), "nothing goes while a worker is away"

    workers.start(dead)
    eventually(lambda: copies(key).count() == 2, timeout=60, what="the release of the surplus")
    assert len(complete_on(key)) == 2
    events = kinds_of_events(key)
    assert events.count("replica.released") == 1
    assert events.index("replica.released") > max(
        i for i, kind in enumerate(events) if kind == "replica.complete"
    )

    refused = home.run("remove", key)
    assert refused.returncode == 1 and "kept" in refused.stderr, "it would be the last copy anywhere"
    for name in {"a", "b", "c"} - complete_on(key):
        workers.kill(name)
    second = new_reader()
    read_drive(second, made, FILES)
