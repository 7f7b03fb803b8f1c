"""Pauses downloads of the corestore; serving continues."""

from __future__ import annotations

from collections.abc import Callable, Collection

from hypercore.core import Core
from hypercore.replication import Fullness
from hypercore.storage.base import CoreInfo

from ..model.interfaces import CoreKeeper, CoreSession, RemotePeer


class Gate:
    """Wraps the corestore that the engine uses."""

    def __init__(self, cores: CoreKeeper) -> None:
        self._cores = cores
        self._sessions: dict[GatedSession, None] = {}
        self._shut = False

    @property
    def shut(self) -> bool:
        return self._shut

    def hold(self, shut: bool) -> None:
        """Pause downloads, or resume them."""
        if shut is self._shut:
            return
        self._shut = shut
        for session in self._sessions:
            session.set_paused(shut)

    def get(self, key: bytes, *, active: bool = True) -> CoreSession:
        session = GatedSession(self._cores.get(key, active=active), self._shut, self._forget)
        self._sessions[session] = None
        return session

    def stored(self, key: bytes) -> CoreInfo | None:
        return self._cores.stored(key)

    def _forget(self, session: GatedSession) -> None:
        self._sessions.pop(session, None)

    async def close(self) -> None:
        await self._cores.close()


class GatedSession:
    """A session that downloads when asked to and not paused."""

    __slots__ = ("_forget", "_session", "_shut", "_wanted")

    def __init__(self, session: CoreSession, shut: bool, forget: Callable[[GatedSession], None]) -> None:
        self._session = session
        self._shut = shut
        self._wanted = False
        self._forget = forget

    @property
    def core(self) -> Core:
        return self._session.core

    @property
    def meta(self) -> bytes | None:
        return self._session.meta

    @meta.setter
    def meta(self, value: bytes | None) -> None:
        self._session.meta = value

    @property
    def fullness(self) -> Fullness:
        return self._session.fullness

    @property
    def peers(self) -> Collection[RemotePeer]:
        return self._session.peers

    @property
    def declined(self) -> Collection[bytes]:
        return self._session.declined

    @property
    def frozen(self) -> bool:
        return self._session.frozen

    def set_active(self, active: bool) -> None:
        self._session.set_active(active)

    def subscribe(self, callback: Callable[[object], None]) -> Callable[[], None]:
        return self._session.subscribe(callback)

    def download(self, wanted: bool) -> None:
        self._wanted = wanted
        self._session.download(wanted and not self._shut)

    def follow_forks(self, up_to: int | None) -> None:
        self._session.follow_forks(up_to)

    def set_paused(self, shut: bool) -> None:
        self._shut = shut
        self._session.download(self._wanted and not shut)

    def close(self) -> None:
        self._forget(self)
        self._session.close()
