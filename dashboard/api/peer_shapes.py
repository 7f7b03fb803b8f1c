"""Peers of a drive as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from ..reads.peers import WAYS, Peer, Peers
from .shapes import WorkerRef

_NAMED = {words: way for way, words in WAYS.items()}


class PeerShape(BaseModel):
    """A peer of one copy."""

    id: str = Field(description="Its public key, z-base-32.")
    worker: WorkerRef = Field(description="The worker that is connected to it.")
    ours: str | None = Field(description="Name of the worker of this farm that it is.")
    way: Literal["direct", "punched", "relayed"]
    up_per_second: float
    down_per_second: float
    bytes_out: int = Field(description="Bytes of blocks sent to it since it connected.")
    bytes_in: int = Field(description="Bytes of blocks received from it.")
    connected_seconds: float

    @classmethod
    def of(cls, peer: Peer) -> PeerShape:
        """A peer that a page lists."""
        return cls.model_validate(
            {
                "id": peer.id,
                "worker": WorkerRef.of(peer.worker),
                "ours": peer.ours or None,
                "way": _NAMED[peer.way],
                "up_per_second": peer.up,
                "down_per_second": peer.down,
                "bytes_out": peer.bytes_out,
                "bytes_in": peer.bytes_in,
                "connected_seconds": peer.seconds,
            }
        )


class PeersShape(BaseModel):
    """The peers of a drive, the busiest first."""

    known: bool = Field(description="Whether workers have answered; ask again in a few seconds if not.")
    asked_until: datetime | None = Field(
        description="Until when workers are asked; each request renews it. Null: too many are asked for."
    )
    total: int
    peers: list[PeerShape] = Field(description="20 at most.")

    @classmethod
    def of(cls, found: Peers, until: datetime | None) -> PeersShape:
        """The shape of the peers of a drive."""
        return cls(
            known=found.known,
            asked_until=until if found.asked else None,
            total=found.total,
            peers=[PeerShape.of(peer) for peer in found.shown],
        )
