"""Real cores in memory, moved by hand from a writer to ours; sessions and peers that only pretend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from hypercore.bee import Header
from hypercore.bee.messages import TreeNode, encode_block
from hypercore.core import Core, Store, memory_store
from hypercore.crypto import KeyPair
from hypercore.drive.entries import BlobId, Entry, encode_entry
from hypercore.replication import Fullness
from hypercore.wire.request import Request, RequestBlock, RequestUpgrade
from workers.engine.model.events import Event


class FakePeer:
    def __init__(self, remote_public_key: bytes = bytes([9]) * 32) -> None:
        self.remote_public_key = remote_public_key
        self.bytes_in = 0
        self.bytes_out = 0
        self.has_news = False
        self.ahead = False


class FakeFullness(Fullness):
    """Whose peers are believed to have everything."""

    def __init__(self, session: FakeSession) -> None:
        super().__init__(session)  # type: ignore[arg-type]
        self.session = session

    @property
    def offered(self) -> bool:
        return bool(self.session.peers)

    def review(self, now: float) -> float | None:
        return None

    def busy(self, now: float) -> bool:
        return False


class FakeSession:
    """Of one core of `store`. Tests change the core and the peers, and then call `notify`."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.peers: list[FakePeer] = []
        self.declined: set[bytes] = set()
        self.downloading = False
        self.max_fork: int | None = None
        self.frozen = False
        self.active = True
        self.closed = False
        self.callbacks: list[Callable[[object], None]] = []
        self.fullness = FakeFullness(self)

    def subscribe(self, callback: Callable[[object], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        self.core.add_listener(callback)

        def unsubscribe() -> None:
            self.callbacks.remove(callback)
            self.core.remove_listener(callback)

        return unsubscribe

    def notify(self, notice: object) -> None:
        for callback in tuple(self.callbacks):
            callback(notice)

    @property
    def meta(self) -> bytes | None:
        return self.core.meta

    @meta.setter
    def meta(self, value: bytes | None) -> None:
        self.core.meta = value

    def download(self, wanted: bool) -> None:
        self.downloading = wanted

    def follow_forks(self, up_to: int | None) -> None:
        self.max_fork = up_to

    def set_active(self, active: bool) -> None:
        self.active = active

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Sessions:
    """Opens fake sessions over one store, as the corestore would."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or memory_store()
        self.opened: dict[bytes, FakeSession] = {}

    def open(self, key: bytes, *, active: bool = True) -> FakeSession:
        core = self.store.open_core(key)
        assert core is not None
        session = self.opened[key] = FakeSession(core)
        session.active = active
        return session

    def __getitem__(self, key: bytes) -> FakeSession:
        return self.opened[key]


class Log:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def take(self) -> list[Event]:
        taken, self.events = self.events, []
        return taken

    def names(self) -> list[str]:
        return [event.event for event in self.take()]


class Writer:
    """Another peer's core."""

    def __init__(self, *, compat: bool = False, store: Store | None = None) -> None:
        self.key_pair = KeyPair.from_seed(os.urandom(32))
        self.store = store or memory_store()
        self.core = self.store.create_core(self.key_pair, compat=compat)

    @property
    def key(self) -> bytes:
        return self.core.key

    def append(self, *blocks: bytes) -> None:
        self.core.append(blocks, self.key_pair)


class WriterOfDrive:
    """A drive, written well enough to be listed; `encrypted` makes its db unreadable, `content_feed` is what
    its header names as the blobs core."""

    def __init__(
        self, *, encrypted: bool = False, store: Store | None = None, content_feed: bytes | None = None
    ) -> None:
        self.db = Writer(store=store)
        assert self.db.core.manifest is not None
        content = self.db.core.manifest.content_manifest(self.db.key)
        assert content is not None
        self.store = self.db.store
        self.blobs = self.store.create_core(self.db.key_pair, manifest=content)
        self.encrypted = encrypted
        self._paths: dict[bytes, int] = {}
        self._append_db(Header(has_metadata=True, content_feed=content_feed).encode())

    @property
    def key(self) -> bytes:
        return self.db.key

    def put(
        self,
        path: str,
        *chunks: bytes,
        executable: bool = False,
        linkname: str | None = None,
        block_map: bool = False,
    ) -> None:
        """A file of these blocks, or a link. With more than eight paths the drive cannot be listed.

        `block_map`: the blocks list those of the content.
        """
        size = sum(len(chunk) for chunk in chunks)
        blob = BlobId(self.blobs.length, len(chunks), self.blobs.byte_length, size, block_map)
        if chunks:
            self.blobs.append(chunks, self.db.key_pair)
        self.put_blob(path, blob, executable=executable, linkname=linkname)

    def put_blob(
        self, path: str, blob: BlobId, *, executable: bool = False, linkname: str | None = None
    ) -> None:
        """An entry that refers to any content."""
        seq = self.db.core.length
        entry = Entry(
            path=path, seq=seq, executable=executable, linkname=linkname, blob=None if linkname else blob
        )
        key = b"files\0" + path.encode()
        self._paths[key] = seq
        root = TreeNode([self._paths[each] for each in sorted(self._paths)], [])
        self._append_db(encode_block(key, encode_entry(entry), [root]))

    def _append_db(self, block: bytes) -> None:
        self.db.append(os.urandom(8) + bytes(byte ^ 0xA5 for byte in block) if self.encrypted else block)


def upgrade(source: Core, target: Core) -> None:
    """`target` learns the head of `source`."""
    missing = source.length - target.length
    request = Request(
        id=1,
        fork=source.fork,
        upgrade=RequestUpgrade(target.length, missing),
        manifest=target.manifest is None,
    )
    target.apply(source.prove(request))


def fetch(source: Core, target: Core, indices: Iterable[int]) -> None:
    for index in indices:
        nodes = target.missing_nodes(index)
        target.apply(source.prove(Request(id=1, fork=source.fork, block=RequestBlock(index, nodes))))


def copy(source: Core, target: Core) -> None:
    """Everything of `source` comes to `target`; none of it is durable yet."""
    if source.length > target.length:
        upgrade(source, target)
    fetch(source, target, [index for index in range(source.length) if not target.has(index)])
