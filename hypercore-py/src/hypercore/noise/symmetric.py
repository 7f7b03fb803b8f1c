"""The symmetric half of Noise: hash chain, key derivation and the handshake cipher.

Source: the Noise specification (revision 34) sections 4.3, 5.1 and 5.2 with HASHLEN 64; noise-handshake
symmetric-state.js, hkdf.js and hmac.js (4.2.0).
"""

from __future__ import annotations

from hashlib import blake2b

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from ..errors import HandshakeError

HASH_BYTES = 64
HMAC_BLOCK_BYTES = 128
KEY_BYTES = 32
TAG_BYTES = 16

_INNER = bytes(value ^ 0x36 for value in range(256))
_OUTER = bytes(value ^ 0x5C for value in range(256))


def hmac_blake2b(key: bytes, data: bytes) -> bytes:
    """HMAC over unkeyed BLAKE2b-512; `key` is at most one block of 128 bytes."""
    block = key.ljust(HMAC_BLOCK_BYTES, b"\0")
    inner = blake2b(block.translate(_INNER) + data).digest()
    return blake2b(block.translate(_OUTER) + inner).digest()


def hkdf2(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Two outputs of 64 bytes each."""
    secret = hmac_blake2b(chaining_key, material)
    first = hmac_blake2b(secret, b"\x01")
    return first, hmac_blake2b(secret, first + b"\x02")


class SymmetricState:
    """Chaining key, transcript hash and, once keys were mixed, a cipher with its counter."""

    __slots__ = ("_counter", "_key", "chaining_key", "hash")

    def __init__(self, protocol_name: bytes, prologue: bytes) -> None:
        self.hash = protocol_name.ljust(HASH_BYTES, b"\0")
        self.chaining_key = self.hash
        self._key: bytes | None = None
        self._counter = 0
        self.mix_hash(prologue)

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def mix_hash(self, data: bytes) -> None:
        self.hash = blake2b(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = hkdf2(self.chaining_key, material)
        self._key = key[:KEY_BYTES]
        self._counter = 0

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """`plaintext` itself before the first key; after it 16 bytes longer."""
        ciphertext = plaintext
        if self._key is not None:
            ciphertext = crypto_aead_chacha20poly1305_ietf_encrypt(
                plaintext, self.hash, self._next_nonce(), self._key
            )
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """The reverse. Raises HandshakeError when the tag does not hold."""
        plaintext = ciphertext
        if self._key is not None:
            if len(ciphertext) < TAG_BYTES:
                raise HandshakeError("a sealed part of the handshake is shorter than its tag")
            try:
                plaintext = crypto_aead_chacha20poly1305_ietf_decrypt(
                    ciphertext, self.hash, self._next_nonce(), self._key
                )
            except CryptoError:
                raise HandshakeError("the handshake does not authenticate") from None
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The two transport keys of 32 bytes: the initiator's sending key first."""
        first, second = hkdf2(self.chaining_key, b"")
        return first[:KEY_BYTES], second[:KEY_BYTES]

    def _next_nonce(self) -> bytes:
        nonce = bytes(4) + self._counter.to_bytes(8, "little")
        self._counter += 1
        return nonce
