"""Bitfield against a plain Python set, and against words that the official implementation put on the wire."""

from __future__ import annotations

import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bitfield import PAGE_BITS, Bitfield
from support.examples import examples
from support.vectors import load

VECTORS = load("data/bitfield")

# Around the places where something changes: bytes, words and pages
positions = st.one_of(
    st.integers(0, 70),
    st.integers(PAGE_BITS - 40, PAGE_BITS + 40),
    st.integers(2 * PAGE_BITS - 5, 2 * PAGE_BITS + 5),
    st.integers(0, 3 * PAGE_BITS),
)
UNIVERSE = 4 * PAGE_BITS

operations = st.one_of(
    st.tuples(st.just("set"), positions),
    st.tuples(st.just("unset"), positions),
    st.tuples(st.just("fill"), positions, positions),
    st.tuples(st.just("clear"), positions, positions),
    st.tuples(st.just("truncate"), positions),
    st.tuples(st.just("words"), positions, st.binary(max_size=40)),
    st.tuples(st.just("page"), st.integers(0, 2), st.sampled_from([0, 255, 85])),
    st.tuples(st.just("reload")),
)


def apply(field: Bitfield, model: set[int], operation: tuple) -> Bitfield:
    match operation:
        case ("set", index):
            assert field.set(index) == (index not in model)
            model.add(index)
        case ("unset", index):
            assert field.unset(index) == (index in model)
            model.discard(index)
        case ("fill", a, b):
            new = set(range(a, b)) - model
            assert field.set_range(a, b) == len(new)
            model |= new
        case ("clear", a, b):
            gone = model & set(range(a, b))
            assert field.set_range(a, b, False) == len(gone)
            model -= gone
        case ("truncate", at):
            gone = {index for index in model if index >= at}
            assert field.set_range(at, None, False) == len(gone)
            model -= gone
        case ("words", at, data):
            start = at & ~31
            data = data[: len(data) & ~3]
            field.load_words(start, data)
            model -= set(range(start, start + 8 * len(data)))
            model |= {start + k for k in range(8 * len(data)) if data[k >> 3] >> (k & 7) & 1}
        case ("page", page, byte):
            start = page * PAGE_BITS
            field.load_words(start, bytes([byte]) * (PAGE_BITS // 8))
            model -= set(range(start, start + PAGE_BITS))
            model |= {start + k for k in range(PAGE_BITS) if byte >> (k & 7) & 1}
        case ("reload",):
            images = {page: field.page_image(page) for page in range(UNIVERSE // PAGE_BITS)}
            field = Bitfield.restore(
                field.contiguous, {page: image for page, image in images.items() if image}
            )
    return field


def same(field: Bitfield, model: set[int], probes: list[int]) -> None:
    assert field.count == len(model)
    ordered = sorted(model)
    assert [index for a, b in field.runs() for index in range(a, b)] == ordered
    lowest_missing = next(index for index in range(UNIVERSE + 1) if index not in model)
    assert field.contiguous == field.first_unset() == lowest_missing
    for index in probes:
        assert field.get(index) == (index in model)
        end = index + 100
        assert field.first_set(index) == next((k for k in ordered if k >= index), None)
        assert field.first_unset(index) == next(k for k in range(index, UNIVERSE + 1) if k not in model)
        assert field.first_set(index, end) == next((k for k in range(index, end) if k in model), None)
        assert field.first_unset(index, end) == next((k for k in range(index, end) if k not in model), None)
        for stop in (end, index + 2 * PAGE_BITS):
            assert field.count_range(index, stop) == sum(index <= k < stop for k in ordered)
        start = index & ~31
        words = struct.unpack("<4I", field.words(start, start + 100))
        assert [words[k >> 5] >> (k & 31) & 1 for k in range(128)] == [start + k in model for k in range(128)]


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(operations, max_size=14), st.lists(positions, min_size=1, max_size=5))
def test_bitfield_behaves_like_a_set_of_integers(ops: list[tuple], probes: list[int]) -> None:
    field, model = Bitfield(), set[int]()
    for op in ops:
        field = apply(field, model, op)
    same(field, model, probes)
    assert field.copy() == field


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_words_are_those_of_the_official_answer_to_a_want(vector: dict) -> None:
    field = Bitfield()
    for start, end in vector["inputs"]["setRanges"]:
        field.set_range(start, end)
    for message in vector["output"]:
        start, count = message["start"], message["words"]
        data = field.words(start, start + 32 * count)
        words = struct.unpack(f"<{count}I", data)
        assert [[at, word] for at, word in enumerate(words) if word] == message["nonzero"]
        copy = Bitfield()
        copy.load_words(start, data)
        assert copy.words(start, start + 32 * count) == data


def test_a_prefix_of_any_length_takes_no_pages() -> None:
    tracemalloc.start()
    field = Bitfield()
    field.set_range(0, 2**53 - 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert field.count == field.contiguous == 2**53 - 1
    assert peak < 2000


@pytest.mark.slow
def test_any_stretch_takes_two_pages_at_most_and_no_time() -> None:
    """What alternates between everything and one bit less costs the same as one bit."""
    field = Bitfield(max_pages=4)
    far = 2**53 - 2
    started = time.process_time()
    for _ in range(2_000):
        field.set_range(0, far)
        field.set_range(0, 1, False)
        assert field.count == far - 1
        field.load_words(2**40, bytes(4))
        assert field.count == far - 33
        field.set_range(2**52 + 1, 2**52 + 3, False)
        assert list(field.runs()) == [(1, 2**40), (2**40 + 32, 2**52 + 1), (2**52 + 3, far)]
        field.set_range(9, None, False)
        assert field.count == 8
    assert time.process_time() - started < 2  # 2 ms a round and more while pages of ones were made one by one


def test_mixed_pages_and_runs_of_whole_ones_are_bounded() -> None:
    field = Bitfield(max_pages=4)
    for page in range(1, 1000):
        field.set(2 * page * PAGE_BITS + 1)
        field.load_words(2 * page * PAGE_BITS, b"\x0f" * 4)
    assert field.count == 4 * 16
    for page in range(2000, 3000):
        field.set_range(2 * page * PAGE_BITS, (2 * page + 1) * PAGE_BITS)
        field.load_words((2 * page + 5000) * PAGE_BITS, b"\xff" * (PAGE_BITS // 8))
    assert field.count == 4 * 16 + 4 * PAGE_BITS
    field.discard_pages()
    field.set_range(1, 1 + 2**40)
    for page in range(1, 1000):
        field.set_range(2 * page * PAGE_BITS, (2 * page + 1) * PAGE_BITS, False)
    assert len(list(field.runs())) <= 6
    assert field.held_bytes < 8 * 5000


def test_mixed_pages_beyond_the_extent_are_not_stored() -> None:
    field = Bitfield()
    field.extent = 2 * PAGE_BITS
    field.set_range(5, 3 * PAGE_BITS + 5)
    field.set(10 * PAGE_BITS)
    assert list(field.runs()) == [(5, 3 * PAGE_BITS)]


def test_a_bounded_field_still_changes_the_pages_it_has() -> None:
    field = Bitfield(max_pages=1)
    field.set(3 * PAGE_BITS + 7)
    field.set_range(PAGE_BITS + 1, 4 * PAGE_BITS)
    assert list(field.runs()) == [(2 * PAGE_BITS, 4 * PAGE_BITS)]


@pytest.mark.parametrize("start", [1, 31, -32])
def test_words_start_at_a_word(start: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        Bitfield().words(start, 64)
    with pytest.raises(ValueError, match="multiple of 32"):
        Bitfield().load_words(start, b"")


def test_half_words_and_negative_bits_are_refused() -> None:
    field = Bitfield()
    with pytest.raises(ValueError, match="32-bit words"):
        field.load_words(0, b"abc")
    with pytest.raises(ValueError, match="below 0"):
        field.set(-1)
    with pytest.raises(ValueError, match="below 0"):
        field.set_range(-1, 5)
    with pytest.raises(ValueError, match="up to an end"):
        field.set_range(0, None)
    assert not field.get(-1)
