"""The part of the library's asyncio shell that the engine needs: fakes in tests implement just this."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from hypercore.core import Core
from hypercore.replication import Fullness

T = TypeVar("T", bound="Topic")


class RemotePeer(Protocol):
    """A peer that replicates one core with us. Its counters stay after it has closed."""

    @property
    def remote_public_key(self) -> bytes:
        """Its public key, 32 bytes."""

    @property
    def bytes_in(self) -> int:
        """Bytes of verified blocks received from it."""

    @property
    def bytes_out(self) -> int:
        """Bytes of blocks sent to it."""

    @property
    def ahead(self) -> bool:
        """Whether it may have more than we do: it has not reported its length yet, or reports more."""

    @property
    def has_news(self) -> bool:
        """Whether it reports more than we have."""


class CoreSession(Protocol):
    """An open core that is replicated."""

    meta: bytes | None
    """Our record, stored with the core."""

    @property
    def core(self) -> Core:
        """The core, with its stored blocks."""

    @property
    def fullness(self) -> Fullness:
        """Progress towards as full as can be."""

    @property
    def peers(self) -> Collection[RemotePeer]:
        """Peers whose channel is open on both sides."""

    @property
    def declined(self) -> Collection[bytes]:
        """Public keys of connected peers that do not have the core."""

    @property
    def frozen(self) -> bool:
        """Whether two histories signed by the writer were seen: nothing more is fetched."""

    def subscribe(self, callback: Callable[[object], None]) -> Callable[[], None]:
        """Call back on every change of the core (with its `Change`) or of its peers.

        Returns a function that unsubscribes.
        """

    def download(self, wanted: bool) -> None:
        """Request all blocks that are missing, or none."""

    def follow_forks(self, up_to: int | None) -> None:
        """Follow the writer up to this fork; None: any."""

    def set_active(self, active: bool) -> None:
        """True: replicate on every connection; False: only with peers that open the core."""

    def close(self) -> None:
        """Stop replicating in this session."""


class Topic(Protocol):
    """Our membership of one topic of the swarm."""

    async def leave(self) -> None:
        """Leave the topic and withdraw the announcement."""


class Network(Protocol[T]):
    """The swarm."""

    @property
    def public_key(self) -> bytes:
        """Our public key, 32 bytes."""

    @property
    def host(self) -> str:
        """Our address as other nodes see it."""

    @property
    def port(self) -> int:
        """Our port as other nodes see it."""

    @property
    def firewalled(self) -> bool:
        """Whether unknown hosts cannot reach us."""

    @property
    def connections(self) -> Collection[object]:
        """The open connections."""

    async def start(self) -> None:
        """Bind the socket and begin to look for other nodes. Raises OSError if the port is taken."""

    def join(self, topic: bytes, *, server: bool, client: bool, opportunistic_lookup: bool) -> T:
        """`opportunistic_lookup`: as a server alone, look up peers occasionally."""

    def set_mode(self, topic: T, /, *, server: bool, client: bool, refresh: bool) -> None:
        """`refresh`: announce and look up again now, even if nothing changes."""

    async def close(self) -> None:
        """Leave all topics and close the connections and the socket."""
