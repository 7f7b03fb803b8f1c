"""Paths inside a drive: absolute, `/` between the names, no `.` or `..`.

Rules: unix-path-resolve index.js, which hyperdrive applies to every name. Both slashes separate, and a
Windows drive letter or a `file:` in front is dropped.
"""

from __future__ import annotations

import re

from ..errors import InvalidContent, InvalidPath

ROOT = "/"

MAX_PATH_BYTES = 1 << 16
"""Longest path in bytes of UTF-8 (our own choice, 16 times the limit of one Linux system call)."""

_SEPARATORS = re.compile(r"[/\\]")


def resolve(path: str, base: str = ROOT) -> str:
    """The absolute form of `path`, relative to the folder or link `base`. Raises InvalidPath if it leaves the
    drive."""
    names = _SEPARATORS.split(path)
    absolute = path.startswith(("/", "\\"))
    if len(names) > 1 and names[0].endswith(":"):
        absolute = True
        # "c:/x" and "file:/x" lose their first name, "https://host/x" loses three
        names = names[1 if len(names[0]) == 2 or names[0] == "file:" else 3 :]
    resolved = [] if absolute else [name for name in base.split("/") if name]
    for name in names:
        if name == "..":
            if not resolved:
                raise InvalidPath(f"{_shown(path)} leads out of the drive")
            resolved.pop()
        elif name not in ("", "."):
            resolved.append(name)
    return ROOT + "/".join(resolved)


def normalize(path: str) -> str:
    """The stored form of a path given by a person. Raises InvalidPath."""
    resolved = resolve(path)
    encode(resolved)
    return resolved


def encode(path: str) -> bytes:
    """The bytes of a normalized path. Raises InvalidPath if no drive can hold it."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        raise InvalidPath(f"{_shown(path)} is not text that UTF-8 can hold") from None
    if b"\0" in raw:
        raise InvalidPath(f"{_shown(path)} contains a NUL byte")
    if len(raw) > MAX_PATH_BYTES:
        raise InvalidPath(f"{_shown(path)} is longer than {MAX_PATH_BYTES} bytes")
    return raw


def decode(raw: bytes) -> str:
    """The path in a key of the db. Raises InvalidContent unless it is in its one normal form."""
    if len(raw) > MAX_PATH_BYTES:
        raise InvalidContent(f"drive: a path of {len(raw)} bytes, at most {MAX_PATH_BYTES} are accepted")
    try:
        path = raw.decode()
    except UnicodeDecodeError:
        raise InvalidContent(f"drive: the path {_shown_bytes(raw)} is not UTF-8") from None
    names = path.split("/")
    if names[0] or len(names) < 2 or any(name in ("", ".", "..") for name in names[1:]):
        raise InvalidContent(f"drive: the path {_shown(path)} is not absolute and resolved")
    if "\0" in path or "\\" in path:
        raise InvalidContent(f"drive: the path {_shown(path)} contains a NUL or a backslash")
    return path


def link_targets(path: str, linkname: str) -> list[str]:
    """Possible targets of the link at `path`, the likelier first. Raises InvalidContent if there is none.

    Official readers resolve a relative target against the link itself, as if it were a folder (hyperdrive
    index.js, `entry`); file systems, and drives that mirror one, against the folder of the link.
    """
    targets: list[str] = []
    problem: InvalidPath | None = None
    for base in (path, path.rpartition("/")[0]):
        try:
            target = resolve(linkname, base)
            encode(target)
        except InvalidPath as error:
            problem = error
        else:
            if target not in targets:
                targets.append(target)
    if not targets:
        raise InvalidContent(f"drive: the link {_shown(path)} cannot be followed: {problem}")
    return targets


def folder_prefix(folder: str) -> str:
    """Prefix of all paths in a (normalized) folder."""
    return folder if folder == ROOT else folder + "/"


def _shown(path: str) -> str:
    return ascii(path if len(path) <= 100 else path[:97] + "...")


def _shown_bytes(raw: bytes) -> str:
    return repr(raw if len(raw) <= 100 else raw[:97] + b"...")
