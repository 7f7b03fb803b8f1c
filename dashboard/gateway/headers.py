"""Headers that keep the content of files in its box: types, names, policies. Pure."""

from __future__ import annotations

import unicodedata
from mimetypes import MimeTypes
from typing import Final
from urllib.parse import quote

MAX_NAME: Final = 150
"""Characters of a name in Content-Disposition; the end with the suffix stays."""

UNKNOWN: Final = "application/octet-stream"
_MORE: Final = {
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4v": "video/mp4",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mkv": "video/x-matroska",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".toml": "text/plain",
    ".ts": "text/plain",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".yaml": "text/plain",
    ".yml": "text/plain",
    ".log": "text/plain",
    ".rs": "text/plain",
    ".go": "text/plain",
}
_types: Final = MimeTypes(
    filenames=()
)  # not those of the machine: the same file has the same type everywhere
for _suffix, _type in _MORE.items():
    _types.add_type(_type, _suffix)

_PLAIN_NAMES: Final = frozenset(
    {"readme", "licence", "license", "copying", "changelog", "makefile", "authors"}
)
_TEXT: Final = frozenset(
    {"application/json", "application/xml", "application/javascript", "application/x-sh", "image/svg+xml"}
)
"""Types beside `text/` that are text."""
_SHOWN: Final = ("text/", "image/", "audio/", "video/")
_SHOWN_TOO: Final = frozenset({"application/json", "application/xml", "application/xhtml+xml"})

BOX: Final = (
    "sandbox; default-src 'none'; img-src data:; media-src data:; font-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Policy of a file: a page of its own origin, without scripts, forms or requests to anywhere."""
MEDIA: Final = (
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self' data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The same for pictures, sound and film: the page that a browser makes around one loads it."""


def media_type(path: str) -> str:
    """The type by the name; `application/octet-stream` if it says nothing."""
    name = path.rpartition("/")[2].lower()
    found, encoding = _types.guess_type(f"/{name}", strict=True)
    if encoding is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
            encoding, UNKNOWN
        )
    if found is None:
        return "text/plain" if name.partition(".")[0] in _PLAIN_NAMES and "." not in name else UNKNOWN
    return found


def is_text(kind: str) -> bool:
    """Whether a media type is text, to be sent as UTF-8."""
    return kind.startswith("text/") or kind in _TEXT or kind.endswith(("+json", "+xml"))


def content_type(path: str) -> str:
    """The header `Content-Type` for a path, by its ending alone."""
    kind = media_type(path)
    return f"{kind}; charset=utf-8" if is_text(kind) else kind


def is_media(kind: str) -> bool:
    """Whether it is pixels or sound, and no document that could have scripts."""
    return kind.startswith(("image/", "audio/", "video/")) and kind != "image/svg+xml"


def policy(kind: str) -> str:
    """The Content-Security-Policy of a file of this type."""
    return MEDIA if is_media(kind) else BOX


def is_shown(kind: str) -> bool:
    """Whether a browser shows it; others are downloaded."""
    return kind.startswith(_SHOWN) or kind in _SHOWN_TOO


def disposition(name: str, *, inline: bool) -> str:
    """Content-Disposition for any name (RFC 6266, RFC 8187): no control characters, none that change the
    direction of text, no separators."""
    safe = "".join(_safe(letter) for letter in name).strip(" .") or "file"
    if len(safe) > MAX_NAME:
        stem, dot, suffix = safe.rpartition(".")
        end = f".{suffix}" if dot and stem and len(suffix) <= 20 else ""
        safe = safe[: MAX_NAME - len(end)] + end
    plain = "".join(letter if 32 <= ord(letter) < 127 and letter not in '"\\%;' else "_" for letter in safe)
    how = "inline" if inline else "attachment"
    if plain == safe:
        return f'{how}; filename="{plain}"'
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe='')}"


def _safe(letter: str) -> str:
    return (
        "_"
        if letter in '/\\:*?"<>|' or unicodedata.category(letter)[0] == "C" or letter in "\u2028\u2029"
        else letter
    )
