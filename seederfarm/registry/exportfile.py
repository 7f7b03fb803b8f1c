"""The file that `seederfarm export` writes: JSON lines, the first of which names the version.

    {"seederfarm": "export", "version": 2, "farm": NAME, "at": TIME}
    {"source": NAME, "kind": …, "location": …, …}          before the keys that name it
    {"key": HEX, "kind": …, "label": …, …}
    {"channel": NAME, "kind": …, "target": …, …}
    {"rule": KIND, "threshold": …, "channels": [NAME, …], …}
    {"silence": …, "rule": …, "worker": ID, "drive": HEX, "tag": …, "ends_at": TIME}

Version 1 had no first line, and of a key what `_BEFORE` names. This module reads and checks a file as far as
possible without the registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from django.core.exceptions import ValidationError

from hypercore.errors import KeyFormatError
from hypercore.keys import decode_key

from .models.fields import clean_tags

VERSION: Final = 2
MAX_LINE: Final = 1 << 20
"""Characters of a line. Ours: a note of a drive may be long, everything else is short."""
MAX_COPIES: Final = 1000
MAX_SECONDS: Final = 366 * 86400
"""As `models.alerting.MAX_SECONDS`."""
MAX_TEXT: Final = 200
"""Characters of a label (as the column has)."""


class Problem(NamedTuple):
    """A fault in a line of the file. `line` counts from 1."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class Unreadable(Exception):
    """The file cannot be imported. Holds every error."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems[:3])))
        self.problems = problems


class Item(NamedTuple):
    """A source or a key: its values, each of the right type and range."""

    line: int
    values: dict[str, Any]


class Alerting(NamedTuple):
    """The settings of alerts."""

    channels: dict[str, Item]
    """By name."""
    rules: dict[str, Item]
    """By kind."""
    silences: dict[str, Item]
    """By a name that is unique in the file."""


class Document(NamedTuple):
    """A whole file."""

    drives: dict[str, Item]
    """By key (hex)."""
    sources: dict[str, Item]
    """By name."""
    alerting: Alerting
    problems: list[Problem]
    """What is not understood and left out: fields of a newer farm, keys that are named twice."""


Reader = Callable[[Any], Any]
"""Takes a JSON value, returns what is stored. Raises ValueError with what was expected."""


def read(lines: Iterable[str]) -> Document:
    """Read and check a file. Raises Unreadable."""
    found = Document({}, {}, Alerting({}, {}, {}), [])
    wrong: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix("\ufeff").strip() if number == 1 else line.strip()
        if not text:
            continue
        try:
            _take(found, number, text)
        except (ValueError, RecursionError) as error:
            wrong.append(Problem(number, str(error)))
    if wrong:
        raise Unreadable(wrong)
    return found


def _take(found: Document, number: int, text: str) -> None:
    if len(text) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE:,} characters")
    try:
        data = json.loads(text)
    except ValueError:
        raise ValueError(f"not JSON, as `export` writes it: {text[:40]!r}") from None
    if not isinstance(data, dict):
        raise ValueError("expected a JSON object, as `export` writes it")
    if "seederfarm" in data:
        _check_version(data)
    elif "key" in data:
        _add(found, found.drives, number, data, "key", DRIVE_FIELDS)
    elif "source" in data:
        _add(found, found.sources, number, data, "source", SOURCE_FIELDS)
    elif "channel" in data:
        _add(found, found.alerting.channels, number, data, "channel", CHANNEL_FIELDS)
    elif "silence" in data:  # before rules: it may have one
        _add(found, found.alerting.silences, number, data, "silence", SILENCE_FIELDS)
    elif "rule" in data:
        _add(found, found.alerting.rules, number, data, "rule", RULE_FIELDS)
    else:
        raise ValueError("expected an object with `key`, `source`, `channel`, `rule` or `silence`")


def _check_version(data: Mapping[str, Any]) -> None:
    version = data.get("version")
    if data["seederfarm"] != "export" or type(version) is not int:
        raise ValueError("this is no file that `export` wrote")
    if version > VERSION:
        raise ValueError(f"a newer farm wrote this (version {version}; this one reads up to {VERSION})")


def _add(
    found: Document,
    items: dict[str, Item],
    number: int,
    data: dict[str, Any],
    name: str,
    fields: Mapping[str, Reader],
) -> None:
    values: dict[str, Any] = {}
    for field, value in data.items():
        reader = fields.get(field)
        if reader is None:
            found.problems.append(Problem(number, f"{field[:40]!r} is not understood and left out"))
            continue
        try:
            values[field] = reader(value)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
    identity = values.pop(name)
    if identity in items:
        what = identity[:16] + "…" if name == "key" else identity
        found.problems.append(
            Problem(number, f"{what} was there in line {items[identity].line}, which counts")
        )
        return
    items[identity] = Item(number, values)


# --- what each field takes


def _key(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a key")
    try:
        return decode_key(value).hex()
    except KeyFormatError as error:
        raise ValueError(str(error)) from None


def _text(longest: int | None = None, *, empty: bool = True) -> Reader:
    def read_text(value: Any) -> str:
        if value is None and empty:
            return ""
        if not isinstance(value, str) or "\0" in value or not (value.strip() or empty):
            raise ValueError("expected a text")
        if longest is not None and len(value) > longest:
            raise ValueError(f"longer than {longest} characters")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("not a text that can be stored") from None
        return value

    return read_text


def _one_of(*words: str) -> Reader:
    def read_word(value: Any) -> str:
        word = "" if value is None else value
        if not isinstance(word, str) or word not in words:
            raise ValueError(f"{str(value)[:20]!r} is none of {', '.join(filter(None, words))}")
        return word

    return read_word


def _tags(value: Any) -> list[str]:
    try:
        return clean_tags([] if value is None else value)
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from None


def _copies(value: Any) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and all(type(count) is int for count in value)):
        raise ValueError("expected two whole numbers: copies at least, and at most")
    minimum, maximum = value
    if not 1 <= minimum <= maximum <= MAX_COPIES:
        raise ValueError(f"copies are 1 to {MAX_COPIES}, the larger number last")
    return minimum, maximum


def _whole(minimum: int, maximum: int) -> Reader:
    def read_whole(value: Any) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            raise ValueError(f"expected a whole number, {minimum} to {maximum}")
        return value

    return read_whole


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _time(value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("expected a time such as 2026-05-17T12:00:00+00:00") from None
    if at.tzinfo is None:
        raise ValueError("the time has no time zone")
    try:
        return at.astimezone(UTC)  # PostgreSQL takes no offset above 16 hours
    except OverflowError:
        raise ValueError("the time is before the year 1 or after 9999") from None


def _list_of(reader: Reader) -> Reader:
    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError("expected a list")
        return [reader(item) for item in value]

    return read_list


def _or_none(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _headers(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and isinstance(text, str | None) for name, text in value.items()
    ):
        raise ValueError("expected names of headers and their texts")
    return value


_KINDS = ("", "core", "bee", "drive")


def _entries(value: Any) -> dict[str, dict[str, str]]:
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise ValueError("expected names of sources, each with kind and label of the key")
    kind, label = _one_of(*_KINDS), _text(MAX_TEXT)
    return {
        _text(100, empty=False)(name): {"kind": kind(entry.get("kind")), "label": label(entry.get("label"))}
        for name, entry in value.items()
    }


DRIVE_FIELDS: Final[Mapping[str, Reader]] = {
    "key": _key,
    "kind": _one_of(*_KINDS),
    "label": _text(MAX_TEXT),
    "note": _text(),
    "tags": _tags,
    "required_tags": _tags,
    "replicas": _or_none(_copies),
    "priority": _whole(0, 9),
    "state": _one_of("active", "paused"),
    "added_manually": _flag,
    "public": _flag,
    "max_fork": _or_none(_whole(0, 2**63 - 1)),
    "owner": _or_none(_text(150)),
    "pinned": _list_of(_text(100, empty=False)),
    "expires_at": _or_none(_time),
    "added_at": _time,
    "sources": _entries,
}
"""Of a key. `pinned`: ids of workers; `owner`: a user name; `sources`: what the sources that list it give for
it."""

SOURCE_FIELDS: Final[Mapping[str, Reader]] = {
    "source": _text(100, empty=False),
    "kind": _one_of("http", "bee", "file"),
    "location": _text(2000, empty=False),
    "removals_url": _text(2000),
    "mapping": _text(),
    "headers": _headers,
    "every": _or_none(_whole(5, 10**9)),
    "enabled": _flag,
    "remove_unlisted": _flag,
    "shrink": _or_none(_whole(1, 100)),
    "remove_last_copies": _flag,
    "key_kind": _one_of(*_KINDS),
    "label": _text(MAX_TEXT),
    "tags": _tags,
    "required_tags": _tags,
    "priority": _whole(0, 9),
    "replicas": _or_none(_copies),
}
"""Of a source. A header without a text (null) is a secret that was left out."""

CHANNEL_FIELDS: Final[Mapping[str, Reader]] = {
    "channel": _text(100, empty=False),
    "kind": _one_of("email", "webhook", "ntfy"),
    "target": _text(1000, empty=False),
    "secret": _or_none(_text(200)),
    "min_severity": _one_of("info", "warning", "error"),
    "sends_closed": _flag,
    "remind_every": _whole(0, MAX_SECONDS),
    "enabled": _flag,
}
"""Of a channel. A secret of null was left out."""

RULE_FIELDS: Final[Mapping[str, Reader]] = {
    "rule": _text(40, empty=False),
    "enabled": _flag,
    "threshold": _or_none(_whole(0, MAX_SECONDS)),
    "opens_after": _or_none(_whole(0, MAX_SECONDS)),
    "closes_after": _or_none(_whole(0, MAX_SECONDS)),
    "channels": _or_none(_list_of(_text(100, empty=False))),
}
"""Of a rule. `channels`: names; null: all."""

SILENCE_FIELDS: Final[Mapping[str, Reader]] = {
    "silence": _text(100, empty=False),
    "rule": _text(40),
    "worker": _text(100),
    "drive": _or_none(_key),
    "tag": _text(50),
    "reason": _text(200),
    "ends_at": _time,
}
"""Of a silence. `worker`: its id."""
