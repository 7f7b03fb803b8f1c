"""Diffie-Hellman on the Edwards curve, with ordinary signing keys.

Source: holepunchto/noise-curve-ed index.js (2.1.0). There is no conversion to X25519: the shared secret is
the compressed Edwards encoding of `scalar * point`.
"""

from __future__ import annotations

from hashlib import sha512

from nacl.bindings import crypto_scalarmult_ed25519_noclamp
from nacl.exceptions import CryptoError

from ..crypto import KeyPair
from ..errors import HandshakeError

DH_BYTES = 32


def secret_scalar(key_pair: KeyPair) -> bytes:
    """The clamped 32-byte scalar of a signing key: the first half of SHA-512 of its seed."""
    scalar = bytearray(sha512(key_pair.seed).digest()[:32])
    scalar[0] &= 248
    scalar[31] &= 127
    scalar[31] |= 64
    return bytes(scalar)


def diffie_hellman(key_pair: KeyPair, remote_public_key: bytes) -> bytes:
    """The 32-byte shared secret.

    Raises HandshakeError when the remote key is not a canonical point of the prime-order group.
    """
    try:
        return crypto_scalarmult_ed25519_noclamp(secret_scalar(key_pair), remote_public_key)
    except CryptoError:
        raise HandshakeError("the remote key is not a valid curve point") from None
