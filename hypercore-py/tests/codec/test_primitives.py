"""The primitive encodings, against official vectors and by their properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import MAX_SAFE_INTEGER, Reader, Writer, encode_uint
from hypercore.codec.reader import MAX_ARRAY_LENGTH
from hypercore.errors import FrameDecodeError, LocalProtocolError
from support.codec_cases import Json, assert_reads, load, uints, unhex

Write = Callable[[Writer, Any], object]
Read = Callable[[Reader], Any]


def words(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def from_hex(value: Any) -> Any:
    return unhex(value)


def as_is(value: Any) -> Any:
    return value


PRIMITIVES: dict[str, tuple[Write, Read, Callable[[Any], Any]]] = {
    "uint": (Writer.uint, Reader.uint, as_is),
    "int": (Writer.int_, Reader.int_, as_is),
    "uint64": (Writer.uint64, Reader.uint64, as_is),
    "buffer": (Writer.buffer, Reader.buffer, from_hex),
    "optionalBuffer": (
        Writer.optional_buffer,
        Reader.optional_buffer,
        lambda value: None if value is None else unhex(value),
    ),
    "string": (Writer.string, Reader.string, as_is),
    "uint32array": (Writer.uint32_array, Reader.uint32_array, words),
    "array(uint)": (lambda w, v: w.array(v, Writer.uint), lambda r: r.array(Reader.uint), as_is),
    "bool": (Writer.bool_, Reader.bool_, as_is),
    "fixed32": (Writer.fixed32, Reader.fixed32, from_hex),
}


@pytest.mark.parametrize(
    "case", [c for c in load("data/primitives") if "value" in c["inputs"]], ids=lambda case: case["name"]
)
def test_a_primitive_is_written_and_read_as_by_the_official_codec(case: Json) -> None:
    write, read, convert = PRIMITIVES[case["name"]]
    value, encoded = convert(case["inputs"]["value"]), unhex(case["output"])
    w = Writer()
    write(w, value)
    assert bytes(w) == encoded
    assert_reads(read, encoded, value)


def test_an_integer_longer_than_needed_is_read() -> None:
    case = next(c for c in load("data/primitives") if c["name"] == "uint-noncanonical")
    assert_reads(Reader.uint, unhex(case["inputs"]["hex"]), case["output"])


TRANSPORT: dict[str, tuple[Write, Read]] = {
    "uint": (Writer.uint, Reader.uint),
    "uint16": (Writer.uint16, Reader.uint16),
    "uint32": (Writer.uint32, Reader.uint32),
    "buffer": (Writer.buffer, Reader.buffer),
    "string": (Writer.string, Reader.string),
}


@pytest.mark.parametrize(
    "case",
    [c for c in load("transport/compact-encoding") if c["name"].split()[0] in TRANSPORT],
    ids=lambda case: case["name"],
)
def test_the_transport_vectors_are_written_and_read(case: Json) -> None:
    kind = case["name"].split()[0]
    write, read = TRANSPORT[kind]
    inputs = case["inputs"]
    value = inputs["n"] if "n" in inputs else inputs["value"]
    if kind == "buffer":
        value = unhex(value)
    w = Writer()
    write(w, value)
    assert bytes(w).hex() == case["output"]
    assert_reads(read, bytes(w), value)


@given(uints)
def test_uint_survives_a_round_trip_and_every_truncation(value: int) -> None:
    encoded = encode_uint(value)
    assert len(encoded) == (1 if value <= 0xFC else 3 if value <= 0xFFFF else 5 if value < 2**32 else 9)
    assert_reads(Reader.uint, encoded, value)


@given(st.integers(-(2**52), 2**52 - 1))
def test_int_survives_a_round_trip_and_every_truncation(value: int) -> None:
    assert_reads(Reader.int_, bytes(Writer().int_(value)), value)


@given(st.binary(max_size=300))
def test_buffers_survive_a_round_trip_and_every_truncation(value: bytes) -> None:
    assert_reads(Reader.buffer, bytes(Writer().buffer(value)), value)
    assert_reads(Reader.optional_buffer, bytes(Writer().optional_buffer(value)), value or None)


@given(st.text(max_size=50))
def test_strings_survive_a_round_trip_and_every_truncation(value: str) -> None:
    assert_reads(Reader.string, bytes(Writer().string(value)), value)


@given(st.lists(uints, max_size=20))
def test_arrays_survive_a_round_trip_and_every_truncation(values: list[int]) -> None:
    assert_reads(lambda r: r.array(Reader.uint), bytes(Writer().array(values, Writer.uint)), values)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_word_arrays_survive_a_round_trip_and_every_truncation(values: list[int]) -> None:
    assert_reads(Reader.uint32_array, bytes(Writer().uint32_array(words(values))), words(values))


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_fixed_width_integers_are_little_endian(bits: int) -> None:
    w = Writer()
    value = 0x0A0B0C0D & ((1 << bits) - 1)
    getattr(w, f"uint{bits}")(value)
    assert bytes(w) == value.to_bytes(bits // 8, "little")
    assert_reads(getattr(Reader, f"uint{bits}"), bytes(w), value)


def test_raw_bytes_take_the_rest() -> None:
    encoded = bytes(Writer().uint(7).raw(b"rest"))
    reader = Reader(encoded)
    assert reader.uint() == 7
    assert reader.rest() == b"rest"
    assert reader.rest() == b""
    assert len(Writer().raw(b"rest")) == 4


READERS: list[Read] = [read for _, read, _ in PRIMITIVES.values()] + [
    Reader.uint8,
    Reader.uint16,
    Reader.uint24,
    Reader.uint32,
    Reader.fixed64,
    Reader.rest,
    lambda r: r.array(Reader.string),
]


@given(st.sampled_from(READERS), st.binary(max_size=80))
def test_garbage_raises_only_frame_decode_error(read: Read, garbage: bytes) -> None:
    reader = Reader(garbage)
    try:
        read(reader)
    except FrameDecodeError:
        return
    assert 0 <= reader.pos <= reader.end


@given(st.binary(max_size=9))
def test_bools_are_true_only_for_one(garbage: bytes) -> None:
    if garbage:
        assert Reader(garbage).bool_() is (garbage[0] == 1)


def test_integers_beyond_2_to_the_53_are_refused_on_both_sides() -> None:
    for encoded in (b"\xff" + (MAX_SAFE_INTEGER + 1).to_bytes(8, "little"), b"\xff" * 9):
        with pytest.raises(FrameDecodeError):
            Reader(encoded).uint()
        with pytest.raises(FrameDecodeError):
            Reader(encoded[1:]).uint64()
    for value in (MAX_SAFE_INTEGER + 1, -1):
        with pytest.raises(LocalProtocolError):
            encode_uint(value)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(FrameDecodeError):
        Reader(b"\x02\xc3\x28").string()


def test_the_number_of_items_in_an_array_is_bounded() -> None:
    read: list[int] = []

    def item(r: Reader) -> int:
        read.append(r.uint8())
        return read[-1]

    body = bytes(MAX_ARRAY_LENGTH + 1)
    with pytest.raises(FrameDecodeError, match="at most"):
        Reader(encode_uint(MAX_ARRAY_LENGTH + 1) + body).array(item)
    with pytest.raises(FrameDecodeError, match="at most 3"):
        Reader(encode_uint(4) + body[:4]).array(item, limit=3)
    # No memory is taken for a promise
    with pytest.raises(FrameDecodeError):
        Reader(encode_uint(MAX_ARRAY_LENGTH) + b"\1").array(item)
    assert read == []
    assert Reader(encode_uint(3) + b"abc").array(item, limit=3) == [97, 98, 99]


def test_a_promised_length_takes_no_memory() -> None:
    for read in (Reader.buffer, Reader.uint32_array, Reader.string):
        with pytest.raises(FrameDecodeError):
            read(Reader(encode_uint(MAX_SAFE_INTEGER) + b"x"))


def test_a_writer_refuses_what_the_format_cannot_hold() -> None:
    with pytest.raises(LocalProtocolError):
        Writer().fixed32(bytes(31))
    with pytest.raises(LocalProtocolError):
        Writer().fixed64(bytes(65))
    with pytest.raises(LocalProtocolError):
        Writer().uint32_array(bytes(5))
