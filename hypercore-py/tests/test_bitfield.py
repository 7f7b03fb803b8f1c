"""Bitfield against a plain Python set, and against words that the official implementation put on the wire."""

from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bitfield import PAGE_BITS, Bitfield

VECTORS = json.loads((Path(__file__).parent / "vectors/data/bitfield.json").read_text())

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
        assert field.count_range(index, end) == sum(k in model for k in range(index, end))
        assert list(field.iter_unset(index, end)) == [k for k in range(index, end) if k not in model]
        start = index & ~31
        words = struct.unpack("<4I", field.words(start, start + 100))
        assert [words[k >> 5] >> (k & 31) & 1 for k in range(128)] == [start + k in model for k in range(128)]


@settings(max_examples=150, deadline=None)
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


def test_iter_unset_crosses_full_and_absent_pages() -> None:
    field = Bitfield()
    field.set_range(PAGE_BITS - 2, 3 * PAGE_BITS + 1)
    field.unset(2 * PAGE_BITS + 9)
    missing = list(field.iter_unset(PAGE_BITS - 4, 3 * PAGE_BITS + 3))
    edge = 3 * PAGE_BITS
    assert missing == [PAGE_BITS - 4, PAGE_BITS - 3, 2 * PAGE_BITS + 9, edge + 1, edge + 2]


def test_iter_unset_survives_bits_that_are_set_on_the_way() -> None:
    field = Bitfield()
    seen = []
    for index in field.iter_unset(0, 100):
        seen.append(index)
        field.set(index)
    assert seen == list(range(100))
    assert field.contiguous == 100


def test_a_prefix_of_any_length_takes_no_pages() -> None:
    tracemalloc.start()
    field = Bitfield()
    field.set_range(0, 2**53 - 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert field.count == field.contiguous == 2**53 - 1
    assert peak < 2000


def test_remote_ranges_are_bounded() -> None:
    field = Bitfield(max_pages=4)
    field.set_range(1, 2**53 - 1)
    assert field.count == 4 * PAGE_BITS - 1
    for page in range(4, 1000):
        assert not field.set(page * PAGE_BITS + 1)
        field.load_words(page * PAGE_BITS, b"\xff" * 4)
        field.set_range(page * PAGE_BITS, (page + 1) * PAGE_BITS)
    assert field.count == 4 * PAGE_BITS - 1
    assert field.first_set(4 * PAGE_BITS) is None


def test_clearing_a_long_prefix_of_a_bounded_field_stays_bounded() -> None:
    field = Bitfield(max_pages=4)
    field.set_range(0, 2**53 - 1)
    field.unset(0)
    assert field.contiguous == 0
    assert field.count == 4 * PAGE_BITS - 1


def test_a_bounded_field_still_changes_the_pages_it_has() -> None:
    field = Bitfield(max_pages=1)
    field.set(3 * PAGE_BITS + 7)
    field.set_range(PAGE_BITS, 4 * PAGE_BITS)
    assert list(field.runs()) == [(3 * PAGE_BITS, 4 * PAGE_BITS)]


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
