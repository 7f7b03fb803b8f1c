"""libsodium's `crypto_secretstream_xchacha20poly1305` with few copies.

PyNaCl's own bindings encrypt into a scratch buffer and copy out of it. Here libsodium reads the received
buffer and fills the one for the wire or the application. That needs PyNaCl's private cffi handle; without it,
the public bindings do the same work somewhat slower. libsodium handles the padding quirk of the format (the
MAC pads by `length % 16` bytes).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from nacl import bindings  # also runs sodium_init, which picks the vectorised code of this CPU
from nacl.exceptions import CryptoError

from .._types import Buffer
from ..errors import RemoteProtocolError

_ffi: Any = None
_lib: Any = None
try:
    _sodium = import_module("nacl._sodium")
    _ffi, _lib = _sodium.ffi, _sodium.lib
except (ImportError, AttributeError):  # pragma: no cover - depends on how PyNaCl was built
    pass

KEY_BYTES = 32
HEADER_BYTES = 24
OVERHEAD_BYTES = 17
"""Bytes of a ciphertext beyond its plaintext: one tag byte and 16 bytes of MAC."""

_TAG_MESSAGE = 0
_STATE_BYTES: int = bindings.crypto_secretstream_xchacha20poly1305_STATEBYTES


class Push(Protocol):
    """The sending direction of a key and a header of 24 random bytes."""

    def encrypt(self, head: bytes, message: Buffer) -> bytes:
        """`head` as it is, then `len(message) + OVERHEAD_BYTES` bytes of ciphertext."""


class Pull(Protocol):
    """The receiving direction."""

    def decrypt(self, buffer: bytearray, start: int, end: int) -> bytes:
        """The plaintext of `buffer[start:end]`.

        Raises RemoteProtocolError when the ciphertext is too short or does not authenticate.
        """


class CffiPush:
    """`Push` on PyNaCl's cffi handle."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes, header: bytes) -> None:
        self._state = _cffi_state(key, header)

    def encrypt(self, head: bytes, message: Buffer) -> bytes:
        at, size = len(head), len(message)
        # No other code has a reference to these bytes yet, so they may be filled, as C code does. A bytearray
        # would have to be copied: output that waits to be sent is kept as bytes.
        out = bytes(at + size + OVERHEAD_BYTES)
        target = _ffi.from_buffer(out)
        _ffi.memmove(target, head, at)
        source = message if type(message) is bytes else _ffi.from_buffer(message)
        _lib.crypto_secretstream_xchacha20poly1305_push(
            self._state, target + at, _ffi.NULL, source, size, _ffi.NULL, 0, _TAG_MESSAGE
        )
        return out


class CffiPull:
    """`Pull` on PyNaCl's cffi handle."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes, header: bytes) -> None:
        self._state = _cffi_state(key, header)

    def decrypt(self, buffer: bytearray, start: int, end: int) -> bytes:
        size = end - start
        _check_length(size)
        out = bytes(
            size - OVERHEAD_BYTES
        )  # filled here, as in `CffiPush`; nothing is written unless the MAC fits
        with _ffi.from_buffer(buffer) as base:
            failed = _lib.crypto_secretstream_xchacha20poly1305_pull(
                self._state,
                _ffi.from_buffer(out),
                _ffi.NULL,
                _ffi.NULL,
                base + start,
                size,
                _ffi.NULL,
                0,
            )
        if failed:
            raise RemoteProtocolError("an encrypted message does not authenticate")
        return out


class BindingsPush:
    """`Push` on PyNaCl's public bindings."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes, header: bytes) -> None:
        self._state = _bindings_state(key, header)

    def encrypt(self, head: bytes, message: Buffer) -> bytes:
        return head + bindings.crypto_secretstream_xchacha20poly1305_push(self._state, bytes(message))


class BindingsPull:
    """`Pull` on PyNaCl's public bindings."""

    __slots__ = ("_state",)

    def __init__(self, key: bytes, header: bytes) -> None:
        self._state = _bindings_state(key, header)

    def decrypt(self, buffer: bytearray, start: int, end: int) -> bytes:
        _check_length(end - start)
        try:
            message, _ = bindings.crypto_secretstream_xchacha20poly1305_pull(
                self._state, bytes(buffer[start:end])
            )
        except CryptoError:
            raise RemoteProtocolError("an encrypted message does not authenticate") from None
        return message


def _check_length(size: int) -> None:
    if size < OVERHEAD_BYTES:
        raise RemoteProtocolError(f"an encrypted message of {size} bytes, the shortest has {OVERHEAD_BYTES}")


def _cffi_state(key: bytes, header: bytes) -> Any:
    """libsodium sets up both directions alike; only `init_pull` lets us choose the header."""
    _check_key(key, header)
    state = _ffi.new("unsigned char[]", _STATE_BYTES)
    _lib.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    return state


def _bindings_state(key: bytes, header: bytes) -> bindings.crypto_secretstream_xchacha20poly1305_state:
    _check_key(key, header)
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    return state


def _check_key(key: bytes, header: bytes) -> None:
    if len(key) != KEY_BYTES or len(header) != HEADER_BYTES:
        raise ValueError(f"a key of {KEY_BYTES} bytes and a header of {HEADER_BYTES} are needed")


def new_push(key: bytes, header: bytes) -> Push:
    """The fastest available sending direction."""
    return BindingsPush(key, header) if _lib is None else CffiPush(key, header)


def new_pull(key: bytes, header: bytes) -> Pull:
    """The fastest available receiving direction."""
    return BindingsPull(key, header) if _lib is None else CffiPull(key, header)
