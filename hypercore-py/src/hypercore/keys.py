"""Text forms of keys.

Source: holepunchto/hypercore-id-encoding index.js and z32. The official decoder accepts 64 hex digits, 52
z-base-32 characters and `pear://` links; here `hyper://` and `dat://` links are accepted as well. A key does
not show whether it names a core, a bee or a drive: the content does.
"""

from __future__ import annotations

import re
from base64 import b32encode

from .errors import KeyFormatError

Z32_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_Z32_VALUES = {letter: value for value, letter in enumerate(Z32_ALPHABET)}
_FROM_BASE32 = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", Z32_ALPHABET.encode("ascii"))
"""The two differ in their letters alone, but for padding."""
_SCHEMES = ("hyper://", "pear://", "dat://")
_HEX = re.compile(r"[0-9a-fA-F]{64}")

EXPECTED = "64 hex digits, 52 z-base-32 characters, or a hyper://, pear:// or dat:// link to one"


def z32_encode(data: bytes) -> str:
    """z-base-32, most significant bit first; 32 bytes become 52 characters."""
    return b32encode(data).rstrip(b"=").translate(_FROM_BASE32).decode("ascii")


def z32_decode(text: str) -> bytes:
    """The reverse of `z32_encode`. Raises KeyFormatError for letters outside the (lower-case) alphabet."""
    value = 0
    for letter in text:
        digit = _Z32_VALUES.get(letter)
        if digit is None:
            raise KeyFormatError(f"{letter!r} is not a z-base-32 letter")
        value = value << 5 | digit
    size = len(text) * 5 // 8
    pad = len(text) * 5 - size * 8
    if value & ((1 << pad) - 1):
        raise KeyFormatError("the z-base-32 text does not end on a byte (is its last letter right?)")
    return (value >> pad).to_bytes(size, "big")


def decode_key(text: str) -> bytes:
    """The 32 bytes of a key in any form. Raises KeyFormatError with what was expected."""
    key = text.strip()
    lowered = key.lower()
    for scheme in _SCHEMES:
        if lowered.startswith(scheme):
            key = re.split(r"[/?#]", key[len(scheme) :], maxsplit=1)[0]
            # hyper links may name a version: <fork>.<length>.<key>, or <key>+<version>
            key = key.rsplit(".", 1)[-1].split("+", 1)[0]
            break
    if _HEX.fullmatch(key):
        return bytes.fromhex(key)
    if len(key) == 52:
        try:
            return z32_decode(key)
        except KeyFormatError as error:
            raise KeyFormatError(f"{_shown(text)} is not a key: {error}; expected {EXPECTED}") from None
    raise KeyFormatError(f"{_shown(text)} is not a key: expected {EXPECTED}")


def encode_key(key: bytes) -> str:
    """The form that official tools print: 52 z-base-32 characters."""
    if len(key) != 32:
        raise KeyFormatError(f"a key is 32 bytes, got {len(key)}")
    return z32_encode(key)


def short_key(key: bytes) -> str:
    """The beginning of that form, for people."""
    return f"{encode_key(key)[:10]}…"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 72 else text[:69] + "...")
