"""Lists of keys as people write them: on a command line and in `seeds.txt`.

A line of `seeds.txt` is `core|bee|drive KEY` (the form of simple-seeder), or a bare KEY whose kind is
detected from the content. Text after a `#`, at the start or after a space, is a comment. simple-seeder's
fourth form, `seeders KEY`, is skipped: announcing through `@hyperswarm/seeders` is not supported.

Error texts never quote a line: the file may be named by mistake and hold a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from hypercore.errors import KeyFormatError
from hypercore.keys import EXPECTED, decode_key, encode_key

from ..model.kind import Kind

MAX_LIST_BYTES = 64 << 20
"""A larger key list (about 900,000 keys) is probably another file."""

_COMMENT = re.compile(r"(^|\s)#.*")
_CONTROL = re.compile(r"[^\x09-\x0d\x20-\x7e\x80-\U0010ffff]")
_KEY_AT_END = re.compile(r"(?<![0-9A-Za-z])([0-9A-Fa-f]{64}|[a-z0-9]{52})[ \t]*\Z")
_KINDS: Final = tuple(kind.value for kind in Kind)
_SEEDERS: Final = "seeders"


class SeedSpec(NamedTuple):
    """A key to seed. `kind` None: detect it from the content."""

    key: bytes
    kind: Kind | None = None
    max_fork: int | None = None
    """Follow the writer up to this fork; None: any."""
    own: bool = False
    """We are its writer: cleared blocks are not missing, it stays open, and peers are looked up for what is
    new."""
    announce: bool = True
    """False: it is neither announced nor looked up; peers that are connected may ask for it."""


class Skipped(NamedTuple):
    """A line that is valid and has no effect here."""

    reason: str
    """For people; to follow the line's number."""


class KeyListError(KeyFormatError):
    """An invalid line of a key list; the text names file, line, and what was expected."""


def parse_list(
    text: str, *, source: str, on_skipped: Callable[[str], None] = lambda _: None
) -> list[SeedSpec]:
    """All keys of a list, in order. `on_skipped` gets a text for each line that is skipped.

    Raises KeyListError naming `source` and the line.
    """
    if (number := damaged_line(text)) is not None:
        raise KeyListError(
            f"{source}, line {number}: has control characters: the file is damaged, or no list"
        )
    found = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        try:
            parsed = parse_line(line)
        except KeyFormatError as error:
            raise KeyListError(f"{source}, line {number}: {error}") from None
        if isinstance(parsed, Skipped):
            on_skipped(f"{source}, line {number}: {parsed.reason}")
        elif parsed is not None:
            found.append(parsed)
    return found


def parse_line(line: str) -> SeedSpec | Skipped | None:
    """The key of one line; None for an empty line or comment.

    Raises KeyFormatError, whose text does not quote the line.
    """
    words = _COMMENT.sub("", line).split()
    return _parse_words(words) if words else None


def damaged_line(text: str) -> int | None:
    """The number of the first line with a control character, such as the NULs of a file that a crash cut."""
    found = _CONTROL.search(text)
    return None if found is None else len(text[: found.start() + 1].splitlines())


def is_cut(text: str) -> bool:
    """Whether the list may end in the middle of a line: it has no final newline, and the last line is not
    exactly an entry with a whole key.

    No prefix of a key is another key: the first 52 of 64 hex digits are not z-base-32, which ends with y or
    o.
    """
    lines = text.splitlines(keepends=True)
    if not lines or not lines[-1].strip() or lines[-1].splitlines()[0] != lines[-1]:
        return False
    if _COMMENT.search(lines[-1]) or _KEY_AT_END.search(lines[-1]) is None:
        return True
    try:
        parse_line(lines[-1])
    except KeyFormatError:
        return True
    return False


def read_list(path: Path, *, on_skipped: Callable[[str], None] = lambda _: None) -> list[SeedSpec]:
    """All keys of the list in a file. Raises KeyListError, or OSError when the file cannot be read."""
    with path.open("rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise KeyListError(f"{path} is larger than {MAX_LIST_BYTES >> 20} MiB: is it a list of keys?")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise KeyListError(f"{path} is not text (UTF-8): is it a list of keys?") from None
    return parse_list(text, source=str(path), on_skipped=on_skipped)


def merge(specs: Iterable[SeedSpec]) -> list[SeedSpec]:
    """One entry a key, in order of first mention; a given kind overrides a missing one.

    Raises KeyListError when a key is given two kinds.
    """
    merged: dict[bytes, Kind | None] = {}
    for key, kind, *_ in specs:
        known = merged.get(key)
        if known is not None and kind is not None and known is not kind:
            raise KeyListError(
                f"{encode_key(key)} is listed as {known.value} and as {kind.value}: which is it?"
            )
        merged[key] = known or kind
    return [SeedSpec(key, kind) for key, kind in merged.items()]


def _parse_words(words: list[str]) -> SeedSpec | Skipped:
    if len(words) == 1:
        return SeedSpec(_key(words[0]))
    if len(words) > 2 or words[0] not in (*_KINDS, _SEEDERS):
        raise KeyFormatError(f"expected '{'|'.join(_KINDS)} KEY' or 'KEY', found {len(words)} words")
    key = _key(words[1])
    if words[0] == _SEEDERS:
        return Skipped(
            "'seeders' is skipped: it is known to simple-seeder alone (to seed it, write 'drive KEY')"
        )
    return SeedSpec(key, Kind(words[0]))


def _key(word: str) -> bytes:
    try:
        return decode_key(word)
    except KeyFormatError:
        raise KeyFormatError(f"{len(word):,} characters that are not a key: expected {EXPECTED}") from None
