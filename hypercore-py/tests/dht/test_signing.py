"""Signed records against signatures of the official implementation, and what they are bound to."""

import pytest

from hypercore.crypto import KeyPair, blake2b_256
from hypercore.dht.address import Address
from hypercore.dht.constants import NS_ANNOUNCE, NS_UNANNOUNCE
from hypercore.dht.messages import Announce, MutablePut, PeerRecord
from hypercore.dht.signing import (
    announce_signable,
    mutable_signable,
    sign_announce,
    sign_mutable,
    sign_unannounce,
    verify_announce,
    verify_mutable,
    verify_unannounce,
)
from support.dht_vectors import load, params, unhex

VECTORS = {v["name"]: v for v in load("signed-records")}
ANNOUNCEMENTS = [v for v in VECTORS.values() if "announce" in v["name"]]


@pytest.mark.parametrize("vector", **params(ANNOUNCEMENTS))
def test_announcement_has_the_official_signature(vector):
    given = vector["inputs"]
    target, node_id, token = (unhex(given[k]) for k in ("target", "nodeId", "token"))
    message = Announce.decode(unhex(vector["output"]["requestValue"]))
    leaving = vector["name"] == "unannounce"
    namespace = NS_UNANNOUNCE if leaving else NS_ANNOUNCE
    assert namespace == unhex(given["namespace"])
    assert message.peer == PeerRecord.decode(unhex(given["peerEncoding"]))
    assert (
        announce_signable(namespace, target, node_id, token, message.peer, message.refresh).hex()
        == given["signable"]
    )
    assert message.signature.hex() == vector["output"]["signature"]
    verify = verify_unannounce if leaving else verify_announce
    assert verify(message, target=target, node_id=node_id, token=token)
    assert not verify(message, target=node_id, node_id=node_id, token=token)
    assert not verify(message, target=target, node_id=target, token=token)
    assert not verify(message, target=target, node_id=node_id, token=target)
    other = verify_announce if leaving else verify_unannounce
    assert not other(message, target=target, node_id=node_id, token=token)


@pytest.mark.parametrize("name", ["announce no relays", "announce 2 relays", "unannounce"])
def test_we_sign_what_the_official_implementation_signs(name):
    vector = VECTORS[name]
    given = vector["inputs"]
    key_pair = KeyPair.from_seed(unhex(given["seed"]))
    where = {k: unhex(given[v]) for k, v in (("target", "target"), ("node_id", "nodeId"), ("token", "token"))}
    if name == "unannounce":
        value = sign_unannounce(key_pair, **where)
    else:
        relays = PeerRecord.decode(unhex(given["peerEncoding"])).relay_addresses
        value = sign_announce(key_pair, relay_addresses=relays, **where)
    assert value.hex() == vector["output"]["requestValue"]


def test_mutable_record_has_the_official_signature():
    vector = VECTORS["mutable put"]
    given = vector["inputs"]
    key_pair = KeyPair.from_seed(unhex(given["seed"]))
    value = unhex(given["value"])
    assert mutable_signable(given["seq"], value).hex() == given["signable"]
    put = sign_mutable(key_pair, given["seq"], value)
    assert put.encode().hex() == vector["output"]["requestValue"]
    assert MutablePut.decode(put.encode()) == put
    assert blake2b_256(put.public_key).hex() == vector["output"]["target"]
    assert verify_mutable(put.public_key, put.seq, put.value, put.signature)
    assert not verify_mutable(put.public_key, put.seq + 1, put.value, put.signature)


def test_immutable_target_is_the_hash_of_the_value():
    vector = VECTORS["immutable put"]
    assert blake2b_256(unhex(vector["inputs"]["value"])).hex() == vector["output"]["target"]


def test_announcement_without_peer_or_signature_does_not_verify():
    where = {"target": bytes(32), "node_id": bytes(32), "token": bytes(32)}
    assert not verify_announce(Announce(signature=bytes(64)), **where)
    assert not verify_announce(Announce(peer=PeerRecord(public_key=bytes(32))), **where)


def test_relays_are_bound_by_the_signature():
    key_pair = KeyPair.from_seed(bytes(32))
    where = {"target": bytes(32), "node_id": bytes(32), "token": bytes(32)}
    message = Announce.decode(sign_announce(key_pair, relay_addresses=(Address("1.2.3.4", 5),), **where))
    assert verify_announce(message, **where)
    moved = Announce(peer=PeerRecord(public_key=key_pair.public_key), signature=message.signature)
    assert not verify_announce(moved, **where)
