"""A store without a disk. Flushes copy into dictionaries, so that it behaves like the disk."""

from __future__ import annotations

from itertools import islice

from .base import Batch, CoreChanges, CoreInfo, CoreRow
from .disk import core_info


class MemoryBackend:
    """Implements `Backend` with dictionaries."""

    keeps_files = False
    read_only = False

    def __init__(self) -> None:
        self._last_id = 0
        self._rows: dict[int, CoreRow] = {}
        self._ids: dict[bytes, int] = {}
        self._nodes: dict[int, dict[int, bytes]] = {}
        self._bits: dict[int, dict[int, bytes]] = {}
        self._blocks: dict[int, dict[int, bytes]] = {}
        self._meta: dict[str, bytes] = {}

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def find_key(self, discovery_key: bytes) -> bytes | None:
        core_id = self._ids.get(discovery_key)
        return None if core_id is None else self._rows[core_id].key

    def read_row(self, discovery_key: bytes) -> CoreRow | None:
        core_id = self._ids.get(discovery_key)
        return None if core_id is None else self._rows[core_id]

    def read_node_page(self, core_id: int, page: int) -> bytes | None:
        return self._nodes.get(core_id, {}).get(page)

    def read_bit_pages(self, core_id: int) -> dict[int, bytes]:
        return dict(self._bits.get(core_id, {}))

    def read_inline(self, core_id: int, index: int) -> bytes | None:
        return self._blocks.get(core_id, {}).get(index)

    def read_file(self, core_id: int, offset: int, size: int) -> bytes | None:
        return None

    def open_file(self, core_id: int) -> int | None:
        return None

    def core_infos(self) -> list[tuple[int, CoreInfo]]:
        return [(row.id, core_info(row, self._bits.get(row.id, {}))) for row in self._rows.values()]

    def core_manifests(self, after: int, limit: int) -> list[tuple[int, bytes, bytes]]:
        rows = (self._rows[core_id] for core_id in sorted(self._rows) if core_id > after)
        found = ((row.id, row.key, row.manifest) for row in rows if row.manifest is not None)
        return list(islice(found, limit))

    def read_meta(self, name: str) -> bytes | None:
        return self._meta.get(name)

    def meta_names(self, prefix: str) -> list[str]:
        return sorted(name for name in self._meta if name.startswith(prefix))

    def close_files(self, core_id: int) -> None:
        """Nothing is open."""

    def disk_bytes(self) -> int:
        return 0

    def database_bytes(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is open."""

    def commit(self, batch: Batch) -> None:
        for core_id in batch.removed:
            row = self._rows.pop(core_id, None)
            if row is not None and self._ids.get(row.discovery_key) == core_id:
                del self._ids[row.discovery_key]
            for table in (self._nodes, self._bits, self._blocks):
                table.pop(core_id, None)
        for changes in (*batch.first, *batch.then):
            self._write(changes)
        for name, value in batch.meta.items():
            if value is None:
                self._meta.pop(name, None)
            else:
                self._meta[name] = value

    def _write(self, changes: CoreChanges) -> None:
        row = changes.row
        self._rows[row.id] = row
        self._ids[row.discovery_key] = row.id
        nodes = self._nodes.setdefault(row.id, {})
        if changes.node_floor is not None:
            for page in [page for page in nodes if page >= changes.node_floor]:
                del nodes[page]
        nodes.update(changes.node_pages)
        bits = self._bits.setdefault(row.id, {})
        for page, image in changes.bit_pages:
            if image:
                bits[page] = image
            else:
                bits.pop(page, None)
        blocks = self._blocks.setdefault(row.id, {})
        for start, end, _, _ in changes.dropped:
            for index in [i for i in blocks if i >= start and (end is None or i < end)]:
                del blocks[index]
        for run in changes.runs:
            blocks.update(enumerate(run.blocks, run.first))
