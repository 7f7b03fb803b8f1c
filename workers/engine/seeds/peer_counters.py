"""Peers that replicate a key and the bytes exchanged. Totals stay when peers leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..model.interfaces import RemotePeer


class PeerDelta(NamedTuple):
    """A peer opened (`open`) or closed."""

    public_key: bytes
    open: bool
    bytes_in: int
    bytes_out: int


class PeerAmounts(NamedTuple):
    """Bytes of blocks exchanged with a peer of the key."""

    public_key: bytes
    bytes_in: int
    bytes_out: int


class _Known:
    """One remote, over all cores of the key and all its connections so far."""

    __slots__ = ("channels", "gone_in", "gone_out")

    def __init__(self) -> None:
        self.channels: dict[int, RemotePeer] = {}
        """By `id()`, which is unique as long as we hold them."""
        self.gone_in = 0
        self.gone_out = 0

    def ignore_closed(self, current: Mapping[int, RemotePeer]) -> None:
        """Drop channels that are not current, but keep their counters."""
        for number in [number for number in self.channels if number not in current]:
            peer = self.channels.pop(number)
            self.gone_in += peer.bytes_in
            self.gone_out += peer.bytes_out

    @property
    def bytes_in(self) -> int:
        return self.gone_in + sum(peer.bytes_in for peer in self.channels.values())

    @property
    def bytes_out(self) -> int:
        return self.gone_out + sum(peer.bytes_out for peer in self.channels.values())


class PeerCounters:
    """Takes the current peers; returns the changes."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}
        self._channels: tuple[int, ...] = ()
        self._gone_in = 0
        self._gone_out = 0

    def __len__(self) -> int:
        return len(self._known)

    def resume(self, bytes_in: int, bytes_out: int) -> None:
        """Continue counting from these numbers."""
        self._gone_in += bytes_in
        self._gone_out += bytes_out

    @property
    def bytes_in(self) -> int:
        """Bytes received of all peers, those that left included."""
        return self._gone_in + sum(known.bytes_in for known in self._known.values())

    @property
    def bytes_out(self) -> int:
        """Bytes sent to all peers, those that left included."""
        return self._gone_out + sum(known.bytes_out for known in self._known.values())

    def amounts(self) -> list[PeerAmounts]:
        """Return the bytes in and out of each open peer."""
        return [PeerAmounts(key, known.bytes_in, known.bytes_out) for key, known in self._known.items()]

    def update(self, peers: Iterable[RemotePeer]) -> list[PeerDelta]:
        """Peers that opened or closed since the last call.

        A remote is open as long as it has one open channel.
        """
        current = {id(peer): peer for peer in peers}
        channels = tuple(current)
        if channels == self._channels:
            return []  # by far the most frequent case
        self._channels = channels
        for known in self._known.values():
            known.ignore_closed(current)
        news = []
        for number, peer in current.items():
            public_key = peer.remote_public_key
            if public_key not in self._known:
                self._known[public_key] = _Known()
                news.append(PeerDelta(public_key, True, 0, 0))
            self._known[public_key].channels[number] = peer
        for public_key, known in [item for item in self._known.items() if not item[1].channels]:
            del self._known[public_key]
            self._gone_in += known.gone_in
            self._gone_out += known.gone_out
            news.append(PeerDelta(public_key, False, known.gone_in, known.gone_out))
        return news
