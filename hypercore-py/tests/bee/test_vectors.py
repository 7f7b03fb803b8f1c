"""Bees made by the official writer: decoding, listing, checkouts, and writing the very same blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hypercore.bee import Bee
from hypercore.bee.messages import BeeBlock, Header
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from support.content import bee_of, listed, run, unhex, vector, vectors

BEES = vectors("bee")
by_name = pytest.mark.parametrize("case", BEES, ids=[v["name"] for v in BEES])


def entries(listing: list[dict[str, Any]]) -> list[tuple[int, bytes, bytes | None]]:
    return [(e["seq"], bytes.fromhex(e["key"]), _unhex(e["value"])) for e in listing]


def _unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


@by_name
def test_listing_is_that_of_the_official_reader(case: dict[str, Any]) -> None:
    bee = bee_of(unhex(case["inputs"]["blocks"]))
    assert listed(bee.iterate()) == entries(case["output"]["listing"])
    assert listed(bee.iterate(reverse=True)) == entries(case["output"]["listing"])[::-1]
    assert bee.version == case["output"]["version"]


@by_name
def test_every_checkout_is_that_of_the_official_reader(case: dict[str, Any]) -> None:
    bee = bee_of(unhex(case["inputs"]["blocks"]))
    for version, listing in case["output"]["checkouts"].items():
        assert listed(bee.checkout(int(version)).iterate()) == entries(listing), version


@by_name
def test_every_listed_key_is_found_by_get(case: dict[str, Any]) -> None:
    bee = bee_of(unhex(case["inputs"]["blocks"]))
    for entry in entries(case["output"]["listing"]):
        assert run(bee.get(entry[1])) == entry


@by_name
def test_blocks_decode_as_the_official_decoder_sees_them(case: dict[str, Any]) -> None:
    blocks = unhex(case["inputs"]["blocks"])
    header, *nodes = case["output"]["decoded"]
    found = Header.decode(blocks[0])
    metadata = header["header"]["metadata"]
    assert found.protocol == header["header"]["protocol"]
    assert found.has_metadata == (metadata is not None)
    assert found.content_feed == _unhex((metadata or {}).get("contentFeed"))
    assert found.user_data == _unhex((metadata or {}).get("userData"))
    for node in nodes:
        block = BeeBlock.decode(node["seq"], blocks[node["seq"]])
        assert (block.key, block.value) == (bytes.fromhex(node["key"]), _unhex(node["value"]))
        levels = [{"keys": n.keys, "children": [x for c in n.children for x in c]} for n in block.all_nodes()]
        assert levels == node["levels"]


@by_name
def test_only_the_blocks_that_delete_are_deletions(case: dict[str, Any]) -> None:
    bee = bee_of(unhex(case["inputs"]["blocks"]))
    live: dict[bytes, bytes | None] = {}
    for change in listed(bee.history()):
        live.pop(change.key, None) if change.deleted else live.update({change.key: change.value})
    assert live == {key: value for _, key, value in entries(case["output"]["listing"])}


def replay_four(bee: BeeWriter) -> None:
    for key in (b"c", b"a", b"b", b"a"):
        bee.put(key, key + b"v")


def replay_nine(bee: BeeWriter) -> None:
    for i in range(9):
        bee.put(b"k%d" % i, b"v%d" % i)


def replay_forty(bee: BeeWriter) -> None:
    for i in range(40):
        bee.put(b"k%02d" % (i * 7 % 40), b"v%d" % i)
    assert [bee.delete(key) for key in (b"k10", b"k20", b"zz")] == [True, True, False]


def replay_batch(bee: BeeWriter) -> None:
    with bee.batch() as batch:
        for i in range(30):
            batch.put(b"k%02d" % (i * 11 % 30), b"v%d" % i)


def replay_nulls(bee: BeeWriter) -> None:
    bee.put(b"a", None)
    bee.put(b"b", b"")
    bee.delete(b"a")


REPLAYS: dict[str, Callable[[BeeWriter], object]] = {
    "one": lambda bee: bee.put(b"a", b"1"),
    "four-with-overwrite": replay_four,
    "nine-split": replay_nine,
    "forty-del": replay_forty,
    "batch-30": replay_batch,
    "null-values": replay_nulls,
    "header-metadata": lambda bee: bee.put(b"a", b"1"),
    "sub": lambda bee: bee.sub("sub").put(b"x", b"y"),
}


@by_name
def test_replayed_operations_write_the_same_blocks(case: dict[str, Any]) -> None:
    expected = unhex(case["inputs"]["blocks"])
    log = MemorySource()
    REPLAYS[case["name"]](BeeWriter(log, header=Header.decode(expected[0])))
    assert log.blocks == expected


def test_nodes_that_nothing_refers_to_are_left_behind_and_passed_over() -> None:
    """A root dissolved in the middle of a batch stays in its block, with references to later blocks."""
    (case,) = vectors("bee", "content")
    log, model = MemorySource(), dict[bytes, bytes | None]()
    writer = BeeWriter(log)
    for ops in case["inputs"]["log"]:
        with writer.batch() as batch:
            for op, key, value in ops:
                raw = bytes.fromhex(key)
                if op == "put":
                    batch.put(raw, _unhex(value))
                    model[raw] = _unhex(value)
                else:
                    assert batch.delete(raw) == (raw in model)
                    model.pop(raw, None)
        assert {e.key: e.value for e in listed(Bee(log).iterate())} == model
    assert log.blocks == unhex(case["output"]["blocks"])
    left_behind = BeeBlock.decode(219, log.blocks[219] or b"").all_nodes()[1]
    assert max(child.seq for child in left_behind.children) > 219


def test_sub_hides_its_prefix() -> None:
    bee = bee_of(unhex(vector("bee", "sub")["inputs"]["blocks"]))
    assert listed(bee.sub("sub").iterate()) == [(1, b"x", b"y")]
    assert run(bee.sub(b"sub").get(b"x")) == (1, b"x", b"y")
    assert listed(bee.sub("su").iterate()) == []
