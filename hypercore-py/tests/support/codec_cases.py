"""How a message is tested: read whole, cut off at every byte, and with something behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol, Self, TypeVar

import pytest
from hypothesis import strategies as st

from hypercore.codec import Reader, Writer
from hypercore.errors import FrameDecodeError
from hypercore.manifest import Manifest, Prologue, Signer
from hypercore.node import Node

from .vectors import load as _load

Json = dict[str, Any]
T = TypeVar("T")
unhex = bytes.fromhex

TAIL = b"\xff\x00\xfd\x01"


class Message(Protocol):
    def encode(self, w: Writer) -> None: ...
    @classmethod
    def decode(cls, r: Reader) -> Self: ...


@cache
def load(family: str) -> list[Json]:
    """`data/keys`, `transport/hashes` and so on."""
    return _load(family)


def to_bytes(message: Message) -> bytes:
    w = Writer()
    message.encode(w)
    return bytes(w)


def assert_reads(
    read: Callable[[Reader], T],
    encoded: bytes,
    expected: T,
    *,
    short: Mapping[int, T] | None = None,
    tail: bytes = TAIL,
) -> None:
    """`encoded` reads as `expected`, wherever it lies in memory; no part of it reads at all.

    `short`: lengths at which older peers end the message, and what it then reads as. `tail` comes after it.
    """
    for kind in (bytes, bytearray, memoryview):
        reader = Reader(kind(encoded))
        assert read(reader) == expected
        assert reader.remaining == 0
    reader = Reader(TAIL + encoded + tail, len(TAIL))
    assert read(reader) == expected
    assert reader.remaining == len(tail)
    for size in range(len(encoded)):
        # Once as a short message, once as a part of a longer buffer that must not be looked into
        for reader in (Reader(encoded[:size]), Reader(encoded, 0, size)):
            if short and size in short:
                assert read(reader) == short[size]
            else:
                with pytest.raises(FrameDecodeError):
                    read(reader)


def assert_garbage_is_refused(cls: type[Message], garbage: bytes) -> None:
    """Garbage either raises FrameDecodeError, or means something that can be written and read again."""
    try:
        message = cls.decode(Reader(garbage))
    except FrameDecodeError:
        return
    assert cls.decode(Reader(to_bytes(message))) == message


# --- strategies

uints = st.one_of(
    st.integers(0, 300),
    st.integers(0, 2**53 - 1),
    st.sampled_from([0xFC, 0xFD, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x100000000, 2**53 - 1]),
)
hashes = st.binary(min_size=32, max_size=32)
nodes = st.builds(Node, uints, uints, hashes)
signers = st.builds(Signer, hashes, hashes)
prologues = st.builds(Prologue, hashes, uints)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    version = draw(st.integers(0, 3))
    keys = tuple(draw(st.lists(signers, max_size=3)))
    quorum, allow_patch = draw(uints), draw(st.booleans())
    if version == 0:
        if not keys and draw(st.booleans()):
            prologue = Prologue(draw(hashes), 0)
            return Manifest(version=0, quorum=0, signers=(), prologue=prologue)
        return Manifest(version=0, quorum=quorum, signers=keys, allow_patch=allow_patch)
    return Manifest(
        version=version,
        allow_patch=allow_patch,
        quorum=quorum,
        signers=keys,
        prologue=draw(st.none() | prologues),
        linked=draw(st.none() | st.lists(hashes, max_size=3).map(tuple)) if version > 1 else None,
        user_data=draw(st.none() | st.binary(max_size=20)) if version > 1 else None,
    )
