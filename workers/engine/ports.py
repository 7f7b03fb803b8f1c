"""What the engine needs of the library's asyncio shell, and no more: fakes in tests have just this."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from hypercore.core import Core


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


class CoreSession(Protocol):
    """An open core that is replicated."""

    @property
    def core(self) -> Core: ...

    @property
    def peers(self) -> Collection[RemotePeer]:
        """Those whose channel is open on both sides."""

    def subscribe(self, callback: Callable[[object], None]) -> Callable[[], None]:
        """Calls back whenever something about the core or its peers changed; gives what ends that."""

    def download(self, wanted: bool) -> None: ...

    def close(self) -> None: ...


class Topic(Protocol):
    """Our membership of one topic of the swarm."""

    def set_mode(self, *, server: bool, client: bool) -> None: ...

    async def leave(self) -> None: ...
