"""Values of the store's key-value table that are not written yet."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator


class MetaChanges:
    """New values by name; None deletes. Names are sorted, so that names with a prefix are found without a
    scan: a store searches them for each core while the values of many others wait."""

    __slots__ = ("_names", "values")

    def __init__(self) -> None:
        self._names: list[str] = []
        self.values: dict[str, bytes | None] = {}
        """All values. Read-only."""

    def __bool__(self) -> bool:
        return bool(self.values)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> bytes | None:
        return self.values[name]

    def __setitem__(self, name: str, value: bytes | None) -> None:
        if name not in self.values:
            insort(self._names, name)
        self.values[name] = value

    def over(self, older: MetaChanges) -> MetaChanges:
        """Both merged; this one's values replace older ones."""
        both = MetaChanges()
        both.values = older.values | self.values
        both._names = sorted(both.values)
        return both

    def with_prefix(self, prefix: str) -> Iterator[tuple[str, bytes | None]]:
        """Names that begin with `prefix`, in order, with their values. Found by bisection."""
        for position in range(bisect_left(self._names, prefix), len(self._names)):
            name = self._names[position]
            if not name.startswith(prefix):
                return
            yield name, self.values[name]
