"""Every message of a replication channel, against official bytes and by its properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import Reader, Writer
from hypercore.errors import FrameDecodeError
from hypercore.node import Node, read_node, write_node
from hypercore.wire.control import (
    BitfieldMessage,
    Cancel,
    Extension,
    NoData,
    Range,
    Sync,
    Unwant,
    Want,
)
from hypercore.wire.data import MAX_PROOF_NODES, Data, DataBlock, DataHash, DataSeek, DataUpgrade
from hypercore.wire.handshake import ChannelHandshake, capability
from hypercore.wire.registry import MESSAGES
from hypercore.wire.request import Request, RequestBlock, RequestHash, RequestSeek, RequestUpgrade
from support.codec_cases import (
    TAIL,
    Json,
    Message,
    assert_garbage_is_refused,
    assert_reads,
    hashes,
    load,
    manifests,
    nodes,
    to_bytes,
    uints,
    unhex,
)

OFFICIAL = [c for c in load("data/messages") if "type" in c["inputs"]]


# --- official messages


def maybe(value: Json | None, convert: Callable[[Json], Any]) -> Any:
    return None if value is None else convert(value)


def node_list(values: list[Json]) -> list[Node]:
    return [Node(value["index"], value["size"], unhex(value["hash"])) for value in values]


def sync(m: Json) -> Sync:
    return Sync(
        fork=m["fork"],
        length=m["length"],
        remote_length=m["remoteLength"],
        can_upgrade=m["canUpgrade"],
        uploading=m["uploading"],
        downloading=m["downloading"],
        has_manifest=m["hasManifest"],
        allow_push=m["allowPush"],
    )


def request(m: Json) -> Request:
    return Request(
        id=m["id"],
        fork=m["fork"],
        block=maybe(m["block"], lambda p: RequestBlock(p["index"], p["nodes"])),
        hash=maybe(m["hash"], lambda p: RequestHash(p["index"], p["nodes"])),
        seek=maybe(m["seek"], lambda p: RequestSeek(p["bytes"], p["padding"])),
        upgrade=maybe(m["upgrade"], lambda p: RequestUpgrade(p["start"], p["length"])),
        manifest=m["manifest"],
        priority=m["priority"],
    )


def data_upgrade(p: Json) -> DataUpgrade:
    signature = None if p["signature"] is None else unhex(p["signature"])
    more = node_list(p["additionalNodes"])
    return DataUpgrade(p["start"], p["length"], node_list(p["nodes"]), more, signature)


def data(m: Json) -> Data:
    assert m["manifest"] is None
    return Data(
        request=m["request"],
        fork=m["fork"],
        block=maybe(m["block"], lambda p: DataBlock(p["index"], unhex(p["value"]), node_list(p["nodes"]))),
        hash=maybe(m["hash"], lambda p: DataHash(p["index"], node_list(p["nodes"]))),
        seek=maybe(m["seek"], lambda p: DataSeek(p["bytes"], node_list(p["nodes"]))),
        upgrade=maybe(m["upgrade"], data_upgrade),
    )


def bitfield(m: Json) -> BitfieldMessage:
    return BitfieldMessage(
        start=m["start"], words=b"".join(word.to_bytes(4, "little") for word in m["bitfield"])
    )


CONVERT: dict[str, Callable[[Json], Any]] = {
    "sync": sync,
    "request": request,
    "cancel": lambda m: Cancel(request=m["request"]),
    "data": data,
    "noData": lambda m: NoData(request=m["request"], reason=m["reason"]),
    "want": lambda m: Want(start=m["start"], length=m["length"], any_=m["any"]),
    "unwant": lambda m: Unwant(start=m["start"], length=m["length"], any_=m["any"]),
    "bitfield": bitfield,
    "range": lambda m: Range(drop=m["drop"], start=m["start"], length=m["length"]),
    "extension": lambda m: Extension(name=m["name"], message=unhex(m["message"])),
    "handshake": lambda m: ChannelHandshake(seeks=m["seeks"], capability=unhex(m["capability"])),
}


def shorter_forms(message: Any, encoded: bytes) -> dict[int, Any]:
    """Where older peers end a message, and what it means then."""
    if isinstance(message, NoData):
        return {len(bytes(Writer().uint(message.request))): NoData(request=message.request)}
    if isinstance(message, Want) and message.any_:
        return {len(encoded) - 1: type(message)(start=message.start, length=message.length)}
    return {}


def check(message: Any) -> None:
    encoded = to_bytes(message)
    # A want without flags ends where a later byte would be its flags
    tail = b"" if isinstance(message, Want) and not message.any_ else TAIL
    assert_reads(type(message).decode, encoded, message, short=shorter_forms(message, encoded), tail=tail)


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: case["name"])
def test_a_message_has_the_official_bytes(case: Json) -> None:
    message = CONVERT[case["inputs"]["type"]](case["inputs"]["message"])
    assert to_bytes(message).hex() == case["output"]["hex"]
    assert type(message).decode(Reader(unhex(case["output"]["hex"]))) == message
    # What the official decoder makes of it is the same message
    assert CONVERT[case["inputs"]["type"]](case["output"]["decoded"]) == message


@pytest.mark.parametrize(
    "case", [c for c in OFFICIAL if c["inputs"]["type"] != "extension"], ids=lambda case: case["name"]
)
def test_an_official_message_cut_short_is_refused(case: Json) -> None:
    check(CONVERT[case["inputs"]["type"]](case["inputs"]["message"]))


def test_every_type_of_message_is_among_the_official_ones() -> None:
    assert {case["inputs"]["type"] for case in OFFICIAL} == set(CONVERT)


def test_no_data_of_old_peers_has_no_reason() -> None:
    case = next(c for c in load("data/messages") if c["name"] == "noData-v10")
    expected = NoData(request=case["output"]["request"], reason=case["output"]["reason"])
    assert NoData.decode(Reader(unhex(case["inputs"]["hex"]))) == expected


def test_type_ids_are_the_places_in_the_registry() -> None:
    assert [message.type_id for message in MESSAGES] == list(range(10))
    assert len(set(MESSAGES)) == 10


def test_a_range_of_length_one_omits_its_length() -> None:
    assert to_bytes(Range(start=5)) == b"\x02\x05"
    assert to_bytes(Range(start=5, length=2)) == b"\x00\x05\x02"


# --- the handshake


@pytest.mark.parametrize("case", [c for c in load("data/keys") if c["name"] == "replicate-capability"])
def test_capabilities_are_the_official_ones(case: Json) -> None:
    inputs = case["inputs"]
    made = capability(
        unhex(inputs["key"]), unhex(inputs["handshakeHash"]), sender_is_initiator=inputs["isInitiator"]
    )
    assert made.hex() == case["output"]


def test_the_channel_handshake_has_the_official_bytes() -> None:
    case = next(c for c in load("data/keys") if c["name"] == "channel-handshake")
    encoded = unhex(case["output"])
    assert to_bytes(ChannelHandshake(capability=encoded[1:])) == encoded
    check(ChannelHandshake(capability=encoded[1:]))
    assert not ChannelHandshake.decode(Reader(b"\0" + encoded[1:])).seeks


# --- properties

node_lists = st.lists(nodes, max_size=3)
STRATEGIES: dict[type[Message], st.SearchStrategy[Any]] = {
    Sync: st.builds(
        Sync,
        fork=uints,
        length=uints,
        remote_length=uints,
        can_upgrade=st.booleans(),
        uploading=st.booleans(),
        downloading=st.booleans(),
        has_manifest=st.booleans(),
        allow_push=st.booleans(),
    ),
    Request: st.builds(
        Request,
        id=uints,
        fork=uints,
        block=st.none() | st.builds(RequestBlock, uints, uints),
        hash=st.none() | st.builds(RequestHash, uints, uints),
        seek=st.none() | st.builds(RequestSeek, uints, uints),
        upgrade=st.none() | st.builds(RequestUpgrade, uints, uints),
        manifest=st.booleans(),
        priority=st.integers(0, 2),
    ),
    Cancel: st.builds(Cancel, request=uints),
    Data: st.builds(
        Data,
        request=uints,
        fork=uints,
        block=st.none() | st.builds(DataBlock, uints, st.binary(max_size=40), node_lists),
        hash=st.none() | st.builds(DataHash, uints, node_lists),
        seek=st.none() | st.builds(DataSeek, uints, node_lists),
        upgrade=st.none()
        | st.builds(
            DataUpgrade, uints, uints, node_lists, node_lists, st.none() | st.binary(min_size=1, max_size=68)
        ),
        manifest=st.none() | manifests(),
    ),
    NoData: st.builds(NoData, request=uints, reason=st.integers(0, 2)),
    Want: st.builds(Want, start=uints, length=uints, any_=st.booleans()),
    Unwant: st.builds(Unwant, start=uints, length=uints, any_=st.booleans()),
    BitfieldMessage: st.builds(
        BitfieldMessage, start=uints, words=st.binary(max_size=60).map(lambda b: b[: len(b) // 4 * 4])
    ),
    Range: st.builds(Range, start=uints, length=uints, drop=st.booleans()),
    ChannelHandshake: st.builds(ChannelHandshake, seeks=st.booleans(), capability=hashes),
}


def class_name(cls: type[Message]) -> str:
    return cls.__name__


@pytest.mark.parametrize("cls", STRATEGIES, ids=class_name)
@given(draw=st.data())
def test_a_message_survives_a_round_trip_and_every_truncation(
    cls: type[Message], draw: st.DataObject
) -> None:
    check(draw.draw(STRATEGIES[cls]))


@given(st.text(max_size=20), st.binary(max_size=40))
def test_an_extension_takes_the_rest_of_its_message(name: str, message: bytes) -> None:
    extension = Extension(name=name, message=message)
    encoded = to_bytes(extension)
    assert Extension.decode(Reader(encoded)) == extension
    start = len(encoded) - len(message)
    for size in range(len(encoded)):
        if size >= start:
            assert Extension.decode(Reader(encoded[:size])).message == message[: size - start]
        else:
            with pytest.raises(FrameDecodeError):
                Extension.decode(Reader(encoded[:size]))


@pytest.mark.parametrize("cls", [*MESSAGES, ChannelHandshake], ids=class_name)
@given(garbage=st.binary(max_size=200))
def test_garbage_raises_only_frame_decode_error(cls: type[Message], garbage: bytes) -> None:
    assert_garbage_is_refused(cls, garbage)


@pytest.mark.parametrize("cls", STRATEGIES, ids=class_name)
@given(draw=st.data(), at=st.integers(0, 2**16))
def test_a_flipped_bit_raises_only_frame_decode_error(
    cls: type[Message], draw: st.DataObject, at: int
) -> None:
    encoded = bytearray(to_bytes(draw.draw(STRATEGIES[cls])))
    encoded[(at >> 3) % len(encoded)] ^= 1 << (at & 7)
    assert_garbage_is_refused(cls, bytes(encoded))


@given(nodes)
def test_a_node_survives_a_round_trip_and_every_truncation(node: Node) -> None:
    w = Writer()
    write_node(w, node)
    assert_reads(read_node, bytes(w), node)


# --- bounds


def test_the_nodes_of_a_proof_are_bounded() -> None:
    largest = [Node(0, 0, bytes(32))] * MAX_PROOF_NODES
    more = [Node(0, 0, bytes(32))] * (MAX_PROOF_NODES + 1)
    makers: list[Callable[[list[Node]], Data]] = [
        lambda found: Data(request=1, fork=0, block=DataBlock(0, b"", found)),
        lambda found: Data(request=1, fork=0, hash=DataHash(0, found)),
        lambda found: Data(request=1, fork=0, seek=DataSeek(0, found)),
        lambda found: Data(request=1, fork=0, upgrade=DataUpgrade(0, 1, found, [], None)),
        lambda found: Data(request=1, fork=0, upgrade=DataUpgrade(0, 1, [], found, None)),
    ]
    for make in makers:
        assert Data.decode(Reader(to_bytes(make(largest)))) == make(largest)
        with pytest.raises(FrameDecodeError, match="at most"):
            Data.decode(Reader(to_bytes(make(more))))
