"""What the engine needs of the library's asyncio shell, and no more: fakes in tests have just this."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from hypercore.core import Core
from hypercore.replication import Fullness
from hypercore.storage.base import CoreInfo

from .status import LimitStatus

T = TypeVar("T", bound="Topic")


class RemotePeer(Protocol):
    """Somebody who replicates one core with us. Keeps its counters after it has gone."""

    @property
    def remote_public_key(self) -> bytes: ...

    @property
    def bytes_in(self) -> int:
        """Bytes of verified blocks that it gave."""

    @property
    def bytes_out(self) -> int:
        """Bytes of blocks that it was given."""

    @property
    def ahead(self) -> bool:
        """Whether it may have news for us: it has not said yet, or says that it knows of more."""

    @property
    def has_news(self) -> bool:
        """Whether it says that it knows of more than we do."""


class CoreSession(Protocol):
    """An open core that is replicated."""

    meta: bytes | None
    """What we keep with the core."""

    @property
    def core(self) -> Core: ...

    @property
    def fullness(self) -> Fullness:
        """Whether it is as full as it can be."""

    @property
    def peers(self) -> Collection[RemotePeer]:
        """Those whose channel is open on both sides."""

    @property
    def declined(self) -> Collection[bytes]:
        """Public keys of connected peers that do not have the core."""

    @property
    def frozen(self) -> bool:
        """Whether two histories were seen that the writer signed: nothing more is fetched."""

    def subscribe(self, callback: Callable[[object], None]) -> Callable[[], None]:
        """Calls back whenever something happened to the core (with its `Change`) or to its peers.

        Gives what ends that.
        """

    def download(self, wanted: bool) -> None: ...

    def follow_forks(self, up_to: int | None) -> None:
        """Follow the writer up to this fork; None: onto any."""

    def set_active(self, active: bool) -> None:
        """Whether it is replicated with everybody, or only with those who ask for it."""

    def close(self) -> None: ...


class Topic(Protocol):
    """Our membership of one topic of the swarm."""

    async def leave(self) -> None: ...


class Network(Protocol[T]):
    """The swarm."""

    @property
    def public_key(self) -> bytes: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def firewalled(self) -> bool: ...

    @property
    def connections(self) -> Collection[object]: ...

    async def start(self) -> None: ...

    def join(self, topic: bytes, *, server: bool, client: bool, glance: bool) -> T:
        """`glance`: as a server alone, look for others now and then."""

    def set_mode(self, topic: T, /, *, server: bool, client: bool, refresh: bool) -> None:
        """`refresh`: announce and look up again now, even if nothing changes."""

    async def close(self) -> None: ...


class LimitsInForce(Protocol):
    """What keeps the engine within bounds."""

    @property
    def full(self) -> bool:
        """Whether there is no room for more."""

    def status(self) -> tuple[LimitStatus, ...]: ...


class CoreKeeper(Protocol):
    """The corestore: cores of one store, replicated over connections."""

    def get(self, key: bytes, *, active: bool = True) -> CoreSession: ...

    def stored(self, key: bytes) -> CoreInfo | None:
        """What is stored of a core, without opening it."""

    async def close(self) -> None: ...
