"""A film that browsers play: WebM with one picture a second, and room between them."""

from __future__ import annotations

import struct
from typing import Final

PICTURE: Final = bytes.fromhex("3001009d012a010001000ec0fe25a400037000000000")
"""A key frame of VP8 (RFC 6386), one pixel."""
TIMESCALE: Final = 1_000_000
"""Nanoseconds of a unit of time: times are in milliseconds."""


def film(seconds: int, each: int) -> bytes:
    """`seconds` pictures, `each` bytes apart: a jump reads from another place of the file (RFC 9559).

    All sizes have eight bytes, so that places are known before they are written.
    """
    head = _element(
        0x1A45DFA3,
        _number(0x4286, 1), _number(0x42F7, 1), _number(0x42F2, 4), _number(0x42F3, 8),
        _element(0x4282, b"webm"), _number(0x4287, 4), _number(0x4285, 2),
    )  # fmt: skip
    about = _element(
        0x1549A966,
        _number(0x2AD7B1, TIMESCALE), _element(0x4489, struct.pack(">d", seconds * 1000.0)),
        _element(0x4D80, b"tests"), _element(0x5741, b"tests"),
    )  # fmt: skip
    shape = _element(0xE0, _number(0xB0, 1), _number(0xBA, 1))
    track = (_number(0xD7, 1), _number(0x73C5, 1), _number(0x83, 1), _element(0x86, b"V_VP8"))
    tracks = _element(0x1654AE6B, _element(0xAE, *track, shape))
    clusters = [_cluster(second, each) for second in range(seconds)]
    first = len(about) + len(tracks) + len(_index(0, clusters))
    return head + _element(0x18538067, about, tracks, _index(first, clusters), *clusters)


def _cluster(second: int, size: int) -> bytes:
    picture = _element(0xA3, b"\x81" + struct.pack(">hB", 0, 0x80), PICTURE)
    time = _number(0xE7, second * 1000)
    room = size - len(_element(0x1F43B675, time, picture)) - len(_element(0xEC))
    return _element(0x1F43B675, time, picture, _element(0xEC, bytes(room)))


def _index(first: int, clusters: list[bytes]) -> bytes:
    points, place = [], first
    for second, cluster in enumerate(clusters):
        where = _element(0xB7, _number(0xF7, 1), _number(0xF1, place))
        points.append(_element(0xBB, _number(0xB3, second * 1000), where))
        place += len(cluster)
    return _element(0x1C53BB6B, *points)


def _element(name: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = (1 << 56 | len(content)).to_bytes(8, "big")
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + size + content


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))
