"""What the seed engine reads out of drives, whose writers are peers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

from hypercore.bee import Header
from hypercore.bee.messages import TreeNode, encode_block
from hypercore.core import Core, Store, memory_store
from hypercore.crypto import KeyPair
from hypercore.drive.blockmap import MapEntry, encode_block_map
from hypercore.drive.entries import BlobId, Entry, encode_entry
from workers.engine.model.kind import inspect
from workers.engine.seeds.blobs_length import SCAN_BLOCKS, RequiredBlobs
from workers.engine.seeds.cold import SeedRecord
from workers.engine.seeds.title import MAX_TITLE, read_title

from .target import Target, chunks, script

KEYS = KeyPair.from_seed(bytes(32))
DB, BLOBS, ENTRY, HEADER = range(4)
"""What a piece of a script is: a block of the db or of the blobs, the entry of a title, or block 0."""


def engine() -> Iterator[Target]:
    yield Target(name="title of a drive", run=_title, seeds=_drives)
    yield Target(name="what a db refers to", run=_references, seeds=_drives)
    yield Target(name="kind of a core", run=_kind, seeds=_drives)
    yield Target(name="note of a cold key", run=SeedRecord.decode, seeds=_memos)


class _Session:
    def __init__(self, core: Core) -> None:
        self.core = core

    def close(self) -> None:
        """Nothing is open."""


def _built(data: bytes) -> tuple[Store, Core]:
    """The drive that a script stands for."""
    store = memory_store()
    db = store.create_core(KEYS)
    assert db.manifest is not None
    content = db.manifest.content_manifest(db.key)
    assert content is not None
    blobs = store.create_core(KEYS, manifest=content)
    header, blocks, contents = Header(has_metadata=True).encode(), list[bytes](), list[bytes]()
    for op, piece in chunks(data):
        match op % 4:
            case 0:
                blocks.append(piece)
            case 1:
                contents.append(piece)
            case 2:
                root = TreeNode([len(blocks) + 1], [])
                name = b"/index.json" if len(blocks) % 2 else b"/package.json"
                blocks.append(encode_block(b"files\0" + name, piece, [root]))
            case _:
                header = piece
    db.append([header, *blocks], KEYS)
    if contents:
        blobs.append(contents, KEYS)
    return store, db


def _title(data: bytes) -> None:
    store, db = _built(data)

    def open_session(key: bytes) -> _Session | None:
        core = store.open_core(key, create=False)
        return None if core is None else _Session(core)

    found = asyncio.run(read_title(db.key, open_session))  # type: ignore[arg-type]
    assert len(found.text) <= MAX_TITLE and (not found.text or found.text.isprintable())


def _references(data: bytes) -> None:
    _, db = _built(data)
    needed = RequiredBlobs()
    for _ in range(SCAN_BLOCKS + 2):
        needed.update(db)
        if needed.finished:
            return
    raise AssertionError("a db is looked through for ever")


def _kind(data: bytes) -> None:
    _, db = _built(data)
    inspect(db.key, db.manifest, db.get(0), db.get(1))


def _entry(blob: BlobId) -> bytes:
    return encode_entry(Entry(path="/package.json", seq=1, blob=blob))


def _drives() -> Iterator[bytes]:
    package = json.dumps({"name": "a drive", "title": "A title"}).encode()
    plain = _entry(BlobId(0, 1, 0, len(package)))
    yield script((BLOBS, package), (ENTRY, plain))
    yield script((BLOBS, package), (ENTRY, plain), (ENTRY, plain))
    maps = encode_block_map([MapEntry(0, len(package))] * 3)
    yield script((BLOBS, package), (BLOBS, maps[0]), (ENTRY, _entry(BlobId(1, 1, 0, len(maps[0]), True))))
    yield script((ENTRY, _entry(BlobId(2**40, 2**40, 0, 1))))
    yield script((HEADER, Header(content_feed=bytes(32)).encode()), (DB, b"\x00"), (ENTRY, plain))


def _memos() -> Iterator[bytes]:
    yield b"drive"
    yield b'["drive",0,5,"' + b"ab" * 32 + b'",7,true]'
    yield b'["bee",1,2,null,0,false]'
