"""Parses answers of sources into keys: JSON with or without a mapping, and `seeds.txt`. Pure.

Errors and problems give position and length, and quote nothing: a source may be pointed at a secret to have
its contents shown. Answers are parsed in a process of their own (see `parser_process`) that runs this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import jmespath  # type: ignore[import-untyped, unused-ignore]
from jmespath.exceptions import (  # type: ignore[import-untyped, unused-ignore]
    JMESPathError,
    JMESPathTypeError,
    ParseError,
)

from hypercore.errors import KeyFormatError
from workers.engine.model.kind import Kind
from workers.engine.settings.key_list import Skipped, damaged_line, is_cut, parse_line

MAX_ENTRIES: Final = 500_000
"""Entries of one list; a longer list is refused. Ours: three times what 8 MiB hold."""
MAX_REPORTED: Final = 20
"""Malformed entries that are reported one by one; all are counted."""
MAX_KEPT: Final = 2000
"""Characters of an entry's own JSON that are stored with its key."""
MAX_KEPT_IN_ALL: Final = 8 << 20
"""Characters of such JSON over all entries of one list; entries beyond it are stored without. Ours."""
_KEY_FIELDS: Final = ("key", "url")
_KINDS: Final = tuple(sorted(kind.value for kind in Kind))
_SPACE: Final = " \t\r\n"


class SourceError(Exception):
    """An answer that cannot be used; nothing changes. The text is for the operator."""


class Entry(NamedTuple):
    """One key of a list."""

    key: str
    """Hex."""
    kind: str = ""
    """`core`, `bee`, `drive`, or empty: detected from the content."""
    label: str = ""
    data: dict[str, Any] | None = None
    """The entry's object if it is small and can be stored."""


class Parsed(NamedTuple):
    """The result of parsing a list."""

    entries: dict[str, Entry]
    """By key; of a repeated key, the first."""
    refused: int
    """Entries that are not keys."""
    problems: list[str]
    """Errors of the first MAX_REPORTED of them, and which were skipped."""
    skipped: int = 0
    """Entries that are valid and have no effect here (`seeders KEY`)."""


def parse_json(body: bytes, mapping: str = "") -> Parsed:
    """Keys of a JSON answer. Without `mapping` (JMESPath): a list of strings, `{"key"}` or `{"url"}`.

    Raises SourceError if it is not JSON, not a list after the mapping, or too long. Without a mapping,
    entries are decoded one at a time, and none after the MAX_ENTRIES-th.
    """
    try:
        text = body.decode(json.detect_encoding(body))
        if mapping.strip():
            return _gather(_mapped(json.loads(text, parse_constant=_no_constant), mapping))
        return _gather(_items(text))
    except (ValueError, RecursionError):
        raise SourceError(_not_json(body)) from None


def _mapped(value: Any, mapping: str) -> list[Any]:
    try:
        value = jmespath.search(mapping, value)
    except (JMESPathError, RecursionError, ValueError, TypeError, ArithmeticError) as error:
        raise SourceError(f"the mapping fails: {_mapping_error(error)}") from None
    if not isinstance(value, list):
        raise SourceError(f"expected a list after the mapping, found {_name(value)}")
    return value


def _mapping_error(error: Exception) -> str:
    """The error without values of the answer, which jmespath puts into its texts."""
    if isinstance(error, ParseError):  # quotes the mapping alone
        return clean(str(error))
    if isinstance(error, JMESPathTypeError):
        expected = " or ".join(map(str, error.expected_types))
        return f"{error.function_name}() expects {expected}, and gets {error.actual_type}"
    return type(error).__name__


def _items(text: str) -> Iterator[Any]:
    """The items of a JSON list, one at a time. Raises ValueError at the first invalid one."""
    text = text.removeprefix("\ufeff")
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise SourceError(f"expected a list, found {_name(json.loads(text, parse_constant=_no_constant))}")
    scan = json.JSONDecoder(parse_constant=_no_constant).raw_decode
    at = _skip(text, at + 1)
    separator = "]" if text[at : at + 1] == "]" else ","
    while separator == ",":
        item, at = scan(text, at)
        yield item
        at = _skip(text, at)
        separator = text[at : at + 1]
        if separator == ",":
            at = _skip(text, at + 1)
    if separator != "]" or _skip(text, at + 1) != len(text):
        raise ValueError("no JSON list")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def parse_lines(body: bytes) -> Parsed:
    """Keys of a `seeds.txt`.

    Raises SourceError if it is not text, is a web page, is damaged or too long, or ends in the middle of a
    line.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("the list is not text (UTF-8)") from None
    if looks_like_html(body):
        raise SourceError("the answer is a web page (HTML), not a list of keys")
    if (number := damaged_line(text)) is not None:
        raise SourceError(f"line {number} has control characters: the list is damaged")
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if line.lstrip()[:1] == "<":
            raise SourceError(f"line {number} is of a web page (HTML): the list is damaged")
    if is_cut(text):
        raise SourceError(
            f"the list ends in the middle of line {len(lines):,}, and may be cut "
            "(if it is not, end that line with a newline)"
        )
    return _gather(lines, noun="line")


def looks_like_html(body: bytes) -> bool:
    """Whether a body is an HTML page, such as the error page of a proxy, instead of a list."""
    return body[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def clean(text: str, length: int = 200) -> str:
    """The text as one short line that every database can store."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:length]).strip()


def _gather(items: Iterable[Any], noun: str = "entry") -> Parsed:
    found = EntryCollector(noun)
    for item in items:
        found.take(partial(_entry, item))
    return found.parsed()


class EntryCollector:
    """Collects a list entry by entry. Raises SourceError beyond MAX_ENTRIES."""

    def __init__(self, noun: str = "entry") -> None:
        self._noun = noun
        self._entries: dict[str, Entry] = {}
        self._count = 0
        self._refused = 0
        self._skipped = 0
        self._problems: list[str] = []
        self._kept_left = MAX_KEPT_IN_ALL

    def take(self, read: Callable[[], Entry | Skipped | None]) -> None:
        """Add the next entry. `read` returns None for an empty line, and raises ValueError for an invalid
        key."""
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise SourceError(f"the list has more than {MAX_ENTRIES:,} entries")
        try:
            entry = read()
        except ValueError as error:
            self._refused += 1
            self._record(str(error))
            return
        if isinstance(entry, Skipped):
            self._skipped += 1
            self._record(entry.reason)
        elif entry is not None and entry.key not in self._entries:
            self._entries[entry.key] = self._within_budget(entry)

    def _within_budget(self, entry: Entry) -> Entry:
        if entry.data is None:
            return entry
        self._kept_left -= len(json.dumps(entry.data))
        return entry if self._kept_left >= 0 else entry._replace(data=None)

    def _record(self, text: str) -> None:
        if len(self._problems) < MAX_REPORTED:
            self._problems.append(f"{self._noun} {self._count}: {clean(text)}")

    def parsed(self) -> Parsed:
        """All entries so far."""
        return Parsed(self._entries, self._refused, self._problems, self._skipped)


def _entry(item: Any) -> Entry | Skipped | None:
    if isinstance(item, str):
        wanted = parse_line(item)
        if wanted is None or isinstance(wanted, Skipped):
            return wanted
        return Entry(wanted.key.hex(), wanted.kind.value if wanted.kind else "")
    if not isinstance(item, dict):
        raise KeyFormatError(f"expected a key or an object with one, found {_name(item)}")
    text = next((item[field] for field in _KEY_FIELDS if isinstance(item.get(field), str)), None)
    if text is None:
        raise KeyFormatError("expected an object with 'key' or 'url'")
    found = _entry(text)
    if found is None:
        raise KeyFormatError("the key is empty")
    if isinstance(found, Skipped):
        return found
    kind, label = item.get("kind"), item.get("label")
    if kind not in (None, "", *_KINDS):
        raise KeyFormatError(f"a kind that is unknown: expected one of {', '.join(_KINDS)}")
    return Entry(
        found.key, kind or found.kind, clean(label) if isinstance(label, str) else "", _storable(item)
    )


def _storable(item: dict[str, Any]) -> dict[str, Any] | None:
    """The item, or None if PostgreSQL cannot store it (NUL, lone surrogates, infinity) or it is long."""
    try:
        text = json.dumps(item, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError):
        return None
    return item if len(text) <= MAX_KEPT and "\\u0000" not in text else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _not_json(body: bytes) -> str:
    if not body.strip():
        return "the answer is empty"
    if looks_like_html(body):
        return "the answer is a web page (HTML), not JSON"
    return f"the answer is not JSON, or is cut ({len(body):,} bytes)"


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")
