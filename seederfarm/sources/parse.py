"""Answers of sources as keys: JSON with or without a mapping, and `seeds.txt`. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import jmespath  # type: ignore[import-untyped, unused-ignore]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped, unused-ignore]

from hypercore.errors import KeyFormatError
from workers.engine.keylist import parse_line
from workers.engine.kinds import Kind

MAX_ENTRIES: Final = 500_000
"""Entries of one list; a list beyond this is refused as a whole. Ours: about what 64 MiB of answer hold."""
MAX_REPORTED: Final = 20
"""Malformed entries that are told one by one; all are counted."""
MAX_KEPT: Final = 2000
"""Characters of an entry's own JSON that are kept beside its key."""
_KEY_FIELDS: Final = ("key", "url")
_KINDS: Final = tuple(sorted(kind.value for kind in Kind))


class SourceError(Exception):
    """An answer that cannot be used; nothing changes. The text is for the operator."""


class Entry(NamedTuple):
    """One key of a list."""

    key: str
    """Hex."""
    kind: str = ""
    """`core`, `bee`, `drive`, or empty: to be seen from the content."""
    label: str = ""
    data: dict[str, Any] | None = None
    """The object as it was listed, when there was one that is small and can be stored."""


class Parsed(NamedTuple):
    entries: dict[str, Entry]
    """By key; of one that is listed twice, the first."""
    refused: int
    """Entries that are no keys."""
    problems: list[str]
    """What is wrong with the first MAX_REPORTED of them."""


def parse_json(body: bytes, mapping: str = "") -> Parsed:
    """Keys of a JSON answer. Without `mapping` (JMESPath): a list of strings, `{"key"}` or `{"url"}`.

    Raises SourceError when it is no JSON, or not a list after the mapping, or too long.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise SourceError(_not_json(body)) from None
    if mapping.strip():
        try:
            value = jmespath.search(mapping, value)
        except (JMESPathError, RecursionError) as error:
            raise SourceError(f"the mapping fails: {clean(str(error))}") from None
    if not isinstance(value, list):
        after = " after the mapping" if mapping.strip() else ""
        raise SourceError(f"expected a list{after}, found {_name(value)}")
    return _gather(value)


def parse_lines(body: bytes) -> Parsed:
    """Keys of a `seeds.txt`. Raises SourceError when it is no text, is a web page, or is too long."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("the list is not text (UTF-8)") from None
    if looks_like_html(body):
        raise SourceError("the answer is a web page (HTML), not a list of keys")
    return _gather(text.splitlines())


def looks_like_html(body: bytes) -> bool:
    return body[:1000].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def clean(text: str, length: int = 200) -> str:
    """A strange text as one short line that every database can store."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:length]).strip()


def _gather(items: Iterable[Any]) -> Parsed:
    found = Gathering()
    for item in items:
        found.take(partial(_entry, item))
    return found.parsed()


class Gathering:
    """A list as it is read, entry by entry. Raises SourceError for one that is too long."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._count = 0
        self._refused = 0
        self._problems: list[str] = []

    def take(self, read: Callable[[], Entry | None]) -> None:
        """The next entry. `read` gives None for what is nothing (an empty line), and raises ValueError for
        what is no key."""
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise SourceError(f"the list has more than {MAX_ENTRIES:,} entries")
        try:
            entry = read()
        except ValueError as error:
            self._refused += 1
            if len(self._problems) < MAX_REPORTED:
                self._problems.append(f"entry {self._count}: {clean(str(error))}")
            return
        if entry is not None:
            self._entries.setdefault(entry.key, entry)

    def parsed(self) -> Parsed:
        return Parsed(self._entries, self._refused, self._problems)


def _entry(item: Any) -> Entry | None:
    if isinstance(item, str):
        wanted = parse_line(item)
        return None if wanted is None else Entry(wanted.key.hex(), wanted.kind.value if wanted.kind else "")
    if not isinstance(item, dict):
        raise KeyFormatError(f"expected a key or an object with one, found {_name(item)}")
    text = next((item[field] for field in _KEY_FIELDS if isinstance(item.get(field), str)), None)
    if text is None:
        raise KeyFormatError("expected an object with 'key' or 'url'")
    found = _entry(text)
    if found is None:
        raise KeyFormatError("the key is empty")
    kind, label = item.get("kind"), item.get("label")
    if kind not in (None, "", *_KINDS):
        raise KeyFormatError(f"unknown kind {str(kind)[:40]!r}: expected one of {', '.join(_KINDS)}")
    return Entry(
        found.key, kind or found.kind, clean(label) if isinstance(label, str) else "", _storable(item)
    )


def _storable(item: dict[str, Any]) -> dict[str, Any] | None:
    """None for what PostgreSQL refuses in JSON (NUL, lone surrogates, infinity), and for what is long."""
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
    return f"the answer is not JSON: it begins with {clean(body[:40].decode('utf-8', 'replace'))!r}"


def _name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")
