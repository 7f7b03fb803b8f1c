"""Captured sessions of official nodes: every packet decodes, means what it should, and encodes back."""

import pytest

from hypercore.crypto import blake2b_256
from hypercore.dht.address import Address, decode_address
from hypercore.dht.constants import Command, Internal, Mode
from hypercore.dht.messages import Announce, Handshake, Holepunch, LookupReply, MutablePut, PeerRecord
from hypercore.dht.packet import Request, Response, decode_packet
from hypercore.dht.signing import verify_announce, verify_mutable, verify_unannounce
from support.dht_vectors import load, params, unhex

SESSIONS = load("dht-session")


def _packets(session):
    """(what the capture says, the packet), hole-punch bytes left out."""
    for packet in session["output"]["packets"]:
        if packet["what"] != "HOLEPUNCH/1-byte":
            yield packet, decode_packet(unhex(packet["hex"]))


def test_every_session_is_covered():
    assert len(SESSIONS) == 14
    assert sum(1 for s in SESSIONS for _ in _packets(s)) > 200


@pytest.mark.parametrize("session", **params(SESSIONS))
def test_captured_packets_decode_and_encode_back(session):
    for notified, packet in _packets(session):
        assert packet.encode().hex() == notified["hex"]
        assert packet.tid == notified["tid"]
        assert (packet.id is not None) == notified["idIncluded"]
        assert packet.token == unhex(notified["token"])
        name = notified["what"].split()[1]
        if isinstance(packet, Request):
            assert packet.target == unhex(notified["target"])
            assert (Internal if packet.internal else Command)(packet.command).name == name
        else:
            assert packet.error == notified["error"]
            assert len(packet.closer_nodes) == len(notified["closerNodes"] or ())


@pytest.mark.parametrize("session", **params(SESSIONS))
def test_captured_values_mean_what_the_capture_says(session):
    for notified, packet in _packets(session):
        value, name = notified["value"], notified["what"].split()[1]
        if value is None:
            assert packet.value is None
            continue
        if name == "PEER_HANDSHAKE":
            message = Handshake.decode(packet.value)
            assert (Mode(message.mode).name, len(message.noise)) == (value["mode"], value["noiseLen"])
            assert (message.peer_address is None) == (value["peerAddress"] is None)
            assert (message.relay_address is None) == (value["relayAddress"] is None)
        elif name == "PEER_HOLEPUNCH":
            message = Holepunch.decode(packet.value)
            assert (Mode(message.mode).name, message.id) == (value["mode"], value["id"])
            assert len(message.payload) == value["payloadLen"]
            assert (message.peer_address is None) == (value["peerAddress"] is None)
        elif name in ("ANNOUNCE", "UNANNOUNCE"):
            message = Announce.decode(packet.value)
            assert message.peer.public_key.hex() == value["publicKey"]
            assert len(message.peer.relay_addresses) == len(value["relayAddresses"])
            assert message.signature.hex() == value["signature"]
        elif name == "LOOKUP":
            message = LookupReply.decode(packet.value)
            assert [p.public_key.hex() for p in message.peers] == [p["publicKey"] for p in value["peers"]]
            assert message.bump == value["bump"]
        elif name == "FIND_PEER":
            assert PeerRecord.decode(packet.value).public_key.hex() == value["publicKey"]
        else:
            assert packet.value.hex() == value
            continue
        if name != "FIND_PEER":
            assert message.encode() == packet.value


def _node_ids(session):
    """Ids of the nodes that answered, by the token they gave out."""
    return {p.token: p.id for _, p in _packets(session) if isinstance(p, Response) and p.token and p.id}


@pytest.mark.parametrize("session", **params(SESSIONS))
def test_captured_signatures_hold(session):
    ids = _node_ids(session)
    for _, packet in _packets(session):
        if not isinstance(packet, Request) or packet.internal or packet.token not in ids:
            continue
        where = {"target": packet.target, "node_id": ids[packet.token], "token": packet.token}
        if packet.command == Command.ANNOUNCE:
            assert verify_announce(Announce.decode(packet.value), **where)
        elif packet.command == Command.UNANNOUNCE:
            assert verify_unannounce(Announce.decode(packet.value), **where)
        elif packet.command == Command.MUTABLE_PUT:
            put = MutablePut.decode(packet.value)
            assert blake2b_256(put.public_key) == packet.target
            assert verify_mutable(put.public_key, put.seq, put.value, put.signature)
        elif packet.command == Command.IMMUTABLE_PUT:
            assert blake2b_256(packet.value) == packet.target


def test_captures_hold_every_kind_of_signed_record():
    commands = {
        p.command for s in SESSIONS for _, p in _packets(s) if isinstance(p, Request) and not p.internal
    }
    assert commands >= {
        Command.ANNOUNCE,
        Command.UNANNOUNCE,
        Command.MUTABLE_PUT,
        Command.IMMUTABLE_PUT,
        Command.PEER_HANDSHAKE,
        Command.PEER_HOLEPUNCH,
    }


def test_responders_send_the_requester_its_address():
    for session in SESSIONS:
        for notified, packet in _packets(session):
            if isinstance(packet, Response):
                assert packet.to.host == "127.0.0.1"
                assert packet.to == Address("127.0.0.1", packet.to.port)
                assert decode_address(unhex(notified["hex"])[4:10]) == packet.to
