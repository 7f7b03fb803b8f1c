"""Keys that are put away: the few hundred bytes that stand for a complete key which nobody asks for.

What is needed to know one again after a restart is kept with its main core, in the store's `meta`. It is a
note of what belongs together, not of what is here: that is read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from hypercore.storage.base import CoreInfo

from .keylist import Wanted
from .kinds import MAIN_ROLE, Kind, Role
from .status import SeedStatus, State

_KINDS = {kind.value: kind for kind in Kind}


class Memo(NamedTuple):
    """What was found out about a key."""

    kind: Kind
    fork: int = 0
    length: int = 0
    """Of the core that the key names, when all of it was here. 0: it was not, only the kind is known."""
    second: bytes | None = None
    """Key of the second core: the blobs of a drive, or what would be them."""
    second_length: int = 0
    readable: bool = True
    """Whether the names of a drive are not encrypted."""

    def encode(self) -> bytes:
        if not self.length:
            return self.kind.value.encode()
        second = None if self.second is None else self.second.hex()
        return json.dumps(
            [self.kind.value, self.fork, self.length, second, self.second_length, self.readable],
            separators=(",", ":"),
        ).encode()

    @classmethod
    def decode(cls, meta: bytes | None) -> Memo | None:
        """None where there is none that we understand."""
        if meta is None:
            return None
        text = meta.decode("utf-8", "replace")
        if text in _KINDS:
            return cls(_KINDS[text])
        try:
            kind, fork, length, second, second_length, readable = json.loads(text)
            key = None if second is None else bytes.fromhex(second)
            return cls(_KINDS[kind], int(fork), int(length), key, int(second_length), bool(readable))
        except (ValueError, TypeError, KeyError):
            return None


class ColdCore(NamedTuple):
    """One core of a key that is put away. All of it is here."""

    key: bytes
    role: Role | None
    """None: it may turn out to belong to the key, and does not so far."""
    fork: int
    length: int
    byte_length: int


class Cold(NamedTuple):
    """A key that is put away."""

    wanted: Wanted
    kind: Kind
    cores: tuple[ColdCore, ...]
    """The one that the key names, and the second one if there is any."""
    readable: bool
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def blocks(self) -> int:
        return sum(core.length for core in self.cores if core.role is not None)

    @property
    def bytes(self) -> int:
        return sum(core.byte_length for core in self.cores if core.role is not None)

    @property
    def memo(self) -> Memo:
        main = self.cores[0]
        second = self.cores[1] if len(self.cores) > 1 else None
        return Memo(
            self.kind,
            main.fork,
            main.length,
            None if second is None else second.key,
            0 if second is None else second.length,
            self.readable,
        )

    def status(self) -> SeedStatus:
        """For a screen."""
        return SeedStatus(
            key=self.wanted.key,
            kind=self.kind,
            state=State.SYNCED,
            version=self.cores[0].length,
            blocks=self.blocks,
            have_blocks=self.blocks,
            bytes=self.bytes,
            have_bytes=self.bytes,
            peers=0,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            down=0.0,
            up=0.0,
        )


def recall(wanted: Wanted, stored: Callable[[bytes], CoreInfo | None]) -> Cold | None:
    """The key as it was put away, if all that was noted then is here still. Raises StorageError."""
    info = stored(wanted.key)
    memo = None if info is None else Memo.decode(info.meta)
    if info is None or memo is None or not info.complete or not info.length:
        return None
    if (info.fork, info.length) != (memo.fork, memo.length) or wanted.kind not in (None, memo.kind):
        return None
    cores = [ColdCore(info.key, MAIN_ROLE[memo.kind], info.fork, info.length, info.byte_length)]
    if memo.second is not None:
        second = stored(memo.second)
        if second is None or not second.complete or second.length != memo.second_length:
            return None
        role = Role.BLOBS if memo.kind is Kind.DRIVE else None
        cores.append(ColdCore(second.key, role, second.fork, second.length, second.byte_length))
    return Cold(wanted, memo.kind, tuple(cores), memo.readable)
