"""Lists of keys as people write them: on a command line and in `seeds.txt`.

A line of `seeds.txt` is `core|bee|drive KEY` (the form that the official simple-seeder reads), or a bare KEY,
whose kind is then seen from the content. What follows a `#`, at the start or after a space, is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hypercore.errors import KeyFormatError
from hypercore.keys import decode_key

from .kinds import Kind

MAX_LIST_BYTES = 64 << 20
"""A key list beyond this (about 900,000 keys) is taken for something else by mistake."""

_COMMENT = re.compile(r"(^|\s)#.*")


class Wanted(NamedTuple):
    """A key to seed. `kind` is None when it is to be seen from the content."""

    key: bytes
    kind: Kind | None = None
    max_fork: int | None = None
    """Its writer is followed up to this fork; None: onto any."""


class KeyListError(KeyFormatError):
    """A line of a key list is not what it must be; the text names file, line, and what was expected."""


def parse_list(text: str, *, source: str) -> list[Wanted]:
    """All keys of a list, in order. Raises KeyListError naming `source` and the line."""
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        try:
            wanted = parse_line(line)
        except KeyFormatError as error:
            raise KeyListError(f"{source}, line {number}: {error}") from None
        if wanted is not None:
            found.append(wanted)
    return found


def parse_line(line: str) -> Wanted | None:
    """The key of one line; None when it has only a comment, or nothing. Raises KeyFormatError."""
    words = _COMMENT.sub("", line).split()
    return _parse_words(words) if words else None


def read_list(path: Path) -> list[Wanted]:
    """All keys of the list in a file. Raises KeyListError, or OSError when the file cannot be read."""
    with path.open("rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise KeyListError(f"{path} is larger than {MAX_LIST_BYTES >> 20} MiB: is it a list of keys?")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyListError(f"{path} is not text (UTF-8): is it a list of keys?") from None
    return parse_list(text, source=str(path))


def merge(wanted: Iterable[Wanted]) -> list[Wanted]:
    """One entry a key, in order of first mention; a kind that is told wins over one that is not.

    Raises KeyListError when a key is told to be two kinds.
    """
    merged: dict[bytes, Kind | None] = {}
    for key, kind, _ in wanted:
        known = merged.get(key)
        if known is not None and kind is not None and known is not kind:
            raise KeyListError(f"{key.hex()} is listed as {known.value} and as {kind.value}: which is it?")
        merged[key] = known or kind
    return [Wanted(key, kind) for key, kind in merged.items()]


def _parse_words(words: list[str]) -> Wanted:
    if len(words) == 1:
        return Wanted(decode_key(words[0]))
    kinds = [kind.value for kind in Kind]
    if len(words) > 2 or words[0] not in kinds:
        raise KeyFormatError(f"expected '{'|'.join(kinds)} KEY' or 'KEY', found {' '.join(words)[:80]!r}")
    return Wanted(decode_key(words[1]), Kind(words[0]))
