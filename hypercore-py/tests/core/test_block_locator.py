"""Byte ranges of blocks, located in any order."""

from __future__ import annotations

from random import Random

import pytest

from hypercore.core.block_locator import MAX_OFFSETS, BlockLocator
from hypercore.errors import BlockNotAvailable
from hypercore.node import Node
from hypercore.testing.cores import make_writer


def blocks_of(count: int, seed: int = 1) -> list[bytes]:
    random = Random(seed)
    return [bytes(random.randrange(30)) for _ in range(count)]


class Nodes:
    """The nodes of a core; counts how many were read."""

    def __init__(self, blocks: list[bytes]) -> None:
        core = make_writer(blocks).core
        self.roots = core.head.roots
        self._core = core
        self.reads = 0
        self.missing: set[int] = set()

    def get(self, index: int) -> Node | None:
        self.reads += 1
        return None if index in self.missing else self._core._nodes.get(index)


@pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 129, 300, 1000, 1024])
def test_blocks_are_located_in_any_order(count: int) -> None:
    blocks = blocks_of(count)
    starts = [0]
    for block in blocks:
        starts.append(starts[-1] + len(block))
    nodes = Nodes(blocks)
    locator = BlockLocator(nodes, nodes.roots)
    for index in Random(2).sample(range(count), count):
        assert locator.locate(index) == (starts[index], len(blocks[index]))
    assert len(locator._offsets or {}) <= MAX_OFFSETS


def test_a_core_that_grows_or_is_rewritten_is_located_anew() -> None:
    blocks = blocks_of(2000)
    nodes = Nodes(blocks[:100])
    locator = BlockLocator(nodes, nodes.roots)
    for length in (100, 130, 700, 2000):
        longer = Nodes(blocks[:length])
        locator._nodes, locator.roots = longer, longer.roots
        for index in Random(length).sample(range(length), 100):
            assert locator.locate(index)[0] == sum(map(len, blocks[:index]))
    other = blocks_of(500, seed=3)
    rewritten = Nodes(other)
    locator._nodes, locator.roots = rewritten, rewritten.roots
    locator.reset()
    for index in Random(4).sample(range(500), 100):
        assert locator.locate(index)[0] == sum(map(len, other[:index]))


def test_half_of_the_levels_are_not_read_again_in_random_order() -> None:
    count = 4096
    nodes = Nodes(blocks_of(count))
    locator = BlockLocator(nodes, nodes.roots)
    order = Random(5).sample(range(count), count)
    for index in order[:1000]:
        locator.locate(index)
    nodes.reads = 0
    for index in order[1000:2000]:
        locator.locate(index)
    assert nodes.reads < 1000 * (1 + 5)  # a leaf, and less than the twelve levels above it


def test_a_missing_node_is_missed_as_before() -> None:
    nodes = Nodes(blocks_of(1024))
    locator = BlockLocator(nodes, nodes.roots)
    assert locator.locate(700)
    nodes.missing = {2 * 704}
    with pytest.raises(BlockNotAvailable):
        locator.locate(704)
