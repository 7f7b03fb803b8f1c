"""Peers that send invalid data: distinguishes lying peers, corrupt disks and writers with two histories.

After a bad signature or checksum the peer gets one request, for its whole tree (request 0), and no other
until it answers. If that tree is signed by the writer and differs from ours, the *writer* has signed two
histories: the core is frozen, every peer gets our proof, and nothing more is fetched (hypercore lib/core.js
`checkConflict`, lib/replicator.js `_onconflict`). If it equals ours, the peer may continue, up to
MAX_INVALID_ANSWERS times.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from ..errors import BlockNotAvailable, InvalidProof, InvalidRequest, VerificationError
from ..merkle.conflict import is_conflict
from ..wire.data import Data
from ..wire.request import Request, RequestUpgrade
from .config import MAX_INVALID_ANSWERS, MAX_UNASKED_PROOFS, STRIKE_BLOCKS, ReplicationConfig
from .context import ReplicatorContext
from .events import Conflict, PeerMisbehaved
from .interfaces import PeerView, ReplicatedCore

log = logging.getLogger(__name__)


class MisbehaviourPolicy:
    def __init__(self, core: ReplicatedCore, config: ReplicationConfig, context: ReplicatorContext) -> None:
        self._core = core
        self._config = config
        self._context = context
        self.frozen = False
        """Whether two signed histories exist: nothing more is requested, and stored blocks are served."""

    def invalid_data(self, peer: PeerView, error: VerificationError, now: float) -> None:
        """An answer of the peer did not verify. Raises `error` when the connection must be closed."""
        log.debug("%r: %s", peer, error)
        down = peer.down
        down.invalid_answers += 1
        fatal = down.invalid_answers > MAX_INVALID_ANSWERS + peer.stats.blocks_down // STRIKE_BLOCKS
        if fatal:
            self._context.bad_data(peer, error, now)
            return
        self._context.emit(PeerMisbehaved(peer, error, False))
        # A node at a wrong place proves nothing about the writer
        if not isinstance(error, InvalidProof) and not down.probing:
            self._probe(peer, now)

    def _probe(self, peer: PeerView, now: float) -> None:
        head = self._core.head
        length = min(head.length, peer.remote_length)
        if length == 0 or peer.remote_fork != head.fork:
            return
        peer.down.probing_until = now + self._config.probe_timeout
        self._context.wake_at(peer.down.probing_until)
        peer.send_request(Request(id=0, fork=head.fork, upgrade=RequestUpgrade(0, length)))

    def on_proof(self, peer: PeerView, data: Data, now: float) -> None:
        """An unrequested whole tree: the answer to a probe, or the proof of a conflict."""
        upgrade, core, down = data.upgrade, self._core, peer.down
        if self.frozen or upgrade is None or upgrade.start != 0 or core.manifest is None:
            return
        if not down.probing:
            down.unsolicited_proofs += 1
            if down.unsolicited_proofs > MAX_UNASKED_PROOFS:
                return
        if is_conflict(data, core.head, _Nodes(core), core.key, core.manifest):
            self._freeze(peer, data, now)
        elif down.probing:
            down.probing_until = None
            peer.mark_dirty()

    def tick(self, now: float) -> None:
        """Close peers that do not answer a probe."""
        for peer in list(self._context.peers):
            until = peer.down.probing_until
            if until is None:
                continue
            if until > now:
                self._context.wake_at(until)
                continue
            error = VerificationError("the peer sent bad data and does not prove that it is on our history")
            with suppress(VerificationError):
                self._context.bad_data(peer, error, now)
            peer.close(now)

    def _freeze(self, peer: PeerView, proof: Data, now: float) -> None:
        self.frozen = True
        self._context.emit(Conflict(peer, proof))
        for other in list(self._context.peers):
            self._send_conflict_proof(other)
        peer.close(now)  # other peers may be on our history and stay open

    def _send_conflict_proof(self, peer: PeerView) -> None:
        """Send our own signed tree, which proves the conflict to the peer."""
        head = self._core.head
        length = min(head.length, peer.remote_length)
        if length == 0 or peer.remote_fork != head.fork:
            return
        try:
            data = self._core.prove(Request(id=0, fork=head.fork, upgrade=RequestUpgrade(0, length)))
        except (InvalidRequest, BlockNotAvailable):
            return
        peer.send_data(data)


class _Nodes:
    """A core's stored nodes as a NodeSource."""

    def __init__(self, core: ReplicatedCore) -> None:
        self.get = core.node
