"""The interface between content and blocks.

A bee, a blob or a drive is read through a `BlockSource`: a core on disk, a replicated core, or a list of
blocks in a test. Sources are asynchronous, since a block may have to come over the network.

Three optional methods make reading over a network fast. A source may lack each of them, or set it to None:

* `prefetch(indices)`: start to fetch these blocks. Never waits, never raises, ignores stored and unknown
  blocks, and may ignore others; readers repeat hints.
* `peek(index)`: the block if it is stored, else None. Never waits.
* `byte_range(index)`: (offset, size) in bytes of a block that was read; makes seeking in large files cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

from .crypto import KeyPair
from .encryption import PADDING, BlockCipher
from .errors import BlockNotAvailable, InvalidContent
from .manifest import Manifest

Prefetch = Callable[[Sequence[int]], None]
Peek = Callable[[int], bytes | None]
ByteRange = Callable[[int], tuple[int, int]]


class BlockSource(Protocol):
    """A core as its readers see it."""

    @property
    def key(self) -> bytes:
        """The core's key, 32 bytes."""

    @property
    def length(self) -> int:
        """Number of known blocks, stored or not."""
        ...

    @property
    def fork(self) -> int:
        """How often the writer has truncated the core."""

    @property
    def manifest(self) -> Manifest | None:
        """Known after the first verified head."""
        ...

    async def get(self, index: int) -> bytes:
        """The block. Waits for peers if there may be any; raises BlockNotAvailable otherwise."""
        ...

    async def update(self) -> bool:
        """Ask for a newer head. True if `length` or `fork` changed."""
        ...


def prefetch_of(source: BlockSource) -> Prefetch | None:
    return cast("Prefetch | None", getattr(source, "prefetch", None))


def peek_of(source: BlockSource) -> Peek | None:
    return cast("Peek | None", getattr(source, "peek", None))


def byte_range_of(source: BlockSource) -> ByteRange | None:
    return cast("ByteRange | None", getattr(source, "byte_range", None))


class MemorySource:
    """Blocks in a list. `None` is a block that exists but is not stored."""

    def __init__(
        self,
        blocks: Iterable[bytes | None] = (),
        *,
        key: bytes = bytes(32),
        manifest: Manifest | None = None,
        fork: int = 0,
    ) -> None:
        self.blocks = list(blocks)
        self.key = key
        self.manifest = manifest
        self.fork = fork

    @property
    def length(self) -> int:
        return len(self.blocks)

    @property
    def byte_length(self) -> int:
        return sum(len(block) for block in self.blocks if block is not None)

    async def get(self, index: int) -> bytes:
        block = self.peek(index)
        if block is None:
            raise BlockNotAvailable(f"block {index} is not here")
        return block

    async def update(self) -> bool:
        return False

    def peek(self, index: int) -> bytes | None:
        return self.blocks[index] if 0 <= index < len(self.blocks) else None

    def append(self, blocks: Sequence[bytes]) -> None:
        self.blocks.extend(blocks)

    def truncate(self, length: int) -> None:
        """Delete the blocks from `length` on and begin the next fork."""
        del self.blocks[length:]
        self.fork += 1


class WritableLog(Protocol):
    """A writable core. Earlier blocks are read without waiting."""

    @property
    def length(self) -> int: ...

    @property
    def byte_length(self) -> int: ...

    def peek(self, index: int) -> bytes | None: ...

    def append(self, blocks: Sequence[bytes], /) -> object:
        """Append, sign and store blocks, all or none."""
        ...


class EncryptingLog:
    """Writes plain blocks into an encrypted core."""

    def __init__(self, log: WritableLog, cipher: BlockCipher, *, fork: int = 0) -> None:
        self._log = log
        self._cipher = cipher
        self._fork = fork

    @property
    def length(self) -> int:
        """Number of blocks."""
        return self._log.length

    @property
    def byte_length(self) -> int:
        """Bytes of all blocks, before encryption."""
        return self._log.byte_length - PADDING * self._log.length

    def peek(self, index: int) -> bytes | None:
        """Return a block decrypted, or None if it is not stored."""
        block = self._log.peek(index)
        return None if block is None else self._cipher.decrypt(index, block)

    def append(self, blocks: Sequence[bytes], /) -> None:
        start = self._log.length
        self._log.append(
            [self._cipher.encrypt(index, self._fork, block) for index, block in enumerate(blocks, start)]
        )


class LocalHead(Protocol):
    """The size of a core: `length` blocks of `byte_length` bytes, on `fork`."""

    @property
    def length(self) -> int: ...

    @property
    def fork(self) -> int: ...

    @property
    def byte_length(self) -> int: ...


class LocalCore(Protocol):
    """The members of a core that `CoreSource` uses. Implemented by `hypercore.core.Core`."""

    @property
    def key(self) -> bytes: ...

    @property
    def manifest(self) -> Manifest | None: ...

    @property
    def head(self) -> LocalHead: ...

    def get(self, index: int) -> bytes | None: ...

    def byte_range(self, index: int) -> tuple[int, int]: ...


class CoreSource:
    """A stored core as a source. Blocks that are not stored are not available."""

    def __init__(self, core: LocalCore) -> None:
        self._core = core
        self.peek = core.get
        self.byte_range = core.byte_range

    @property
    def key(self) -> bytes:
        return self._core.key

    @property
    def length(self) -> int:
        return self._core.head.length

    @property
    def fork(self) -> int:
        return self._core.head.fork

    @property
    def manifest(self) -> Manifest | None:
        return self._core.manifest

    async def get(self, index: int) -> bytes:
        block = self._core.get(index) if 0 <= index < self.length else None
        if block is None:
            raise BlockNotAvailable(f"block {index} is not stored here")
        return block

    async def update(self) -> bool:
        return False


class OwnCore(LocalCore, Protocol):
    """The members of a core that `CoreLog` uses."""

    def append(self, blocks: Sequence[bytes], key_pair: KeyPair, /) -> object: ...


class CoreLog:
    """A stored core with the key pair that signs it."""

    def __init__(self, core: OwnCore, key_pair: KeyPair) -> None:
        self._core = core
        self._key_pair = key_pair
        self.peek = core.get

    @property
    def length(self) -> int:
        """Number of blocks."""
        return self._core.head.length

    @property
    def byte_length(self) -> int:
        """Bytes of all blocks."""
        return self._core.head.byte_length

    def append(self, blocks: Sequence[bytes], /) -> None:
        """Append blocks. Raises LocalProtocolError if the key pair may not sign the core."""
        self._core.append(blocks, self._key_pair)


class SourceView:
    """The base of a source that reads blocks of another one, and has its key, length, fork and manifest."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source

    @property
    def key(self) -> bytes:
        return self._source.key

    @property
    def length(self) -> int:
        return self._source.length

    @property
    def fork(self) -> int:
        return self._source.fork

    @property
    def manifest(self) -> Manifest | None:
        return self._source.manifest

    async def get(self, index: int) -> bytes:
        return await self._source.get(index)

    async def update(self) -> bool:
        return await self._source.update()


class DecryptingSource(SourceView):
    """The plain blocks of an encrypted core. A wrong key is not detected: it returns garbage."""

    def __init__(self, source: BlockSource, encryption_key: bytes, *, compat: bool | None = None) -> None:
        """`compat`: whether the core's key is a raw public key; None: detect it from the manifest."""
        super().__init__(source)
        self._encryption_key = encryption_key
        self._compat = compat
        self._cipher: BlockCipher | None = None
        self.prefetch = prefetch_of(source)
        self.peek: Peek | None = None
        self.byte_range: ByteRange | None = None
        if peek := peek_of(source):
            self.peek = self._decrypting(peek)
        if byte_range := byte_range_of(source):
            self.byte_range = _without_padding(byte_range)

    async def get(self, index: int) -> bytes:
        return self._decrypt(index, await self._source.get(index))

    def _decrypting(self, peek: Peek) -> Peek:
        def decrypting_peek(index: int) -> bytes | None:
            block = peek(index)
            return None if block is None else self._decrypt(index, block)

        return decrypting_peek

    def _decrypt(self, index: int, block: bytes) -> bytes:
        if len(block) < PADDING:
            raise InvalidContent(f"block {index} is not encrypted: it is shorter than {PADDING} bytes")
        if self._cipher is None:
            self._cipher = BlockCipher(self.key, self._encryption_key, compat=self._is_compat())
        return self._cipher.decrypt(index, block)

    def _is_compat(self) -> bool:
        if self._compat is not None:
            return self._compat
        # Only a compat core can have blocks and no manifest
        return self.manifest is None or self.manifest.is_compat_with(self.key)


def _without_padding(byte_range: ByteRange) -> ByteRange:
    def plain_byte_range(index: int) -> tuple[int, int]:
        offset, size = byte_range(index)
        return offset - PADDING * index, size - PADDING

    return plain_byte_range
