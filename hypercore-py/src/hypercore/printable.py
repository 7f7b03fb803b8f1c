"""Escapes text of others (names of files, keys of bees, messages of peers) for terminals, pipes and logs.

A terminal executes control characters, and a line break forges a line. This module makes them visible.
Letters of every script, spaces, and the joiners of emoji and several scripts stay as they are.

Names follow the rules of `ls --quoting-style=shell-escape` (GNU coreutils): a name without such characters is
printed as it is; any other becomes `$'…'`, which a shell reads back. So one name is one line, and two names
never print alike.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

QUOTE = "$'"
"""Start of a quoted name. A name that itself begins so is quoted as well."""

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u00ad\u180e\u200b\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, or format only
    "\u061c\u200e\u200f\u202a-\u202e"  # change the direction of text
    "\u2028\u2029"  # line and paragraph separators
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"  # musical format characters, tags
    "\ud800-\udfff"  # surrogates: bytes that are not UTF-8, or lone ones
    "]"
)
_NAMED = {
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\x1b": "\\e",
}

_ENCODER = json.JSONEncoder(separators=(",", ":"))
"""Used for every line of a program's output: `json.dumps` would make one each time."""


def visible(text: object, *, encoding: str = "utf-8", keep: str = "") -> str:
    """`text` as one line without effects: hidden characters, and those that `encoding` lacks, are escaped,
    except those in `keep` (such as line breaks of a page).

    For sentences. For names that must stay distinguishable use `quoted`.
    """
    shown = _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), str(text))
    return shown if _fits(shown, encoding) else "".join(_encodable(letter, encoding) for letter in shown)


def quoted(name: str | bytes, *, encoding: str = "utf-8", apart: str = "") -> str:
    """A name as it is, or as `$'…'` if a character needs an escape (`\\xHH` for bytes that are no UTF-8).

    `apart` is printed between this name and another: a name that contains it is quoted as well.
    """
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    is_clear = not _HIDDEN.search(name) and not name.startswith(QUOTE) and _fits(name, encoding)
    if is_clear and not (apart and apart in name):
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"{QUOTE}{visible(escaped, encoding=encoding)}'"


def json_text(value: Any, *, encoding: str = "ascii", default: Callable[[Any], object] | None = None) -> str:
    """Compact JSON on one line, in which hidden characters are `\\uXXXX` (they can only be inside strings).

    Letters beyond ASCII are themselves where `encoding` is UTF-8, and escaped elsewhere.
    """
    plain = not encoding.lower().startswith("utf")
    if plain and default is None:
        text = _ENCODER.encode(value)
    else:
        text = json.dumps(value, ensure_ascii=plain, separators=(",", ":"), default=default)
    if plain:
        return text.replace("\x7f", "\\u007f")  # the only hidden character that JSON leaves in ASCII
    return _HIDDEN.sub(_json_escape, text)


class VisibleFormatter(logging.Formatter):
    """Log records without active characters: a message is one line; tracebacks keep their lines."""

    def format(self, record: logging.LogRecord) -> str:
        # Formatted first, so that the lines below the message (a traceback) are not part of it
        shown = logging.makeLogRecord({**record.__dict__, "msg": visible(record.getMessage()), "args": ()})
        return "\n".join(visible(line) for line in super().format(shown).split("\n"))


def _escape(letter: str) -> str:
    number = ord(letter)
    if letter in _NAMED:
        return _NAMED[letter]
    if 0xDC80 <= number <= 0xDCFF:  # a byte that was decoded with surrogateescape
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def _encodable(letter: str, encoding: str) -> str:
    return letter if _fits(letter, encoding) else _escape(letter)


def _fits(text: str, encoding: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
