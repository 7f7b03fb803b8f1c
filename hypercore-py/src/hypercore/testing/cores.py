"""Cores for tests: a writer from a list of blocks, and copying between cores without a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..core import Core, Store, memory_store
from ..crypto import KeyPair
from ..manifest import Manifest
from ..wire.data import Data
from ..wire.request import Request, RequestBlock, RequestHash, RequestUpgrade


class Writer(NamedTuple):
    """A core, the keys that sign it, and the store it lives in."""

    core: Core
    key_pair: KeyPair
    store: Store

    def append(self, *blocks: bytes) -> None:
        """Adds blocks and makes them durable."""
        self.core.append(blocks, self.key_pair)
        self.store.flush()

    def truncate(self, length: int, fork: int | None = None) -> None:
        """Cuts the core and makes that durable."""
        self.core.truncate(length, self.key_pair, fork)
        self.store.flush()


def make_writer(
    blocks: Sequence[bytes] = (),
    *,
    seed: int = 1,
    compat: bool = False,
    manifest: Manifest | None = None,
    store: Store | None = None,
) -> Writer:
    """A writer that holds `blocks`, durable already. `seed` (0 to 255) decides its key pair."""
    key_pair = KeyPair.from_seed(bytes([seed]) * 32)
    store = store or memory_store()
    core = store.create_core(key_pair, manifest=manifest, compat=compat)
    writer = Writer(core, key_pair, store)
    writer.append(*blocks)
    return writer


def sample_blocks(count: int, start: int = 0) -> list[bytes]:
    """The blocks of the official test cores: of 1 to 23 bytes, all different."""
    return [bytes((31 * i + j) & 255 for j in range(i * 7 % 23 + 1)) for i in range(start, start + count)]


def fetch_upgrade(source: Core, target: Core, *, block: int | None = None) -> Data:
    """What `source` answers when `target` asks for its head (and for a block of the new part)."""
    start = target.length
    return source.prove(
        Request(
            id=1,
            fork=source.fork,
            block=None if block is None else RequestBlock(block, 0),
            upgrade=RequestUpgrade(start, source.length - start),
            manifest=target.manifest is None,
        )
    )


def fetch_block(source: Core, target: Core, index: int) -> Data:
    """What `source` answers when `target` asks for a block of the part both know."""
    block = RequestBlock(index, target.missing_nodes(index))
    return source.prove(Request(id=1, fork=source.fork, block=block))


def download(source: Core, target: Core, indices: Iterable[int] | None = None) -> None:
    """Brings `target` to the head of `source`, onto a higher fork too, and fetches blocks (all unless
    given).
    """
    if source.fork > target.fork:
        follow_fork(source, target)
    if source.length > target.length:
        target.apply(fetch_upgrade(source, target))
    for index in range(source.length) if indices is None else indices:
        if source.has(index) and not target.has(index):
            target.apply(fetch_block(source, target, index))


def follow_fork(source: Core, target: Core) -> None:
    """Adopts the higher fork of `source`, refining what both share as far as possible."""
    upgrade = RequestUpgrade(0, source.length)
    reorg = target.start_reorg(source.prove(Request(id=1, fork=source.fork, upgrade=upgrade, manifest=True)))
    while (wanted := reorg.request()) is not None:
        hash_request = RequestHash(wanted.index, wanted.nodes)
        reorg.add_answer(source.prove(Request(id=1, fork=source.fork, hash=hash_request)))
    target.apply_reorg(reorg)
