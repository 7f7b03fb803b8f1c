"""The values inside requests and responses against what the official encoder makes of them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.codec import Reader, Writer
from hypercore.crypto import blake2b_256
from hypercore.dht.address import MAX_ADDRESSES, Address
from hypercore.dht.messages import (
    Announce,
    Handshake,
    Holepunch,
    HolepunchInfo,
    HolepunchPayload,
    LookupReply,
    MutablePut,
    MutableRecord,
    NoisePayload,
    Pair,
    PeerRecord,
    PluginRequest,
    RelayInfo,
    RelayThrough,
    SecurePayload,
    UdxInfo,
    Unpair,
)
from hypercore.dht.messages.records import MAX_PEERS_PER_REPLY
from hypercore.dht.signing import mutable_signable
from hypercore.errors import FrameDecodeError
from support.dht_strategies import messages, peers, small
from support.dht_vectors import address, addresses, load, params, unhex

VECTORS = load("hyperdht-messages")


def _handshake(v):
    return Handshake(
        mode=v["mode"],
        noise=unhex(v["noise"]),
        peer_address=address(v.get("peerAddress")),
        relay_address=address(v.get("relayAddress")),
    )


def _noise_payload(v):
    udx, punch, through = v["udx"], v["holepunch"], v["relayThrough"]
    relays = v.get("relayAddresses")
    return NoisePayload(
        error=v["error"],
        firewall=v["firewall"],
        holepunch=punch
        and HolepunchInfo(
            punch["id"],
            tuple(RelayInfo(address(r["relayAddress"]), address(r["peerAddress"])) for r in punch["relays"]),
        ),
        addresses4=addresses(v["addresses4"]),
        addresses6=tuple(
            Address("2001:db8:0:0:0:0:0:1" if a["host"] == "2001:db8::1" else a["host"], a["port"])
            for a in v["addresses6"] or ()
        ),
        udx=udx and UdxInfo(id=udx["id"], seq=udx["seq"], reusable_socket=udx["reusableSocket"]),
        secret_stream=None if v["secretStream"] is None else 1,
        relay_through=through and RelayThrough(unhex(through["publicKey"]), unhex(through["token"])),
        relay_addresses=None if relays is None else addresses(relays),
    )


def _holepunch(v):
    return Holepunch(
        mode=v["mode"], id=v["id"], payload=unhex(v["payload"]), peer_address=address(v["peerAddress"])
    )


def _holepunch_payload(v):
    return HolepunchPayload(
        error=v["error"],
        firewall=v["firewall"],
        round=v["round"],
        connected=v["connected"],
        punching=v["punching"],
        addresses=None if v["addresses"] is None else addresses(v["addresses"]),
        remote_address=address(v["remoteAddress"]),
        token=unhex(v["token"]),
        remote_token=unhex(v["remoteToken"]),
    )


def _peer(v):
    return PeerRecord(public_key=unhex(v["publicKey"]), relay_addresses=addresses(v["relayAddresses"]))


def _lookup(v):
    return LookupReply(peers=tuple(PeerRecord.decode(unhex(p)) for p in v["peers"]), bump=v["bump"])


def _announce(v):
    return Announce(
        peer=v["peer"] and _peer(v["peer"]),
        refresh=unhex(v["refresh"]),
        signature=unhex(v["signature"]),
        bump=v["bump"],
    )


def _mutable_put(v):
    return MutablePut(
        public_key=unhex(v["publicKey"]),
        seq=v["seq"],
        value=unhex(v["value"]),
        signature=unhex(v["signature"]),
    )


def _mutable_record(v):
    return MutableRecord(seq=v["seq"], value=unhex(v["value"]), signature=unhex(v["signature"]))


def _plugin(v):
    return PluginRequest(
        plugin=v["plugin"], version=v["version"], command=v["command"], value=unhex(v["value"])
    )


# Longest prefix of the vector's name wins
BUILDERS = {
    "handshake": _handshake,
    "noisePayload": _noise_payload,
    "holepunch": _holepunch,
    "holepunchPayload": _holepunch_payload,
    "peer": _peer,
    "lookup reply": _lookup,
    "announce": _announce,
    "mutablePutRequest": _mutable_put,
    "mutableGetResponse": _mutable_record,
    "pluginRequest": _plugin,
}


def _builder(name):
    return BUILDERS.get(max((k for k in BUILDERS if name.startswith(k)), key=len, default=""))


MESSAGES = [v for v in VECTORS if _builder(v["name"])]
OTHERS = {v["name"]: v for v in VECTORS if not _builder(v["name"])}


def test_every_vector_is_covered():
    assert len(VECTORS) == 35
    assert set(OTHERS) == {"encrypted holepunch payload", "mutableSignable"}


@pytest.mark.parametrize("vector", **params(MESSAGES))
def test_message_has_the_official_bytes(vector):
    wire = unhex(vector["output"])
    message = _builder(vector["name"])(vector["inputs"])
    assert message.encode() == wire
    assert type(message).decode(wire) == message


def test_lookup_reply_of_an_older_node_has_no_bump():
    vector = next(v for v in VECTORS if v["name"] == "lookup reply")
    wire = unhex(vector["output"])
    assert LookupReply.decode(wire[:-1]) == LookupReply.decode(wire)


def test_payload_of_another_version_decodes_to_its_version_alone():
    assert NoisePayload.decode(b"\x02\xff\xff") == NoisePayload(version=2)


def test_mutable_signable_hashes_the_official_bytes():
    vector = OTHERS["mutableSignable"]
    signable = mutable_signable(vector["inputs"]["seq"], unhex(vector["inputs"]["value"]))
    assert signable[32:] == blake2b_256(unhex(vector["output"]))


def test_sealed_payload_has_the_official_bytes():
    vector = OTHERS["encrypted holepunch payload"]
    given_ = vector["inputs"]
    nonce = unhex(given_["nonce"])
    box = SecurePayload(unhex(given_["holepunchSecret"]), lambda size: nonce if size == 24 else bytes(size))
    payload = HolepunchPayload.decode(unhex(given_["plaintext"]))
    assert box.seal(payload).hex() == vector["output"]
    assert box.open(unhex(vector["output"])) == payload


def test_payload_that_was_touched_does_not_open():
    box = SecurePayload(bytes(32), lambda size: bytes(size))
    sealed = bytearray(box.seal(HolepunchPayload()))
    sealed[-1] ^= 1
    for broken in (bytes(sealed), b"", sealed[:24], sealed[:30]):
        with pytest.raises(FrameDecodeError):
            box.open(bytes(broken))


@pytest.mark.parametrize("vector", **params(load("blind-relay")))
def test_blind_relay_message_has_the_official_bytes(vector):
    given_, wire = vector["inputs"], unhex(vector["output"])
    if "id" in given_:
        message = Pair(
            is_initiator=given_["isInitiator"],
            token=unhex(given_["token"]),
            id=given_["id"],
            seq=given_["seq"],
        )
    else:
        message = Unpair(token=unhex(given_["token"]))
    w = Writer()
    message.encode(w)
    assert bytes(w) == wire
    assert type(message).decode(Reader(wire)) == message
    for size in range(len(wire)):
        with pytest.raises(FrameDecodeError):
            type(message).decode(Reader(wire[:size]))


@given(messages | st.builds(LookupReply, peers=st.lists(peers, max_size=4).map(tuple), bump=small))
def test_message_survives_a_round_trip_and_a_longer_tail(message):
    wire = message.encode()
    assert type(message).decode(wire) == message
    assert type(message).decode(wire + b"tail") == message


@given(messages)
def test_every_truncation_of_a_message_is_refused(message):
    wire = message.encode()
    for size in range(len(wire)):
        with pytest.raises(FrameDecodeError):
            type(message).decode(wire[:size])


ALL = (
    Announce,
    Handshake,
    Holepunch,
    HolepunchPayload,
    LookupReply,
    MutablePut,
    MutableRecord,
    NoisePayload,
    PeerRecord,
    PluginRequest,
)


@given(st.sampled_from(ALL), st.binary(max_size=200))
def test_garbage_raises_only_frame_decode_error(kind, garbage):
    with suppress(FrameDecodeError):
        kind.decode(garbage)


def test_lookup_reply_with_too_many_records_is_refused():
    record = PeerRecord(public_key=bytes(32))
    assert LookupReply.decode(LookupReply(peers=(record,) * MAX_PEERS_PER_REPLY).encode())
    with pytest.raises(FrameDecodeError):
        LookupReply.decode(LookupReply(peers=(record,) * (MAX_PEERS_PER_REPLY + 1)).encode())


def test_list_with_too_many_addresses_is_refused():
    here = Address("1.2.3.4", 5)
    with pytest.raises(FrameDecodeError):
        PeerRecord.decode(
            PeerRecord(public_key=bytes(32), relay_addresses=(here,) * (MAX_ADDRESSES + 1)).encode()
        )
