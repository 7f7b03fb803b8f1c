"""Signatures on records, so that storing nodes need not be trusted.

Source: hyperdht lib/persistent.js `annSignable`, `signMutable` (6.34.0). An announcement is signed for one
target, one storing node and one token: it cannot be replayed elsewhere or later.
"""

from __future__ import annotations

from ..codec import Writer
from ..crypto import KeyPair, blake2b_256, sign, verify
from .address import Address
from .constants import NS_ANNOUNCE, NS_MUTABLE_PUT, NS_UNANNOUNCE
from .messages.records import Announce, MutablePut, PeerRecord


def announce_signable(
    namespace: bytes, target: bytes, node_id: bytes, token: bytes, peer: PeerRecord, refresh: bytes | None
) -> bytes:
    """The 64 bytes that are signed: a namespace, then the hash of everything the record is bound to."""
    return namespace + blake2b_256(target, node_id, token, peer.encode(), refresh or b"")


def sign_announce(
    key_pair: KeyPair,
    *,
    target: bytes,
    node_id: bytes,
    token: bytes,
    relay_addresses: tuple[Address, ...] = (),
    bump: int = 0,
) -> bytes:
    """The value of an ANNOUNCE to the node `node_id`, which gave out `token` in the last 7.5 seconds."""
    return _signed(NS_ANNOUNCE, key_pair, target, node_id, token, relay_addresses, bump)


def sign_unannounce(key_pair: KeyPair, *, target: bytes, node_id: bytes, token: bytes) -> bytes:
    """The value of an UNANNOUNCE."""
    return _signed(NS_UNANNOUNCE, key_pair, target, node_id, token, (), 0)


def _signed(
    namespace: bytes,
    key_pair: KeyPair,
    target: bytes,
    node_id: bytes,
    token: bytes,
    relay_addresses: tuple[Address, ...],
    bump: int,
) -> bytes:
    peer = PeerRecord(public_key=key_pair.public_key, relay_addresses=relay_addresses)
    signable = announce_signable(namespace, target, node_id, token, peer, None)
    return Announce(peer=peer, signature=sign(signable, key_pair.secret_key), bump=bump).encode()


def verify_announce(message: Announce, *, target: bytes, node_id: bytes, token: bytes) -> bool:
    """Whether the announced peer signed this for us."""
    return _verified(NS_ANNOUNCE, message, target, node_id, token)


def verify_unannounce(message: Announce, *, target: bytes, node_id: bytes, token: bytes) -> bool:
    return _verified(NS_UNANNOUNCE, message, target, node_id, token)


def _verified(namespace: bytes, message: Announce, target: bytes, node_id: bytes, token: bytes) -> bool:
    if message.peer is None or message.signature is None:
        return False
    signable = announce_signable(namespace, target, node_id, token, message.peer, message.refresh)
    return verify(signable, message.signature, message.peer.public_key)


def mutable_signable(seq: int, value: bytes) -> bytes:
    """`seq` and `value` as they travel, hashed under the namespace."""
    return NS_MUTABLE_PUT + blake2b_256(bytes(Writer().uint(seq).buffer(value)))


def sign_mutable(key_pair: KeyPair, seq: int, value: bytes) -> MutablePut:
    return MutablePut(
        public_key=key_pair.public_key,
        seq=seq,
        value=value,
        signature=sign(mutable_signable(seq, value), key_pair.secret_key),
    )


def verify_mutable(public_key: bytes, seq: int, value: bytes, signature: bytes) -> bool:
    return verify(mutable_signable(seq, value), signature, public_key)
