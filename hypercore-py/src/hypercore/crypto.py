"""Hashes, namespaces and signatures: the few primitives that every layer shares.

Source: holepunchto/hypercore-crypto index.js (3.7.0). BLAKE2b comes from hashlib, Ed25519 from libsodium
(PyNaCl). Which inputs are *keyed* hashes is easy to get wrong: the discovery key, stream ids, tokens and the
hole-punch secret are; namespaces, node ids, targets, leaves and parents are not.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import NamedTuple

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError, CryptoError

from ._types import Buffer

HASH_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def blake2b_256(*parts: Buffer, key: bytes = b"") -> bytes:
    """BLAKE2b with 32 bytes of output over the concatenation of `parts`, keyed if `key` is not empty."""
    if len(parts) == 1:
        return blake2b(parts[0], digest_size=32, key=key).digest()
    state = blake2b(digest_size=32, key=key)
    for part in parts:
        state.update(part)
    return state.digest()


@cache
def namespace(name: str, index: int) -> bytes:
    """The 32-byte domain separator number `index` under `name`."""
    return blake2b_256(blake2b_256(name.encode()) + bytes([index]))


def discovery_key(key: bytes) -> bytes:
    """The public name of a core: its DHT topic and channel id. It does not reveal the key."""
    return blake2b_256(b"hypercore", key=key)


class KeyPair(NamedTuple):
    """Ed25519. `secret_key` is libsodium's 64 bytes: seed, then public key."""

    public_key: bytes
    secret_key: bytes

    @property
    def seed(self) -> bytes:
        """The 32 bytes that it is made from."""
        return self.secret_key[:32]

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """The key pair of a 32-byte seed."""
        return cls(*crypto_sign_seed_keypair(seed))


def sign(message: bytes, secret_key: bytes) -> bytes:
    """A detached signature of 64 bytes."""
    return crypto_sign(message, secret_key)[:SIGNATURE_BYTES]


def verify(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether `signature` is `public_key`'s of `message`. Never raises for bad bytes."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except (BadSignatureError, CryptoError):
        return False
    return True
