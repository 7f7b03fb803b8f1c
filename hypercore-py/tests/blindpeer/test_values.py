"""Every value of the protocol, against official bytes and by its properties."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.blindpeer import AddCoreRequest, AddedCore, CoreRecord, Cores, Hello, Notification, TopK
from hypercore.blindpeer.messages import (
    MAX_CORES_PER_MESSAGE,
    MAX_EXTRA_BYTES,
    MAX_NAME_BYTES,
    MAX_ROOM_BYTES,
    CoreRef,
    ErrorCode,
    read_added,
    read_error,
    write_added,
    write_error,
    write_ref,
)
from hypercore.blindpeer.rpc_values import ADMIN_ID, MAX_COUNTS
from hypercore.blindpeer.wakeup import WakeupHandshake, capability, write_lookup
from hypercore.codec import Reader, Writer
from hypercore.crypto import discovery_key, namespace
from hypercore.errors import FrameDecodeError
from support.codec_cases import (
    Json,
    assert_garbage_is_refused,
    assert_reads,
    hashes,
    load,
    to_bytes,
    uints,
    unhex,
)

OTHERS = ("mailbox-", "post-to-mailbox-", "resolve-peers-", "forward-push-", "proof-payload-", "blinding-key")
"""Values that a blind peer neither gets nor sends: retired ones, and those of routers and push gateways."""


def optional(value: str | None) -> bytes | None:
    return None if value is None else unhex(value)


def refs(values: list[Json]) -> tuple[CoreRef, ...]:
    return tuple(CoreRef(unhex(value["key"]), value["length"]) for value in values)


def cores(m: Json) -> Cores:
    return Cores(
        cores=refs(m["cores"]),
        referrer=optional(m.get("referrer")),
        priority=m.get("priority", 0),
        announce=m.get("announce", False),
    )


def request(m: Json) -> AddCoreRequest:
    return AddCoreRequest(
        key=unhex(m["key"]),
        referrer=optional(m.get("referrer")),
        priority=m.get("priority", 0),
        announce=m.get("announce", False),
    )


def record(m: Json) -> CoreRecord:
    return CoreRecord(
        key=unhex(m["key"]),
        length=m["length"],
        bytes_allocated=m["bytesAllocated"],
        updated=m["updated"],
        active=m["active"],
        priority=m["priority"],
        announce=m.get("announce", False),
        referrer=optional(m.get("referrer")),
        blocks_cleared=m.get("blocksCleared", 0),
        bytes_cleared=m.get("bytesCleared", 0),
    )


def top_k(m: Json) -> TopK:
    lists = [tuple((e["key"], e["count"]) for e in m[name]) for name in ("ip", "referrer", "peerPublicKey")]
    return TopK(addresses=lists[0], referrers=lists[1], peers=lists[2])


def hello(m: Json) -> Hello:
    names = ("blindPeeringVersion", "clientName", "clientVersion")
    return Hello(**dict(zip(Hello.__slots__, (m.get(name) or "" for name in names), strict=True)))


def notification(m: Json) -> Notification:
    return Notification(
        core=unhex(m["block"]["key"]),
        index=m["block"]["index"],
        room=unhex(m["destination"]["key"]),
        room_discovery_key=unhex(m["destination"]["discoveryKey"]),
        app_id=m.get("appId"),
        extra=optional(m.get("extra")),
    )


def added(m: Json) -> bytes:
    w = Writer()
    write_added(w, [AddedCore(unhex(c["key"]), c["length"], c["activated"]) for c in m["cores"]])
    return bytes(w)


def framed(number: int, value: bytes) -> bytes:
    return bytes(Writer().uint(number).buffer(value))


def error(m: Json) -> bytes:
    w = Writer()
    write_error(w, ErrorCode[m["code"]])
    return framed(m["id"], bytes(w))


def handshake(m: Json) -> bytes:
    return to_bytes(WakeupHandshake(capability=unhex(m["capability"]), active=m["active"]))


def lookup(m: Json) -> bytes:
    w = Writer()
    write_lookup(w, optional(m["hash"]))
    return bytes(w)


ENCODERS: list[tuple[str, str, Callable[[Any], bytes]]] = [
    ("muxer", "cores-", lambda m: to_bytes(cores(m))),
    ("encodings", "add-core-request-", lambda m: to_bytes(request(m))),
    ("encodings", "core-record-", lambda m: to_bytes(record(m))),
    ("encodings", "delete-core-request-", lambda m: unhex(m["key"])),
    ("encodings", "delete-core-response-", lambda m: bytes([m])),
    ("encodings", "top-k-response-", lambda m: to_bytes(top_k(m))),
    ("encodings", "admin-channel-id", lambda m: ADMIN_ID),
    ("newer", "handshake-", lambda m: to_bytes(hello(m))),
    ("newer", "add-cores-response-", added),
    ("newer", "notification-1.0", lambda m: to_bytes(notification(m))),
    ("newer", "request-add-cores", lambda m: framed(m["id"], to_bytes(cores(m)))),
    ("newer", "response-add-cores", lambda m: framed(m["id"], added(m))),
    ("newer", "request-send-notification", lambda m: framed(m["id"], to_bytes(notification(m)))),
    ("newer", "response-send-notification", lambda m: framed(m["id"], b"")),
    ("newer", "error-", error),
    ("wakeup", "handshake-", handshake),
    ("wakeup", "lookup-", lookup),
    ("wakeup", "announce-", lambda m: bytes(Writer().array(refs(m), write_ref))),
    ("wakeup", "info-", lambda m: bytes([m["active"]])),
    ("wakeup", "channel-id", lambda m: discovery_key(unhex(m))),
]
DECODERS: dict[str, tuple[Callable[[Reader], Any], Callable[[Json], Any]]] = {
    "cores-": (Cores.decode, cores),
    "add-core-request-": (AddCoreRequest.decode, request),
    "core-record-": (CoreRecord.decode, record),
    "top-k-response-": (TopK.decode, top_k),
    "handshake-": (Hello.decode, hello),
    "notification-": (Notification.decode, notification),
}


def cases() -> Iterator[tuple[str, Json]]:
    for family in ("muxer", "encodings", "newer", "wakeup"):
        for case in load(f"blindpeer/{family}")[1:]:
            yield family, case


def is_encoded(family: str, case: Json) -> bool:
    """Whether it has inputs that we write. Those of retired fields and older layouts are only read."""
    name = case["name"]
    if "decode-" in name or name.startswith(OTHERS) or "unframed" in name or "-deprecated" in name:
        return False
    return any(family == of and name.startswith(prefix) for of, prefix, _ in ENCODERS)


@pytest.mark.parametrize(
    ("family", "case"),
    [c for c in cases() if is_encoded(*c)],
    ids=lambda c: c if isinstance(c, str) else c["name"],
)
def test_a_value_has_the_official_bytes(family: str, case: Json) -> None:
    encode = next(e for of, prefix, e in ENCODERS if of == family and case["name"].startswith(prefix))
    assert encode(case["inputs"]).hex() == case["output"]


def decoders(family: str, case: Json) -> tuple[Callable[[Reader], Any], Callable[[Json], Any]] | None:
    if family == "wakeup" or not case["name"].startswith(tuple(DECODERS)):
        return None
    return next(d for prefix, d in DECODERS.items() if case["name"].startswith(prefix))


@pytest.mark.parametrize(
    ("family", "case"),
    [c for c in cases() if decoders(*c) is not None],
    ids=lambda c: c if isinstance(c, str) else c["name"],
)
def test_official_bytes_are_read_as_official_ends_read_them(family: str, case: Json) -> None:
    found = decoders(family, case)
    assert found is not None
    decode, convert = found
    output = case["output"]
    if isinstance(output, str):
        assert decode(Reader(unhex(output))) == convert(case.get("decoded") or case["inputs"])
    elif "error" in output:
        with pytest.raises(FrameDecodeError):
            decode(Reader(unhex(case["inputs"])))
    else:
        assert decode(Reader(unhex(case["inputs"]))) == convert(output["decoded"])


def test_every_other_official_value_is_one_that_a_blind_peer_never_meets() -> None:
    names = {
        case["name"]
        for family, case in cases()
        if not is_encoded(family, case) and decoders(family, case) is None and "unframed" not in case["name"]
    }
    assert {name for name in names if not name.startswith(OTHERS)} == {
        "namespaces", "capability-initiator", "capability-responder"
    }  # fmt: skip


def test_capabilities_are_the_official_ones() -> None:
    named = {case["name"]: case for _, case in cases()}
    assert [namespace("wakeup", i).hex() for i in (0, 1)] == named["namespaces"]["output"]
    for side in ("initiator", "responder"):
        case = named[f"capability-{side}"]
        inputs = case["inputs"]
        made = capability(
            unhex(inputs["key"]), unhex(inputs["handshakeHash"]), sender_is_initiator=inputs["initiator"]
        )
        assert made.hex() == case["output"]


def test_an_answer_is_read_as_it_was_written() -> None:
    cores = (AddedCore(b"\x01" * 32, 0, True), AddedCore(b"\x02" * 32, 43, False))
    w = Writer()
    write_added(w, cores)
    assert_reads(read_added, bytes(w), cores)
    w = Writer()
    write_error(w, ErrorCode.UNKNOWN_CORE)
    assert_reads(read_error, bytes(w), 5)


# --- bounds


def test_a_message_with_too_many_cores_is_refused_before_they_are_read() -> None:
    entry = bytes(32) + b"\x01"
    for count, fits in ((MAX_CORES_PER_MESSAGE, True), (MAX_CORES_PER_MESSAGE + 1, False)):
        reader = Reader(b"\x00" + bytes(Writer().uint(count)) + entry * count)
        if fits:
            assert len(Cores.decode(reader).cores) == count
        else:
            with pytest.raises(FrameDecodeError):
                Cores.decode(reader)
            assert reader.pos < 8


def test_long_texts_of_a_peer_are_cut() -> None:
    read = Hello.decode(Reader(to_bytes(Hello(version="v" * 5000, client="c" * 5000))))
    assert (len(read.version), len(read.client), read.client_version) == (MAX_NAME_BYTES, MAX_NAME_BYTES, "")
    made = Notification(
        core=bytes(32),
        index=1,
        room=bytes(32),
        room_discovery_key=bytes(500),
        app_id="a" * 999,
        extra=bytes(9999),
    )
    read_back = Notification.decode(Reader(to_bytes(made)))
    assert (len(read_back.room_discovery_key), len(read_back.app_id or "")) == (
        MAX_ROOM_BYTES,
        MAX_NAME_BYTES,
    )
    assert len(read_back.extra or b"") == MAX_EXTRA_BYTES


def test_a_list_of_counts_is_bounded() -> None:
    many = TopK(peers=tuple(("a", 1) for _ in range(MAX_COUNTS + 1)))
    with pytest.raises(FrameDecodeError):
        TopK.decode(Reader(to_bytes(many)))


# --- properties

references = st.lists(st.builds(CoreRef, hashes, uints), max_size=5).map(tuple)
names = st.text(min_size=1, max_size=20)
OPTIONAL, TEXTS = st.none() | hashes, st.text(max_size=9)
VALUES = st.one_of(
    st.builds(Cores, cores=references, referrer=OPTIONAL, priority=uints, announce=st.booleans()),
    st.builds(AddCoreRequest, key=hashes, referrer=OPTIONAL, priority=uints, announce=st.booleans()),
    st.builds(
        CoreRecord, key=hashes, length=uints, bytes_allocated=uints, updated=uints, active=uints,
        priority=uints, announce=st.booleans(), referrer=OPTIONAL, blocks_cleared=uints, bytes_cleared=uints,
    ),
    st.builds(Hello, version=TEXTS, client=TEXTS, client_version=TEXTS),
    st.builds(
        Notification, core=hashes, index=uints, room=hashes, room_discovery_key=st.binary(max_size=40),
        app_id=st.none() | names, extra=st.none() | st.binary(min_size=1, max_size=40),
    ),
    st.builds(TopK, addresses=st.lists(st.tuples(names, uints), max_size=3).map(tuple)),
    st.builds(WakeupHandshake, capability=hashes, active=st.booleans()),
)  # fmt: skip


@given(VALUES)
def test_a_value_is_read_as_it_was_written(value: Any) -> None:
    reader = Reader(to_bytes(value))
    assert type(value).decode(reader) == value
    assert reader.remaining == 0


@given(
    st.sampled_from([Cores, AddCoreRequest, CoreRecord, Hello, TopK, WakeupHandshake]),
    st.binary(max_size=200),
)
def test_garbage_is_refused_or_a_value(cls: Any, garbage: bytes) -> None:
    assert_garbage_is_refused(cls, garbage)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_an_answer(garbage: bytes) -> None:
    for read in (read_added, read_error, Notification.decode):
        try:
            read(Reader(garbage))
        except FrameDecodeError:
            continue
