"""Datagrams that are sent together."""

from __future__ import annotations

from typing import NamedTuple

from .._types import Buffer
from .packet import FLAG_DATA, FLAG_END, HEADER_BYTES, SEQUENCE_MASK, first_word, pack_header
from .sender import PacketBatch

_DATA = first_word(FLAG_DATA)
_END = first_word(FLAG_END)
_DATA_END = first_word(FLAG_DATA | FLAG_END)


class Burst(NamedTuple):
    """Datagrams to send at once. Each is `len(buffers) / packets` neighbouring buffers; all but the last have
    `segment_size` bytes."""

    buffers: list[Buffer]
    segment_size: int
    packets: int


def data_burst(outgoing: PacketBatch, remote_id: int, window: int, ack: int) -> Burst:
    """The datagrams of `outgoing`, with a header each."""
    seqs, payloads, ends, padding = outgoing
    count = len(payloads)
    buffers: list[Buffer] = [b""] * (2 * count)
    buffers[::2] = [pack_header(_DATA, remote_id, window, seq & SEQUENCE_MASK, ack) for seq in seqs]
    buffers[1::2] = payloads
    if ends:
        word = _DATA_END if payloads[-1] else _END
        buffers[-2] = pack_header(word, remote_id, window, seqs[-1] & SEQUENCE_MASK, ack)
    if padding:
        word = first_word(FLAG_DATA, padding)
        header = pack_header(word, remote_id, window, seqs[0] & SEQUENCE_MASK, ack)
        buffers[:2] = (header, bytes(padding), payloads[0])
    return Burst(buffers, HEADER_BYTES + padding + len(payloads[0]), count)
