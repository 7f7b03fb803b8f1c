"""Finds the file or folder at a path of a drive."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hypercore.drive import Drive, Entry

from .drives import OpenDrive
from .failures import ReadingFailed
from .protocol import Facts


@dataclass(frozen=True, slots=True)
class Found:
    """A path of one version of a drive."""

    facts: Facts
    view: Drive
    entry: Entry | None
    """Of a file."""


async def find(drive: OpenDrive, path: str, version: int | None) -> Found:
    """Return the file or folder at `path`. Raises ReadingFailed if there is none; other HypercoreErrors."""
    newest = drive.drive.version
    if version is not None and not 1 <= version <= newest:
        raise ReadingFailed("version", f"Version {version:,} was asked for; the newest is {newest:,}.")
    view = drive.drive.checkout(newest if version is None else version)
    names = path.split("/")
    if names[0] or len(names) < 2 or any(name in ("", ".", "..") for name in names[1:-1]):
        raise ReadingFailed("missing", "No drive can have this path.")
    if names[-1] == "":
        folder = path[:-1] or "/"
        if "\\" in path or not await view.is_folder(folder):
            raise ReadingFailed("missing", f"Version {view.version:,} of the drive has no such folder.")
        return Found(Facts(kind="folder", path=path, version=view.version, newest=newest), view, None)
    if names[-1] in (".", "..") or "\\" in path:
        raise ReadingFailed("missing", "No drive can have this path.")
    entry = await view.entry(path, follow=True)
    if entry is not None:
        size = await view.size(entry)
        etag = await _etag(drive, entry)
        facts = Facts(
            kind="file",
            path=entry.path,
            version=view.version,
            newest=newest,
            size=size,
            etag=etag,
            executable=entry.executable,
        )
        return Found(facts, view, entry)
    if await view.is_folder(path):
        return Found(Facts(kind="folder", path=path + "/", version=view.version, newest=newest), view, None)
    raise ReadingFailed("missing", f"Version {view.version:,} of the drive has no such file or folder.")


async def _etag(drive: OpenDrive, entry: Entry) -> str:
    """Hash of the place of the content: blocks of one fork of a core never change."""
    if entry.blob is None or not entry.blob.byte_length:
        return hashlib.blake2b(b"empty", digest_size=16).hexdigest()
    blobs = await drive.blobs()
    if blobs.length == 0:
        await blobs.update()
    place = f"{blobs.fork} {' '.join(map(str, map(int, entry.blob)))}".encode()
    return hashlib.blake2b(blobs.key + place, digest_size=16).hexdigest()
