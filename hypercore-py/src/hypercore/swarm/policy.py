"""The swarm's decisions: which peer to dial and when, which of two connections to the same peer survives,
which peers are refused.

Source: hyperswarm index.js (4.17.2). The shell reports events and calls `next_dial`; it keeps the
connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from heapq import heappop, heappush
from itertools import count, islice

from .._types import Random
from ..dht.address import Address
from .dial_queue import DialQueue
from .extra_dials import (
    CHECK_SECONDS,
    EXTRA_SHARE,
    MAX_TOPICS_TRIED,
    MAX_TRIES,
    ExtraDial,
    ExtraDials,
    Use,
)
from .peer_info import MAX_ATTEMPTS, PeerInfo
from .retry import retry_delay

MAX_PEERS = 64
"""Bound on connections that we dial. Peers that dial us have separate slots (`slots`)."""
MAX_PARALLEL = 3
"""Attempts at a time, without slow ones."""
SLOW_DIAL_SECONDS = 0.5
"""Seconds after which an attempt is slow and no longer delays others: a peer that is gone takes 4 seconds.
Ours."""
MAX_DIALS = 16
"""Attempts at a time, including slow ones. Ours."""
MAX_KNOWN_PEERS = 4096
"""Records of peers; beyond it the oldest one without a connection is deleted."""
SPARE_TOPICS = 64
"""Topics that a peer's record may hold beyond the joined ones, before topics that we left are removed."""


class Link(Enum):
    """Our connection state with a peer."""

    DIALING = auto()
    OPEN = auto()


class Arrival(Enum):
    """What to do with a peer that dialled us."""

    ACCEPT = auto()
    REFUSE = auto()
    """Destroy it, and test the existing connection with a keep-alive."""
    REPLACE = auto()
    """Destroy the existing connection, then accept."""


def keep_incoming(local_key: bytes, remote_key: bytes, *, existing_used: bool) -> bool:
    """Whether the new one of two connections with a peer survives; both ends must decide alike.

    A used connection is replaced: the peer must have lost it, or it would not dial. Otherwise the one dialled
    by the larger public key survives.
    """
    return existing_used or local_key < remote_key


class SwarmPolicy:
    """`firewall(public_key)` returns whether a peer is refused; it is then banned. `is_banned(public_key)`
    refuses it while true. `lacks_peers(topic)` returns whether the connected peers of a topic give it
    nothing, or it has none. `use_of(public_key)` returns the work of an open connection."""

    def __init__(
        self,
        public_key: bytes,
        *,
        rng: Random,
        max_peers: int = MAX_PEERS,
        max_parallel: int = MAX_PARALLEL,
        firewall: Callable[[bytes], bool] | None = None,
        is_banned: Callable[[bytes], bool] | None = None,
        lacks_peers: Callable[[bytes], bool] | None = None,
        use_of: Callable[[bytes], Use] = lambda public_key: Use(0, 0),
    ) -> None:
        self.public_key = public_key
        self.max_peers = max_peers
        self.max_parallel = max_parallel
        self.peers: dict[bytes, PeerInfo] = {}
        self.links: dict[bytes, Link] = {}
        self._incoming: set[bytes] = set()
        """Peers that dialled us. They do not count as dials: any number may dial us, and the ones that we
        need may not."""
        self.topics: set[bytes] = set()
        """Topics for which we look up peers."""
        self.dialing = 0
        self._slow: set[bytes] = set()
        """Peers with a slow attempt."""
        self._lacks_peers = lacks_peers or self._lacks_connection
        self._extra = ExtraDials(use_of)
        self._check_at = float("-inf")
        """When candidates may next be examined while all connections are taken."""
        self._rng = rng
        self._firewall = firewall
        self._is_banned = is_banned
        self._queue = DialQueue(rng)
        self._wished = DialQueue(rng)
        """Explicit peers (`join_peer`) that wait to be dialled, beyond the bound on connections."""
        self._explicit = 0
        self._retries: list[tuple[float, int, PeerInfo]] = []
        self._order = count()
        self._closed = False

    # --- peers --------------------------------------------------------------------------------------------

    def peer_found(
        self, public_key: bytes, relay_addresses: Iterable[Address], topic: bytes, now: float
    ) -> None:
        """A lookup of `topic` found a peer."""
        if topic not in self.topics or self._closed:
            return
        peer = self._upsert(public_key)
        if peer is None:
            return
        if len(peer.topics) > len(self.topics) + SPARE_TOPICS:
            peer.topics &= self.topics
        peer.topics.add(topic)
        if public_key in self.links:
            peer.relay_addresses = tuple(relay_addresses)
        elif peer.found(tuple(relay_addresses), now):
            self._enqueue(peer)

    def join_peer(self, public_key: bytes, relay_addresses: Iterable[Address] = ()) -> None:
        """Keep a connection to this peer, whatever its topics."""
        peer = self._upsert(public_key)
        if peer is None:
            return
        peer.relay_addresses = tuple(relay_addresses) or peer.relay_addresses
        if not peer.explicit:
            peer.explicit = True
            self._explicit += 1
            self._queue.discard(peer)
        if public_key not in self.links:
            self._enqueue(peer)

    def leave_peer(self, public_key: bytes) -> None:
        """Undo `join_peer`. An open connection stays."""
        peer = self.peers.get(public_key)
        if peer is not None and peer.explicit:
            self._wished.discard(peer)
            peer.explicit = False
            self._explicit -= 1
            self._discard(peer)

    def ban(self, public_key: bytes) -> None:
        """Neither dial nor accept it any more."""
        peer = self._upsert(public_key)
        if peer is not None:
            peer.banned = True

    def refuses(self, public_key: bytes) -> bool:
        """Whether this peer is banned or refused, in both directions."""
        if public_key == self.public_key:
            return True
        peer = self.peers.get(public_key)
        if peer is not None and peer.banned:
            return True
        if self._firewall is not None and self._firewall(public_key):
            self.ban(public_key)
            return True
        return self._is_banned is not None and self._is_banned(public_key)

    # --- dialling -----------------------------------------------------------------------------------------

    def next_dial(self) -> PeerInfo | None:
        """The peer to dial now, if any. Report `opened` or `ended` when that is decided."""
        while not self._closed and self._may_dial:
            peer = self._wished.pop() or (self._queue.pop() if self._has_room() else None)
            if peer is None:
                return None
            if peer.public_key in self.links or self.refuses(peer.public_key) or not self._is_wanted(peer):
                self._discard(peer)
                continue
            self.links[peer.public_key] = Link.DIALING
            self.dialing += 1
            return peer
        return None

    def next_extra(self, now: float) -> ExtraDial | None:
        """A peer to dial although all connections are taken, since its topic lacks peers."""
        if self._closed or not self._may_dial or not self._queue or now < self._check_at:
            return None
        if self._has_room():
            return None
        self._check_at = now + CHECK_SECONDS
        self._extra.check(self._open_dialled(), now)
        idle = self._extra.idle(lambda key: self.peers[key].explicit)
        max_extra = max(1, self.max_peers // EXTRA_SHARE)
        chosen: tuple[bytes, bytes | None] = (b"", None)

        prompt = [key for key, link in self.links.items() if link is Link.DIALING and key not in self._slow]
        dialling = [self.peers[key] for key in prompt]

        def fits(peer: PeerInfo) -> bool:
            nonlocal chosen
            if peer.public_key in self.links:
                return False
            for topic in islice(peer.topics, MAX_TOPICS_TRIED):
                if topic not in self.topics or any(topic in other.topics for other in dialling):
                    continue
                if self._lacks_peers(topic):
                    may, evict = (True, idle) if idle else self._extra.extra_for(topic, max_extra)
                    if may:
                        chosen = topic, evict
                        return True
            return False

        peer = self._queue.pop_first(fits, max_tries=MAX_TRIES)
        if peer is None:
            return None
        if self.refuses(peer.public_key):
            self._discard(peer)
            return None
        topic, evict = chosen
        self.links[peer.public_key] = Link.DIALING
        self.dialing += 1
        if evict is None or evict != idle:
            self._extra.add(peer.public_key, topic)
        if evict is not None:
            self.peers[evict].made_way = True
        return ExtraDial(peer, evict)

    @property
    def _may_dial(self) -> bool:
        prompt = self.dialing - len(self._slow)
        return prompt < self.max_parallel and self.dialing < max(MAX_DIALS, self.max_parallel)

    def dial_is_slow(self, public_key: bytes) -> None:
        """The attempt to reach this peer, if not ended, has taken SLOW_DIAL_SECONDS."""
        if self.links.get(public_key) is Link.DIALING:
            self._slow.add(public_key)

    def _open_dialled(self) -> list[bytes]:
        return [key for key, link in self.links.items() if link is Link.OPEN and key not in self._incoming]

    def _lacks_connection(self, topic: bytes) -> bool:
        return not any(
            link is Link.OPEN and topic in self.peers[key].topics for key, link in self.links.items()
        )

    def opened(self, peer: PeerInfo, now: float, *, client: bool) -> None:
        """A connection is open. `client`: we dialled."""
        self.peers[peer.public_key] = peer  # the end of the replaced connection may have removed it
        if self.links.get(peer.public_key) is Link.DIALING:
            self.dialing -= 1
        self.links[peer.public_key] = Link.OPEN
        self._slow.discard(peer.public_key)
        (self._incoming.discard if client else self._incoming.add)(peer.public_key)
        peer.connected(now, client=client)

    def ended(self, peer: PeerInfo, now: float, *, client: bool) -> None:
        """A connection ended, or an attempt failed. `client`: we dialled, so it is ours to dial again."""
        if self.links.pop(peer.public_key, None) is Link.DIALING:
            self.dialing -= 1
        self._slow.discard(peer.public_key)
        self._incoming.discard(peer.public_key)
        self._extra.ended(peer.public_key)
        if len(self._extra) and self._has_room():
            self._extra.clear()
        peer.ended(now, client=client)
        if client:
            self._retry_later(peer, now)
        self._discard(peer)

    def arrives(self, public_key: bytes, *, existing_used: bool) -> Arrival:
        """A peer dialled us. `existing_used`: our connection with it has carried messages both ways."""
        if public_key not in self.links:
            return Arrival.ACCEPT
        if keep_incoming(self.public_key, public_key, existing_used=existing_used):
            return Arrival.REPLACE
        return Arrival.REFUSE

    def incoming(self, public_key: bytes) -> PeerInfo | None:
        """The record of a peer that dialled us; report it with `opened`. None for ourselves."""
        return self._upsert(public_key)

    @property
    def idle(self) -> bool:
        """Whether no peer is being dialled or waits to be."""
        return not self.dialing and not self._wished and not (self._queue and self._has_room())

    def close(self) -> None:
        """Dial no more peers."""
        self._closed = True

    # --- the clock ----------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        while self._retries and self._retries[0][2].retry_at != self._retries[0][0]:
            heappop(self._retries)
        at = self._retries[0][0] if self._retries else float("inf")
        if self._queue and not self._closed and self._may_dial and not self._has_room():
            at = min(at, self._check_at)
        return None if at == float("inf") else at

    def handle_timer(self, now: float) -> None:
        """Queue peers whose back-off has ended."""
        while self._retries and self._retries[0][0] <= now:
            at, _, peer = heappop(self._retries)
            if peer.retry_at != at:
                continue
            peer.retry_at = None
            if peer.explicit:
                peer.attempts = min(peer.attempts, MAX_ATTEMPTS)
            if peer.public_key not in self.links and self._is_wanted(peer):
                self._enqueue(peer)
            self._discard(peer)

    # --- inside -------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        # Explicit peers reduce the number dialled for topics
        factor = 1 if self._explicit == 0 else 2 if self._explicit < 2 else 3 if self._explicit < 4 else 4
        return factor * (len(self.links) - len(self._incoming)) < self.max_peers

    def _is_wanted(self, peer: PeerInfo) -> bool:
        return peer.explicit or not self.topics.isdisjoint(peer.topics)

    def _enqueue(self, peer: PeerInfo) -> None:
        if peer.dialable and not self._closed:
            peer.retry_at = None
            (self._wished if peer.explicit else self._queue).push(peer)

    def _retry_later(self, peer: PeerInfo, now: float) -> None:
        delay = retry_delay(peer, self._rng) if self._is_wanted(peer) and not self._closed else None
        peer.retry_at = None if delay is None else now + delay
        if peer.retry_at is not None:
            heappush(self._retries, (peer.retry_at, next(self._order), peer))

    def _upsert(self, public_key: bytes) -> PeerInfo | None:
        if public_key == self.public_key:
            return None
        peer = self.peers.get(public_key)
        if peer is None:
            if len(self.peers) >= MAX_KNOWN_PEERS:
                self._make_room()
            peer = self.peers[public_key] = PeerInfo(public_key)
        return peer

    def _make_room(self) -> None:
        for key, peer in self.peers.items():
            if key not in self.links and not peer.explicit:
                self._queue.discard(peer)
                peer.retry_at = None
                del self.peers[key]
                return

    def _discard(self, peer: PeerInfo) -> None:
        if peer.forgettable and peer.public_key not in self.links:
            self.peers.pop(peer.public_key, None)
