"""Cold keys: a few hundred bytes for a complete key that no peer uses.

The record for a restart is stored with the main core, in the store's `meta`. It has the cores that belong
together; which blocks are stored is read from the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from farmwire.gaps import Gaps, from_text, to_text
from hypercore.core import Core
from hypercore.storage.base import CoreInfo

from ..model.events import CoreChanged, Event, Progress, Synced
from ..model.kind import MAIN_ROLE, Finding, Kind, Role
from ..model.status import SeedStatus, State
from ..settings.key_list import SeedSpec

_KINDS = {kind.value: kind for kind in Kind}


class Partial(NamedTuple):
    """Stored amounts of a key with unavailable blocks."""

    have: int
    """Blocks of the core that the key names."""
    have_bytes: int
    second_fork: int
    second_have: int
    second_have_bytes: int
    gaps: str
    """See `farmwire.gaps.to_text`."""


class SeedRecord(NamedTuple):
    """Facts about a key that survive a restart."""

    kind: Kind
    fork: int = 0
    length: int = 0
    """Length of the core that the key names, when it was complete. 0: it was not complete; only the kind is
    known."""
    second: bytes | None = None
    """Key of the second core: the blobs of a drive, or of a suspected one."""
    second_length: int = 0
    readable: bool = True
    """Whether the db of a drive is not encrypted."""
    partial: Partial | None = None
    """Stored amounts, if blocks are unavailable."""

    def encode(self) -> bytes:
        """Return the bytes that are stored."""
        if not self.length and self.second is None:
            return self.kind.value.encode()
        second = None if self.second is None else self.second.hex()
        fields = [self.kind.value, self.fork, self.length, second, self.second_length, self.readable]
        return json.dumps([*fields, *(self.partial or ())], separators=(",", ":")).encode()

    def given_up_below(self, key: bytes, core: Core) -> int | None:
        """The length up to which missing blocks of a core of `key` are known to be unavailable; None if not
        recorded, or if fewer blocks are stored than recorded."""
        partial = self.partial
        if partial is None or core.key not in (key, self.second):
            return None
        fork, length, have = self.fork, self.length, partial.have
        if core.key != key:
            fork, length, have = partial.second_fork, self.second_length, partial.second_have
        here = core.fork == fork and core.length >= length and core.bitfield.count_range(0, length) == have
        return length if here else None

    @classmethod
    def decode(cls, meta: bytes | None) -> SeedRecord | None:
        """None for a missing or unknown record."""
        if meta is None:
            return None
        text = meta.decode("utf-8", "replace")
        if text in _KINDS:
            return cls(_KINDS[text])
        try:
            kind, fork, length, second, second_length, readable, *rest = json.loads(text)
            key = None if second is None else bytes.fromhex(second)
            partial = None
            if rest:
                a, b, c, d, e, gaps = rest
                partial = Partial(int(a), int(b), int(c), int(d), int(e), str(gaps))
                from_text(partial.gaps)
            return cls(_KINDS[kind], int(fork), int(length), key, int(second_length), bool(readable), partial)
        except (ValueError, TypeError, KeyError):
            return None


class ColdCore(NamedTuple):
    """One core of a cold key. Every available block is stored."""

    key: bytes
    role: Role | None
    """None: it may belong to the key; not known yet."""
    fork: int
    length: int
    byte_length: int
    have: int
    """Blocks that are here."""
    have_bytes: int

    @property
    def unavailable(self) -> int:
        """Blocks that no peer is known to have."""
        return self.length - self.have


def amounts_of(core: Core) -> tuple[int, int, int, int]:
    """Length, bytes, and stored amounts of both; the same objects twice if equal, which saves memory."""
    length, size = core.length, core.byte_length
    return length, size, *((length, size) if core.complete else (core.bitfield.count, core.have_bytes))


class Cold(NamedTuple):
    """A cold key."""

    spec: SeedSpec
    kind: Kind
    cores: tuple[ColdCore, ...]
    """The core that the key names, and the second one if there is any."""
    readable: bool
    bytes_in: int = 0
    bytes_out: int = 0
    gaps: Gaps = ()
    finding: Finding | None = None
    """What its first blocks show, as events reported it. None in a new run: nothing was reported in it."""
    too_large: bool = False
    """Whether an event reported that it has too many blocks."""
    refused: bool = False
    """Whether an event reported that it has too many cores."""

    @property
    def blocks(self) -> int:
        """Blocks of its cores."""
        return sum(core.length for core in self.cores if core.role is not None)

    @property
    def have_blocks(self) -> int:
        """Stored blocks of its cores."""
        return sum(core.have for core in self.cores if core.role is not None)

    @property
    def bytes(self) -> int:
        """Bytes of the blocks of its cores."""
        return sum(core.byte_length for core in self.cores if core.role is not None)

    @property
    def have_bytes(self) -> int:
        """Bytes of the stored blocks of its cores."""
        return sum(core.have_bytes for core in self.cores if core.role is not None)

    @property
    def memo(self) -> SeedRecord:
        """Return what is stored of it, so that the next start finds it cold."""
        main = self.cores[0]
        second = self.cores[1] if len(self.cores) > 1 else None
        partial = None
        if any(core.unavailable for core in self.cores):
            rest = (0, 0, 0) if second is None else (second.fork, second.have, second.have_bytes)
            partial = Partial(main.have, main.have_bytes, *rest, gaps=to_text(self.gaps))
        return SeedRecord(
            self.kind,
            main.fork,
            main.length,
            None if second is None else second.key,
            0 if second is None else second.length,
            self.readable,
            partial,
        )

    def events(self) -> list[Event]:
        """Events for a key that is cold at the start."""
        key, blocks, size = self.spec.key, self.blocks, self.bytes
        heads: list[Event] = [
            CoreChanged(
                key=key,
                core=core.key,
                role=core.role,
                length=core.length,
                fork=core.fork,
                byte_length=core.byte_length,
            )
            for core in self.cores
            if core.role is not None
        ]
        lost = {"unavailable_blocks": blocks - self.have_blocks, "unavailable_bytes": size - self.have_bytes}
        progress = Progress(
            key=key,
            kind=self.kind,
            blocks=blocks,
            have_blocks=self.have_blocks,
            bytes=size,
            have_bytes=self.have_bytes,
            peers=0,
            **lost,
        )
        version = self.cores[0].length
        synced = Synced(
            key=key, kind=self.kind, version=version, length=blocks, bytes=size, news=False, **lost
        )
        return [*heads, progress, synced]

    def status(self) -> SeedStatus:
        """Its status."""
        return SeedStatus(
            key=self.spec.key,
            kind=self.kind,
            state=State.SYNCED,
            length=self.cores[0].length,
            fork=self.cores[0].fork,
            blocks=self.blocks,
            have_blocks=self.have_blocks,
            bytes=self.bytes,
            have_bytes=self.have_bytes,
            unavailable_blocks=self.blocks - self.have_blocks,
            unavailable_bytes=self.bytes - self.have_bytes,
            gaps=self.gaps,
            peers=0,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            down=0.0,
            up=0.0,
        )


def load_cold(spec: SeedSpec, stored: Callable[[bytes], CoreInfo | None]) -> Cold | None:
    """The cold key, if everything recorded is still stored. Raises StorageError."""
    info = stored(spec.key)
    memo = None if info is None else SeedRecord.decode(info.meta)
    if info is None or memo is None or not info.length or spec.kind not in (None, memo.kind):
        return None
    if (info.fork, info.length) != (memo.fork, memo.length):
        return None
    partial = memo.partial
    main = _found(info, MAIN_ROLE[memo.kind], partial and (partial.have, partial.have_bytes))
    second: ColdCore | None = None
    if memo.second is not None:
        stored_second = stored(memo.second)
        if stored_second is None or stored_second.length != memo.second_length:
            return None
        role = Role.BLOBS if memo.kind is Kind.DRIVE else None
        second = _found(stored_second, role, partial and (partial.second_have, partial.second_have_bytes))
        if second is None:
            return None
    if main is None:
        return None
    cores = (main,) if second is None else (main, second)
    gaps = () if partial is None else from_text(partial.gaps)
    return Cold(spec, memo.kind, cores, memo.readable, gaps=gaps)


def _found(info: CoreInfo, role: Role | None, recorded: tuple[int, int] | None) -> ColdCore | None:
    """The core as stored, if exactly what was `recorded` (blocks and bytes) is stored."""
    have, size = (info.length, info.byte_length) if recorded is None else recorded
    if info.have != have:
        return None
    return ColdCore(info.key, role, info.fork, info.length, info.byte_length, have, size)
