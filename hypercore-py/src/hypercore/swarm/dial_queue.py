"""Peers that wait to be dialled: the highest priority first, by chance among equals.

Source: shuffled-priority-queue index.js, as hyperswarm uses it.
"""

from __future__ import annotations

from .._types import Random
from .peer_info import PeerInfo, Priority


class DialQueue:
    """Each peer is in it once; `PeerInfo.queued` says whether it is."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._lists: list[list[PeerInfo]] = [[] for _ in Priority]
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, peer: PeerInfo) -> None:
        if not peer.queued:
            peer.queued = True
            self._lists[peer.priority].append(peer)
            self._size += 1

    def discard(self, peer: PeerInfo) -> None:
        if peer.queued:
            peer.queued = False
            for peers in self._lists:  # its priority may have changed since it was put in
                if peer in peers:
                    peers.remove(peer)
                    self._size -= 1

    def pop(self) -> PeerInfo | None:
        for peers in reversed(self._lists):
            if peers:
                at = self._rng.randrange(len(peers))
                peers[at], peers[-1] = peers[-1], peers[at]
                peer = peers.pop()
                peer.queued = False
                self._size -= 1
                return peer
        return None
