"""Bytes waiting to be sent, cut into packet payloads."""

from __future__ import annotations

from collections import deque

from .._types import Buffer


class SendQueue:
    """A byte stream: buffers are joined and split into payloads."""

    __slots__ = ("_at", "_parts", "size")

    def __init__(self) -> None:
        # Pieces of bytes cost less than views, and are not tracked by the garbage collector.
        self._parts: deque[bytes] = deque()
        self._at = 0  # bytes of the first part that were taken
        self.size = 0
        """Bytes not taken yet."""

    def __bool__(self) -> bool:
        return self.size > 0

    def append(self, data: Buffer) -> None:
        """Queue `data`."""
        if data:
            self._parts.append(bytes(data))
            self.size += len(data)

    def take(self, size: int, limit: int) -> list[bytes]:
        """Up to `limit` payloads of `size` bytes; only the last one of the queue may be shorter."""
        out: list[bytes] = []
        parts = self._parts
        while parts and limit > 0:
            part, at = parts[0], self._at
            whole = min((len(part) - at) // size, limit)
            if whole:
                end = at + whole * size
                out += [part[start : start + size] for start in range(at, end, size)]
                limit -= whole
                self.size -= end - at
                if end == len(part):
                    parts.popleft()
                    end = 0
                self._at = end
            else:
                out.append(self._gather(size))
                limit -= 1
        return out

    def _gather(self, size: int) -> bytes:
        """One payload out of several parts, or the end of the last one."""
        parts = self._parts
        pieces: list[bytes] = []
        needed = size
        while parts and needed:
            piece = parts[0][self._at : self._at + needed]
            pieces.append(piece)
            needed -= len(piece)
            self._at += len(piece)
            if self._at == len(parts[0]):
                parts.popleft()
                self._at = 0
        self.size -= size - needed
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def clear(self) -> None:
        self._parts.clear()
        self._at = self.size = 0
