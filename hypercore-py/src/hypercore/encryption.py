"""Block encryption, for holders of a core's encryption key. Seeding does not use it.

An encrypted block starts with 8 bytes of padding, the blinded fork number, which together with the block
number is the nonce of the cipher. The tree is built over the encrypted blocks. The cipher has no
authentication: a wrong key returns garbage. Source: hypercore lib/default-encryption.js (11.37.1), libsodium
crypto_stream (XSalsa20).
"""

from __future__ import annotations

from nacl.bindings import crypto_secretbox

from ._salsa20 import xsalsa20_first_bytes
from .crypto import blake2b_256, namespace
from .errors import RemoteProtocolError

PADDING = 8
"""Bytes in front of every encrypted block. Seeks leave them out."""

_DEFAULT_ENCRYPTION = namespace("hypercore", 5)
_HIDDEN = 32
"""Key-stream bytes that crypto_secretbox uses as the key of its authenticator and does not return."""
_MAC_BYTES = 16


class BlockCipher:
    """Encrypts and decrypts the blocks of one core.

    `encryption_key` is 32 bytes; `compat`: whether the core is a compat one, whose block key is derived in an
    older way.
    """

    __slots__ = ("_blinding_key", "_block_key")

    def __init__(self, core_key: bytes, encryption_key: bytes, *, compat: bool = False) -> None:
        if compat:
            self._block_key = blake2b_256(encryption_key, key=core_key)
        else:
            self._block_key = blake2b_256(_DEFAULT_ENCRYPTION, core_key, encryption_key)
        self._blinding_key = blake2b_256(self._block_key)

    def encrypt(self, index: int, fork: int, block: bytes) -> bytes:
        """The stored form of block number `index`, written on `fork`: 8 bytes longer."""
        place = index.to_bytes(8, "little")
        padding = _xor_stream(fork.to_bytes(8, "little"), place + bytes(16), self._blinding_key)
        return padding + _xor_stream(block, place + padding + bytes(8), self._block_key)

    def decrypt(self, index: int, block: bytes) -> bytes:
        """The content of a stored block. Raises RemoteProtocolError if it is shorter than the padding."""
        if len(block) < PADDING:
            raise RemoteProtocolError(f"block {index} is too short to be encrypted")
        nonce = index.to_bytes(8, "little") + block[:PADDING] + bytes(8)
        return _xor_stream(block[PADDING:], nonce, self._block_key)


def _xor_stream(data: bytes, nonce: bytes, key: bytes) -> bytes:
    """`data` xored with the XSalsa20 key stream.

    PyNaCl has no binding for the bare stream. Its secretbox is that stream from byte 32 on, with an
    authenticator in front that we drop, so only the first 32 bytes of the stream have to be computed here.
    """
    head, tail = data[:_HIDDEN], data[_HIDDEN:]
    stream = xsalsa20_first_bytes(key, nonce)
    start = int.from_bytes(head, "little") ^ int.from_bytes(stream[: len(head)], "little")
    return start.to_bytes(len(head), "little") + (
        crypto_secretbox(tail, nonce, key)[_MAC_BYTES:] if tail else b""
    )
