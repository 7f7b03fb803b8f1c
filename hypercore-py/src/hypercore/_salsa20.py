"""The first 32 bytes of an XSalsa20 key stream.

PyNaCl has XSalsa20 only inside secretbox, which does not return these bytes. The rest of the stream comes
from libsodium (see `encryption.py`). Specification: D. J. Bernstein, "Extending the Salsa20 nonce" (2011).
"""

from __future__ import annotations

from struct import Struct

_WORDS8 = Struct("<8I")
_WORDS4 = Struct("<4I")
_SIGMA = _WORDS4.unpack(b"expand 32-byte k")
_MASK = 0xFFFFFFFF


def _rounds(words: tuple[int, ...]) -> tuple[int, ...]:  # noqa: PLR0915
    """The 20 rounds of Salsa20 over a matrix of 16 words.

    Written out, since this runs once or twice a block.
    """
    x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15 = words
    m = _MASK
    for _ in range(10):
        # columns
        n = (x0 + x12) & m
        x4 ^= n << 7 & m | n >> 25
        n = (x4 + x0) & m
        x8 ^= n << 9 & m | n >> 23
        n = (x8 + x4) & m
        x12 ^= n << 13 & m | n >> 19
        n = (x12 + x8) & m
        x0 ^= n << 18 & m | n >> 14
        n = (x5 + x1) & m
        x9 ^= n << 7 & m | n >> 25
        n = (x9 + x5) & m
        x13 ^= n << 9 & m | n >> 23
        n = (x13 + x9) & m
        x1 ^= n << 13 & m | n >> 19
        n = (x1 + x13) & m
        x5 ^= n << 18 & m | n >> 14
        n = (x10 + x6) & m
        x14 ^= n << 7 & m | n >> 25
        n = (x14 + x10) & m
        x2 ^= n << 9 & m | n >> 23
        n = (x2 + x14) & m
        x6 ^= n << 13 & m | n >> 19
        n = (x6 + x2) & m
        x10 ^= n << 18 & m | n >> 14
        n = (x15 + x11) & m
        x3 ^= n << 7 & m | n >> 25
        n = (x3 + x15) & m
        x7 ^= n << 9 & m | n >> 23
        n = (x7 + x3) & m
        x11 ^= n << 13 & m | n >> 19
        n = (x11 + x7) & m
        x15 ^= n << 18 & m | n >> 14
        # rows
        n = (x0 + x3) & m
        x1 ^= n << 7 & m | n >> 25
        n = (x1 + x0) & m
        x2 ^= n << 9 & m | n >> 23
        n = (x2 + x1) & m
        x3 ^= n << 13 & m | n >> 19
        n = (x3 + x2) & m
        x0 ^= n << 18 & m | n >> 14
        n = (x5 + x4) & m
        x6 ^= n << 7 & m | n >> 25
        n = (x6 + x5) & m
        x7 ^= n << 9 & m | n >> 23
        n = (x7 + x6) & m
        x4 ^= n << 13 & m | n >> 19
        n = (x4 + x7) & m
        x5 ^= n << 18 & m | n >> 14
        n = (x10 + x9) & m
        x11 ^= n << 7 & m | n >> 25
        n = (x11 + x10) & m
        x8 ^= n << 9 & m | n >> 23
        n = (x8 + x11) & m
        x9 ^= n << 13 & m | n >> 19
        n = (x9 + x8) & m
        x10 ^= n << 18 & m | n >> 14
        n = (x15 + x14) & m
        x12 ^= n << 7 & m | n >> 25
        n = (x12 + x15) & m
        x13 ^= n << 9 & m | n >> 23
        n = (x13 + x12) & m
        x14 ^= n << 13 & m | n >> 19
        n = (x14 + x13) & m
        x15 ^= n << 18 & m | n >> 14
    return x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15


def _matrix(key: bytes, middle: bytes) -> tuple[int, ...]:
    k, (s0, s1, s2, s3) = _WORDS8.unpack(key), _SIGMA
    return (s0, *k[:4], s1, *_WORDS4.unpack(middle), s2, *k[4:], s3)


def xsalsa20_first_bytes(key: bytes, nonce: bytes) -> bytes:
    """32 bytes of key stream for a key of 32 and a nonce of 24 bytes."""
    x = _rounds(_matrix(key, nonce[:16]))
    derived = _WORDS8.pack(x[0], x[5], x[10], x[15], *x[6:10])
    before = _matrix(derived, nonce[16:] + bytes(8))
    after = _rounds(before)
    return _WORDS8.pack(*((a + b) & _MASK for a, b in zip(before[:8], after[:8], strict=True)))
