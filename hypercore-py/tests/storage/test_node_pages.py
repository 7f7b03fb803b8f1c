"""Pages of tree nodes against a plain dict, with flushes that succeed, fail and are cut off."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hypercore.merkle.flat_tree import right_span
from hypercore.node import Node
from hypercore.storage import MemoryBackend
from hypercore.storage.node_pages import NODES_PER_PAGE, NodePages, PageCache, seal, unseal
from support.examples import examples


class Pages(MemoryBackend):
    """A backend that keeps node pages only."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[int, bytes] = {}
        self.reads = 0

    def read_node_page(self, core_id: int, page: int) -> bytes | None:
        self.reads += 1
        return self.pages.get(page)

    def write(self, floor: int | None, pages: list[tuple[int, bytes]]) -> None:
        if floor is not None:
            self.pages = {number: page for number, page in self.pages.items() if number < floor}
        self.pages.update(pages)


def node(index: int, salt: int = 0) -> Node:
    return Node(index, index * 7 + salt, bytes([index % 256, salt % 256]) * 16)


places = st.one_of(st.integers(0, 20), st.integers(100, 150), st.integers(0, 2000))
operations = st.one_of(
    st.tuples(st.just("put"), st.lists(st.tuples(places, st.integers(0, 9)), min_size=1, max_size=8)),
    st.tuples(st.just("truncate"), st.integers(0, 1000)),
    st.tuples(st.just("remove"), places),
    st.tuples(st.just("begin")),
    st.tuples(st.just("commit")),
    st.tuples(st.just("failed"), st.booleans()),
    st.tuples(st.just("crash")),
)


@settings(max_examples=examples(300), deadline=None)
@example([("put", [(0, 0)]), ("begin",), ("truncate", 0), ("commit",), ("put", [(128, 0)]), ("begin",)], 1)
@given(st.lists(operations, max_size=25), st.sampled_from([1, 6000, 1 << 20]))
def test_pages_behave_like_a_dict_through_flushes_and_crashes(ops: list[tuple], cache_bytes: int) -> None:
    backend, cache = Pages(), PageCache(cache_bytes)
    pages = NodePages(1, backend, cache, 0)
    model: dict[int, Node] = {}
    durable: dict[int, Node] = {}
    saving: tuple[int | None, list[tuple[int, bytes]], dict[int, Node]] | None = None
    for op in ops:
        match op:
            case ("put", items):
                nodes = [node(index, salt) for index, salt in items]
                pages.put(nodes)
                model.update({n.index: n for n in nodes})
            case ("truncate", length):
                pages.truncate(length)
                model = {i: n for i, n in model.items() if right_span(i) < 2 * length}
            case ("remove", index):
                pages.remove(index)
                model.pop(index, None)
            case ("begin",) if saving is None:
                saving = (*pages.snapshot_changes(), dict(model))
            case ("commit",) if saving is not None:
                backend.write(saving[0], saving[1])
                pages.commit()
                durable, saving = saving[2], None
            case ("failed", written) if saving is not None:
                if written:  # it happened, but we were told that it did not
                    backend.write(saving[0], saving[1])
                    durable = saving[2]
                pages.rollback(saving[0])
                saving = None
            case ("crash",):
                pages = NodePages(1, backend, PageCache(cache_bytes), 1001)
                model, saving = dict(durable), None
        assert pages.lost is None
    for index in range(0, 2001):
        assert pages.get(index) == model.get(index)


def test_putting_what_is_there_changes_nothing() -> None:
    pages = NodePages(1, Pages(), PageCache(1 << 20), 0)
    assert pages.put([node(0), node(1)]) == 2
    assert pages.put([node(0), node(1), node(2)]) == 1
    pages.snapshot_changes()
    pages.commit()
    assert pages.put([node(0), node(1), node(2)]) == 0
    assert pages.snapshot_changes() == (None, [])


def test_a_node_of_size_0_is_a_node() -> None:
    pages = NodePages(1, Pages(), PageCache(1 << 20), 0)
    empty = Node(4, 0, bytes(32))
    pages.put([empty])
    assert pages.get(4) == empty
    assert pages.get(2) is None


def test_pages_of_new_cores_are_not_looked_for_on_disk() -> None:
    backend = Pages()
    pages = NodePages(1, backend, PageCache(1 << 20), 0)
    pages.put([node(index) for index in range(0, 3000, 7)])
    assert backend.reads == 0


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    cache = PageCache(10 * (5120 + PageCache.OVERHEAD))
    for number in range(50):
        cache.put((1, number), bytearray(5120))
        cache.get((1, 0))
    assert cache.bytes <= 10 * (5120 + PageCache.OVERHEAD)
    assert cache.get((1, 0)) is not None
    assert cache.get((1, 1)) is None
    cache.discard(1, 0, 1 << 60)
    assert cache.bytes == 0


@pytest.mark.parametrize("size", [0, 40, NODES_PER_PAGE * 40])
def test_every_flipped_bit_of_a_stored_page_is_noticed(size: int) -> None:
    stored = seal(bytes(range(256)) * 20)[:0] + seal((bytes(range(256)) * 20)[:size])
    assert unseal(stored) == (bytes(range(256)) * 20)[:size]
    for at in range(0, len(stored), max(1, len(stored) // 60)):
        for bit in range(8):
            corrupt = bytearray(stored)
            corrupt[at] ^= 1 << bit
            assert unseal(bytes(corrupt)) is None
    assert unseal(stored[:-1]) is None
    assert unseal(b"") is None


def test_a_corrupt_page_is_lost_and_rewritten() -> None:
    backend = Pages()
    pages = NodePages(1, backend, PageCache(1 << 20), 0)
    pages.put([node(0), node(130), node(260)])
    backend.write(*pages.snapshot_changes())
    pages.commit()
    backend.pages[1] = backend.pages[1][:5] + b"?" + backend.pages[1][6:]
    pages = NodePages(1, backend, PageCache(1 << 20), 200)
    assert pages.get(0) == node(0)
    assert pages.lost is None
    assert pages.get(130) is None
    assert pages.lost == [1]
    assert pages.get(131) is None
    assert pages.lost == [1]
    backend.write(*pages.snapshot_changes())
    assert unseal(backend.pages[1]) == b""
