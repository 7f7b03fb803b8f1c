"""The content that tests/peers/lib/content.js makes: SHAKE-128 of a seed string, as long as asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

CHUNK = 65_536


def content(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a drive, or with `target` a symbolic link."""

    path: str
    size: int = 0
    seed: str = ""
    executable: bool = False
    metadata: Any = None
    target: str | None = None

    @property
    def bytes(self) -> bytes:
        return content(self.seed or self.path, self.size)

    def command(self) -> dict[str, Any]:
        """What publisher.js wants to know to put it."""
        if self.target is not None:
            return {"cmd": "symlink", "path": self.path, "target": self.target}
        return {
            "cmd": "put",
            "path": self.path,
            "seed": self.seed or self.path,
            "size": self.size,
            "executable": self.executable,
            "metadata": self.metadata,
        }

    def expected(self) -> dict[str, Any]:
        """What a reader must report of it."""
        if self.target is not None:
            return {
                "executable": False,
                "linkname": self.target,
                "metadata": None,
                "sha256": None,
                "size": None,
            }
        return {
            "executable": self.executable,
            "linkname": None,
            "metadata": self.metadata,
            "sha256": sha256(self.bytes),
            "size": self.size,
        }


def listing(files: list[File]) -> dict[str, dict[str, Any]]:
    """What a reader must find when these were put in this order: the last of a path wins."""
    return {file.path: file.expected() for file in files}


EDGE_FILES = [
    File(path="/empty"),
    File(path="/one.bin", size=1),
    File(path="/block-minus-one.bin", size=CHUNK - 1),
    File(path="/block.bin", size=CHUNK),
    File(path="/block-plus-one.bin", size=CHUNK + 1),
    File(path="/tools/run.sh", size=200, executable=True),
    File(path="/described.json", size=300, metadata={"title": "Größe ≠ 0", "tags": [1, 2.5, None, True]}),
    File(path="/unicode/日本語/ñandú 🐦/e\u0301.txt", size=1_234),
    File(path="/with space/percent%20/#hash?.txt", size=77),
    File(path="/" + "/".join(f"level{i:02}" for i in range(40)) + "/leaf.txt", size=4_096),
    File(path="/overwritten.txt", size=5_000, seed="first"),
    File(path="/overwritten.txt", size=70_000, seed="second"),
    File(path="/grown.bin", size=3 * CHUNK + 5, seed="grown"),
    File(path="/grown.bin", size=5 * CHUNK + 9, seed="grown"),
    File(path="/link", target="/block.bin"),
    File(path="/unicode/relative-link", target="../one.bin"),
]
"""Sizes around the block size, names that break careless code, an overwrite, links, and a file
that kept its beginning (the same seed gives the same start), which a deduplicated drive stores as a
block map."""
