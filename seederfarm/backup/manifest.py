"""The manifest of a backup: what it holds, and SHA-256 of each file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
"""A larger number is of a newer version of Seeder Farm. Ours."""
MAX_MANIFEST: Final = 32 * 1024 * 1024
"""Bytes of a manifest that are read. Ours."""
CHUNK: Final = 1 << 20


class BackupFailed(Exception):
    """No backup was made, or nothing was restored. The text has the cause."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a backup."""

    made_at: str
    """ISO 8601, UTC."""
    software: str
    """Version of the distribution that made it."""
    database: str
    """`sqlite` or `postgresql`."""
    migrations: list[list[str]]
    """Applied ones: app and name."""
    files: dict[str, dict[str, Any]]
    """Path below the backup → `bytes` and `sha256` (hex)."""
    tables: dict[str, list[str]] = field(default_factory=dict)
    """Table → columns in the order of its file; empty for SQLite."""

    def write(self, folder: Path) -> None:
        """Write it. Raises OSError."""
        body = {"format": FORMAT, **asdict(self)}
        (folder / MANIFEST).write_text(
            json.dumps({**body, "sha256": _digest(body)}, indent=1, sort_keys=True) + "\n"
        )


def describe(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, as a manifest has them. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


def read(folder: Path) -> Manifest:
    """The manifest of a backup whose files are all there and unchanged. Raises BackupFailed."""
    manifest = _read_manifest(folder)
    for name, expected in manifest.files.items():
        parts = PurePosixPath(name).parts
        if not parts or parts[0] not in ("home", "registry", "registry.sqlite3") or ".." in parts:
            raise BackupFailed(f"its manifest names {name!r}, which no backup has")
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise BackupFailed(f"its file {name} is missing")
        try:
            found = describe(path)
        except OSError as error:
            raise BackupFailed(f"its file {name} cannot be read: {error.strerror}") from None
        if found != expected:
            raise BackupFailed(
                f"its file {name} is damaged ({found['bytes']:,} bytes, SHA-256 {found['sha256'][:12]}…; "
                f"expected {expected.get('bytes'):,} bytes, {str(expected.get('sha256'))[:12]}…)"
            )
    return manifest


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST + 1)
    except OSError as error:
        if folder.with_name(f"{folder.name}.new").is_dir() and not folder.exists():
            raise BackupFailed("it was never completed: only its unfinished .new directory exists") from None
        raise BackupFailed(f"expected a directory with a {MANIFEST}: {error.strerror}") from None
    try:
        body = json.loads(raw) if len(raw) <= MAX_MANIFEST else None
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("format"), int):
        raise BackupFailed(f"its {MANIFEST} is damaged: it is no manifest of a backup")
    if body["format"] > FORMAT:
        raise BackupFailed(
            f"its format is {body['format']}, made by Seeder Farm {body.get('software')}; this version reads "
            f"formats up to {FORMAT}: restore it with that version"
        )
    digest = body.pop("sha256", None)
    if digest != _digest(body):
        raise BackupFailed(f"its {MANIFEST} is damaged: its SHA-256 is not that of its content")
    try:
        body.pop("format")
        return Manifest(**body)
    except TypeError:
        raise BackupFailed(f"its {MANIFEST} is damaged: fields are missing or unknown") from None


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
