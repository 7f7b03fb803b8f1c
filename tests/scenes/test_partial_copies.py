"""Drives of which no worker has everything: workers complete each other, and keep what there is."""

from __future__ import annotations

import pytest
from django.db.models import Q

from ..conftest import NewReader
from ..support.content import File
from ..support.control_processes import complete_on, copies, kinds_of_events, online, proven_on
from ..support.node import Publisher
from ..support.waiting import eventually
from .conftest import Scene

BLOCKS = 100
KEPT = [File(path="/note.txt", size=12), File(path="/a.bin", size=7_000_000)]
"""Most of the drive: the more of it is there, the sooner it is decided that no peer has the rest."""
OLD = File(path="/video.bin", size=900_000)
NEW = File(path="/video.bin", size=500_000, seed="another take")


def have(key: str, worker: str) -> int:
    """Blocks of a key that a worker has, as far as the farm knows."""
    return copies(key).filter(worker__name=worker).values_list("have_blocks", flat=True).first() or 0


def only_ours(scene: Scene) -> None:
    """The workers that came with the farm are given nothing."""
    for name in online() - {"a", "b"}:
        scene.home.lines("worker", "drain", name)


@pytest.mark.interop
def test_two_workers_with_different_parts_complete_each_other_without_the_publisher(
    embedded: Scene, publisher: Publisher, new_reader: NewReader
) -> None:
    home, workers = embedded
    publisher.make("thing", "core")
    made = publisher.append("thing", [(f"block {number}", 3_000) for number in range(BLOCKS)])
    publisher.ask("join", name="thing")
    key = made["key"]
    first, second = new_reader(), new_reader()
    for reader, (start, end) in ((first, (0, 60)), (second, (40, BLOCKS))):
        reader.open("thing", key, "core", announce=reader is first, follow=False)
        reader.ask("fetch", name="thing", start=start, end=end)
    publisher.stop()

    workers.start("a")
    eventually(lambda: "a" in online(), timeout=60, what="a worker")
    only_ours(embedded)
    home.lines("add", key, "--replicas", "2")
    eventually(lambda: have(key, "a") == 60, timeout=60, what="the first part")
    workers.kill("a")
    first.stop()
    second.open("again", key, "core", announce=True, follow=False)
    workers.start("b")
    eventually(lambda: have(key, "b") == 60, timeout=60, what="the second part")
    second.stop()
    assert not complete_on(key)

    workers.start("a")
    eventually(lambda: complete_on(key) == {"a", "b"}, timeout=90, what="two complete copies")
    assert have(key, "a") == have(key, "b") == BLOCKS


@pytest.mark.interop
def test_what_a_writer_has_cleared_is_no_reason_to_wait_and_the_fullest_copy_stays(
    on_postgres: Scene, publisher: Publisher
) -> None:
    home, workers = on_postgres
    publisher.make("thing", "drive", "plain")
    publisher.put_all("thing", [*KEPT, OLD])
    publisher.ask("clear", name="thing", path=OLD.path)
    publisher.put_all("thing", [NEW])
    publisher.ask("join", name="thing")
    key = publisher.ask("describe", name="thing")["key"]
    workers.start("a")
    eventually(lambda: "a" in online(), timeout=60, what="a worker")
    only_ours(on_postgres)
    home.lines("add", key, "--replicas", "1", "--wait", "--timeout", "60")
    publisher.stop()
    (copy,) = copies(key).filter(phase="complete")
    assert copy.unavailable_bytes == OLD.size
    eventually(lambda: proven_on(key) == {"a"}, timeout=30, what="a proof of what is there")
    assert copies(key).get(worker__name="a").proof_failures == 0
    shown = home.run("show", key).stdout
    assert "as full as can be: no peer is known to have the other 14 blocks (900 kB)" in shown
    (listed,) = home.lines("list")
    assert listed["fullest_bytes"] + listed["unavailable_bytes"] == listed["bytes"]

    refused = home.run("remove", key)
    assert refused.returncode == 1 and "kept" in refused.stderr
    assert home.run("worker", "retire", "a").returncode == 1, "nobody else has it"

    workers.start("b")
    eventually(lambda: "b" in online(), timeout=60, what="another worker")
    home.lines("worker", "drain", "a")
    eventually(lambda: complete_on(key) == {"b"}, timeout=90, what="the copy on b alone")
    assert copies(key).get(worker__name="b").unavailable_bytes == OLD.size
    assert not copies(key).filter(~Q(worker__name="b")).exists()
    events = kinds_of_events(key)
    assert "replica.unproven" not in events
    assert events.index("replica.released") > events.index("replica.complete")
