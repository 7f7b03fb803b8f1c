"""Hyperdrive: writing. Blocks equal those of the official writer.

Rules: hyperdrive index.js (13.3.4), hyperblobs index.js, lib/streams.js and lib/block-map.js (2.12.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..bee import Header
from ..bee.writer import BeeBatch, BeeWriter
from ..blocks import WritableLog
from ..crypto import blake2b_256
from ..errors import BlockNotAvailable, InvalidPath
from . import paths
from .blobs import DEFAULT_BLOCK_BYTES
from .blockmap import BlockMap, MapEntry, encode_block_map
from .drive import FILES
from .entries import BlobId, Entry, decode_entry, encode_entry


class BlobStream:
    """A content appended in pieces. Nothing else may be written to its core before `finish`."""

    def __init__(self, log: WritableLog) -> None:
        self._log = log
        self._first_block = log.length
        self._first_byte = log.byte_length

    def write(self, blocks: Sequence[bytes]) -> None:
        """Append blocks, in the sizes that readers get (64 KiB is usual)."""
        if blocks:
            self._log.append(blocks)

    def finish(self) -> BlobId:
        """End the content. Returns its place."""
        log = self._log
        return BlobId(
            self._first_block,
            log.length - self._first_block,
            self._first_byte,
            log.byte_length - self._first_byte,
        )


class BlobWriter:
    """Appends contents to a blobs core."""

    def __init__(self, log: WritableLog, *, block_bytes: int = DEFAULT_BLOCK_BYTES) -> None:
        self._log = log
        self._block_bytes = block_bytes

    def put(self, content: bytes | Iterable[bytes]) -> BlobId:
        """Append a content: bytes, which are cut into blocks, or the blocks themselves."""
        return self._append(list(self._blocks(content)))

    def stream(self) -> BlobStream:
        """A stream for a content that does not fit in memory."""
        return BlobStream(self._log)

    def put_deduplicated(self, content: bytes | Iterable[bytes], previous: BlobId | None = None) -> BlobId:
        """Append only those blocks that neither this content nor `previous` has already, and a map of them
        all."""
        known = self._hashes(previous) if previous is not None else {}
        entries: list[MapEntry] = []
        new: list[bytes] = []
        for block in self._blocks(content):
            digest = blake2b_256(block)
            if digest not in known:
                known[digest] = MapEntry(self._log.length + len(new), len(block))
                new.append(block)
            entries.append(known[digest])
        self._append(new)
        return self._append(encode_block_map(entries))._replace(block_map=True)

    def _append(self, blocks: list[bytes]) -> BlobId:
        stream = self.stream()
        stream.write(blocks)
        return stream.finish()

    def _blocks(self, content: bytes | Iterable[bytes]) -> Iterable[bytes]:
        if not isinstance(content, bytes):
            return content
        size = self._block_bytes
        return (content[start : start + size] for start in range(0, len(content), size))

    def _hashes(self, blob: BlobId) -> dict[bytes, MapEntry]:
        """The blocks of a content by their hash."""
        indices: Iterable[int] = range(blob.block_offset, blob.block_offset + blob.block_length)
        if blob.block_map:
            found = BlockMap()
            for index in indices:
                found.add(self._peek(index))
            indices = found.indices(0, len(found))
        blocks = ((index, self._peek(index)) for index in indices)
        return {blake2b_256(block): MapEntry(index, len(block)) for index, block in blocks}

    def _peek(self, index: int) -> bytes:
        block = self._log.peek(index)
        if block is None:
            raise BlockNotAvailable(f"block {index} is not here, contents cannot be deduplicated")
        return block


class DriveBatch:
    """Changes of a drive that become visible together. Contents are appended at once. Use as a context
    manager."""

    def __init__(self, bee: BeeBatch, blobs: BlobWriter) -> None:
        self._bee = bee
        self._blobs = blobs

    def __enter__(self) -> DriveBatch:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            self.flush()

    def put(
        self,
        path: str,
        content: bytes | Iterable[bytes],
        *,
        executable: bool = False,
        metadata: Any = None,
        deduplicate: bool = False,
    ) -> Entry:
        """Write a file. With `deduplicate`, blocks that its last version has already are not stored again."""
        path = _file_path(path)
        if deduplicate:
            blob = self._blobs.put_deduplicated(content, self._last_blob(path))
        else:
            blob = self._blobs.put(content)
        return self._write(path, executable=executable, blob=blob, metadata=metadata)

    def put_blob(self, path: str, blob: BlobId, *, executable: bool = False, metadata: Any = None) -> Entry:
        """Write a file whose content was appended before, as by `DriveWriter.stream`."""
        return self._write(_file_path(path), executable=executable, blob=blob, metadata=metadata)

    def symlink(self, path: str, target: str, *, metadata: Any = None) -> Entry:
        """Write a link. The target is kept as it is given."""
        return self._write(_file_path(path), linkname=target, metadata=metadata)

    def delete(self, path: str) -> bool:
        """Take a file or link away. False if there is none."""
        return self._bee.delete(_file_path(path).encode())

    def flush(self) -> None:
        self._bee.flush()

    def _write(self, path: str, **members: Any) -> Entry:
        value = encode_entry(Entry(path=path, seq=0, **members))
        seq = self._bee.put(path.encode(), value)
        return decode_entry(path, seq, value)

    def _last_blob(self, path: str) -> BlobId | None:
        found = self._bee.get(path.encode())
        return None if found is None else decode_entry(path, found.seq, found.value).blob


class DriveWriter:
    """Writes a drive into two cores of one's own."""

    def __init__(self, db: WritableLog, blobs: WritableLog, *, blobs_key: bytes | None = None) -> None:
        """`blobs_key` is written into the header. It has to be, unless the key follows from the manifest of
        the db (see `content.derived_blobs_key`)."""
        self._bee = BeeWriter(db, header=Header(has_metadata=True, content_feed=blobs_key))
        self._files = self._bee.sub(FILES)
        self._blobs = BlobWriter(blobs)

    def batch(self) -> DriveBatch:
        """Only one batch may be open, and no other write may come between."""
        return DriveBatch(self._files.batch(), self._blobs)

    def stream(self) -> BlobStream:
        """Append a large content piece by piece; `DriveBatch.put_blob` then gives it a path. Other contents
        wait until it is finished."""
        return self._blobs.stream()

    def put(
        self,
        path: str,
        content: bytes | Iterable[bytes],
        *,
        executable: bool = False,
        metadata: Any = None,
        deduplicate: bool = False,
    ) -> Entry:
        """Write a file. With `deduplicate`, blocks that its last version has already are not stored again."""
        with self.batch() as batch:
            return batch.put(path, content, executable=executable, metadata=metadata, deduplicate=deduplicate)

    def symlink(self, path: str, target: str, *, metadata: Any = None) -> Entry:
        """Write a link. The target is kept as it is given."""
        with self.batch() as batch:
            return batch.symlink(path, target, metadata=metadata)

    def delete(self, path: str) -> bool:
        """Take a file or link away. False if there is none."""
        with self.batch() as batch:
            return batch.delete(path)

    def write_header(self) -> None:
        """Make an empty core an empty drive."""
        self._bee.write_header()


def _file_path(path: str) -> str:
    normal = paths.normalize(path)
    if normal == paths.ROOT:
        raise InvalidPath(f"{path!a} names no file")
    return normal
