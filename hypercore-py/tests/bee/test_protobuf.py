"""The protobuf codec, and the messages of a bee, in front of good and of bad bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.bee.messages import (
    MAX_KEYS,
    MAX_NODES,
    BeeBlock,
    Child,
    Header,
    TreeNode,
    decode_node,
    encode_block,
)
from hypercore.bee.protobuf import (
    as_bytes,
    extend_packed,
    read_fields,
    read_varint,
    write_bytes,
    write_packed,
    write_varint,
)
from hypercore.errors import InvalidContent, LocalProtocolError

INTS = st.integers(0, 2**53 - 1)


@given(INTS)
def test_varint_survives_a_round_trip_and_every_truncation(value: int) -> None:
    out = bytearray()
    write_varint(out, value)
    assert read_varint(bytes(out), 0, len(out)) == (value, len(out))
    for size in range(len(out)):
        with pytest.raises(InvalidContent):
            read_varint(bytes(out[:size]), 0, size)


def test_varints_may_be_longer_than_needed_but_not_without_end() -> None:
    assert read_varint(b"\x81\x80\x80\x00", 0, 4) == (1, 4)
    with pytest.raises(InvalidContent, match="10 bytes"):
        read_varint(b"\x80" * 10 + b"\x00", 0, 11)
    with pytest.raises(InvalidContent, match="2\\^53"):
        read_varint(b"\xff" * 8 + b"\x01", 0, 9)


def test_integers_that_javascript_cannot_hold_are_not_written() -> None:
    for value in (-1, 2**53):
        with pytest.raises(LocalProtocolError):
            write_varint(bytearray(), value)


@given(st.lists(st.tuples(st.integers(1, 2**20), INTS | st.binary(max_size=300))))
def test_fields_survive_a_round_trip(fields: list[tuple[int, int | bytes]]) -> None:
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            write_varint(out, number << 3)  # wire type 0: a varint follows
            write_varint(out, value)
        else:
            write_bytes(out, number, value)
    assert list(read_fields(bytes(out))) == fields


def test_fixed_fields_are_skipped_over_and_groups_are_refused() -> None:
    assert list(read_fields(b"\x09" + bytes(8) + b"\x15" + bytes(4) + b"\x18\x07")) == [
        (1, bytes(8)),
        (2, bytes(4)),
        (3, 7),
    ]
    for wire_type in (3, 4, 6, 7):
        with pytest.raises(InvalidContent, match="wire type"):
            list(read_fields(bytes([1 << 3 | wire_type, 0])))


def test_a_field_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(InvalidContent):
        as_bytes(1)


@given(st.lists(INTS, max_size=40))
def test_packed_integers_survive_a_round_trip(values: list[int]) -> None:
    out = bytearray()
    write_packed(out, 1, values)
    found: list[int] = []
    for _, value in read_fields(bytes(out)):
        extend_packed(found, value, 40)
    assert found == values


@pytest.mark.parametrize("item", [b"\x01", b"\xff\x7f"])
def test_packed_integers_are_bounded(item: bytes) -> None:
    values: list[int] = []
    extend_packed(values, item * 8, 8)
    for more in (item, 1):
        with pytest.raises(InvalidContent, match="more than 8"):
            extend_packed(list(values), more, 8)
    with pytest.raises(InvalidContent, match="at most 8"):
        extend_packed([], item * 81, 8)


# --- messages


HEADERS = st.builds(
    Header,
    protocol=st.text(max_size=20),
    has_metadata=st.just(True),
    content_feed=st.none() | st.binary(max_size=40),
    user_data=st.none() | st.binary(max_size=40),
)


@given(HEADERS)
def test_header_survives_a_round_trip_and_every_truncation(header: Header) -> None:
    raw = header.encode()
    assert Header.decode(raw) == header
    for size in range(len(raw)):
        _only_invalid_content(Header.decode, raw[:size])


def test_header_without_metadata_is_not_one_with_empty_metadata() -> None:
    assert Header().encode() == b"\x0a\x08hyperbee"
    assert Header(has_metadata=True).encode() == b"\x0a\x08hyperbee\x12\x00"
    assert Header.decode(b"\x0a\x08hyperbee") != Header.decode(b"\x0a\x08hyperbee\x12\x00")


NODES = st.integers(0, MAX_KEYS).flatmap(
    lambda count: st.builds(
        TreeNode,
        st.lists(st.integers(1, 1000), min_size=count, max_size=count),
        st.just([])
        | st.lists(
            st.builds(Child, st.integers(1, 1000), st.integers(0, 300)),
            min_size=count + 1,
            max_size=count + 1,
        ),
    )
)


@given(st.binary(max_size=40), st.none() | st.binary(max_size=200), st.lists(NODES, max_size=6))
def test_block_survives_a_round_trip_and_every_truncation(
    key: bytes, value: bytes | None, nodes: list[TreeNode]
) -> None:
    raw = encode_block(key, value, nodes)
    block = BeeBlock.decode(1000, raw)
    assert (block.key, block.value, block.all_nodes()) == (key, value, nodes)
    assert [block.node(offset) for offset in range(len(nodes))] == nodes
    for size in range(len(raw)):
        _only_invalid_content(lambda data: BeeBlock.decode(1000, data), raw[:size])


@given(st.binary(max_size=200))
def test_garbage_raises_only_invalid_content(data: bytes) -> None:
    def decode_all(data: bytes) -> None:
        block = BeeBlock.decode(5, data)
        for offset in range(len(block.all_nodes())):
            block.node(offset)
        block.is_deletion()

    def decode_index(data: bytes) -> None:
        decode_all(encode_block(b"key", None, [])[2:] + bytes([0x0A, len(data) & 0x7F]) + data)

    for decode in (Header.decode, decode_all, decode_index, decode_node):
        _only_invalid_content(decode, data)


def test_references_past_the_block_and_to_the_header_are_refused() -> None:
    for seq in (0, 6, 2**53 - 1):
        for node in (TreeNode([seq], []), TreeNode([5], [Child(5, 1), Child(seq, 0)])):
            with pytest.raises(InvalidContent, match=f"refers to block {seq}$"):
                BeeBlock.decode(5, encode_block(b"", None, [node])).node(0)


def test_a_node_has_one_child_more_than_keys_or_none() -> None:
    for children in (1, 3):
        block = BeeBlock.decode(5, encode_block(b"", None, [TreeNode([1], [Child(1, 0)] * children)]))
        with pytest.raises(InvalidContent, match=f"1 keys and {children} children"):
            block.node(0)
    with pytest.raises(InvalidContent, match="half a reference"):
        decode_node(b"\x12\x03\x01\x00\x02")


def test_keys_of_a_node_are_bounded() -> None:
    assert decode_node(b"\x0a\x08" + b"\x01" * MAX_KEYS).keys == [1] * MAX_KEYS
    with pytest.raises(InvalidContent):
        decode_node(b"\x0a\x09" + b"\x01" * (MAX_KEYS + 1))
    with pytest.raises(InvalidContent):
        decode_node(b"\x12\x14" + b"\x01" * (2 * MAX_KEYS + 4))


def test_nodes_of_a_block_are_bounded() -> None:
    def block(count: int) -> BeeBlock:
        return BeeBlock.decode(5, encode_block(b"", None, [TreeNode([1], [])] * count))

    assert block(MAX_NODES).node(MAX_NODES - 1) == TreeNode([1], [])
    with pytest.raises(InvalidContent, match=f"more than {MAX_NODES}"):
        block(MAX_NODES + 1).node(0)
    with pytest.raises(InvalidContent, match="not a number 2"):
        block(2).node(2)


def test_a_block_needs_an_index_and_a_key() -> None:
    with pytest.raises(InvalidContent, match="no index"):
        BeeBlock.decode(1, b"\x12\x01a")
    with pytest.raises(InvalidContent, match="no key"):
        BeeBlock.decode(1, b"\x0a\x00")


def _only_invalid_content(decode: Callable[[bytes], object], data: bytes) -> None:
    with suppress(InvalidContent):
        decode(data)
