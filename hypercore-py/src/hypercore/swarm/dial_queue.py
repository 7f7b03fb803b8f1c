"""Peers that wait to be dialled: the highest priority first, in random order among equals.

Source: shuffled-priority-queue index.js, as hyperswarm uses it.
"""

from __future__ import annotations

from collections.abc import Callable

from .._types import Random
from .peer_info import PeerInfo, Priority


class DialQueue:
    """A queue with each peer at most once; `PeerInfo.queued` is whether it is queued."""

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
            for peers in self._lists:  # its priority may have changed since it was queued
                if peer in peers:
                    peers.remove(peer)
                    self._size -= 1

    def pop(self) -> PeerInfo | None:
        for peers in reversed(self._lists):
            if peers:
                return self._take(peers, self._rng.randrange(len(peers)))
        return None

    def pop_first(self, fits: Callable[[PeerInfo], bool], *, max_tries: int) -> PeerInfo | None:
        """Like `pop`, but only a peer that `fits`, among `max_tries` random ones at most. Later calls try
        others."""
        for peers in reversed(self._lists):
            first = self._rng.randrange(len(peers)) if peers else 0
            for step in range(len(peers)):
                if not max_tries:
                    return None
                max_tries -= 1
                at = (first + step) % len(peers)
                if fits(peers[at]):
                    return self._take(peers, at)
        return None

    def _take(self, peers: list[PeerInfo], at: int) -> PeerInfo:
        peers[at], peers[-1] = peers[-1], peers[at]
        peer = peers.pop()
        peer.queued = False
        self._size -= 1
        return peer
