"""The data of the pages of folders and previews."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final, get_args

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from workers.gateway.protocol import MAX_SEARCH, Facts, Item, List, Listing, Order

from .access import Visitor
from .headers import is_text, media_type

ROWS: Final = 500
"""Names on one page of a folder."""
PART_ROWS: Final = 30
"""Names in the panel of a drive's page."""
MAX_TEXT: Final = 256 << 10
"""Bytes of a text that its preview shows. Ours."""

_WORDS: Final = (
    ("image/", "image", "image"),
    ("audio/", "sound", "wifi_tethering"),
    ("video/", "film", "image"),
    ("application/json", "JSON", "data_object"),
    ("text/csv", "table", "table"),
    ("text/", "text", "description"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A name in a folder."""

    name: str
    word: str
    """Its kind."""
    icon: str
    size: int | None
    href: str
    """Where it is shown."""
    download: str
    """Where its bytes are, or those of the ZIP; empty for a link."""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Crumb:
    """One step of the path above a listing."""

    name: str
    href: str


class Addresses:
    """Addresses of one drive, at one version, for one visitor."""

    def __init__(self, key: str, visitor: Visitor, version: int | None, *, has_previews: bool = True) -> None:
        """`has_previews`: False at the origin that has files alone; the file itself takes their place."""
        self._key = key
        self._visitor = visitor
        self._version = version
        self._has_previews = has_previews

    def of(self, view: str, path: str, **query: str | int | None) -> str:
        """`view`: files, preview or zip. `path` is absolute."""
        if view == "preview" and not self._has_previews:
            view = "files"
        address = reverse(f"dashboard:{view}", kwargs={"key": self._key, "path": path[1:]})
        return address + self._visitor.query(version=self._version, **query)

    def crumbs(self, path: str) -> list[Crumb]:
        """The folders above `path`, the first of them the drive."""
        names = path.strip("/").split("/") if path.strip("/") else []
        return [
            Crumb(name, self.of("files", "/" + "".join(f"{part}/" for part in names[: at + 1])))
            for at, name in enumerate(names)
        ]


def rows(listing: Listing, folder: str, addresses: Addresses) -> list[Row]:
    """Rows of a listing for the template. `folder` ends with a slash."""
    return [_row(item, folder, addresses) for item in listing.items]


def _row(item: Item, folder: str, addresses: Addresses) -> Row:
    path = folder + item.name
    if item.kind == "folder":
        shown, zipped = addresses.of("files", path + "/"), addresses.of("zip", path + "/")
        return Row(item.name, "folder", "folder", None, shown, zipped)
    if item.kind == "link":
        return Row(item.name, "link", "link", None, addresses.of("files", path), "", item.target)
    word, symbol = look_of(path)
    shown, got = addresses.of("preview", path), addresses.of("files", path, download=1)
    return Row(item.name, word, symbol, item.size, shown, got)


def look_of(path: str) -> tuple[str, str]:
    """The kind of a file by its name, as a word and an icon."""
    kind = media_type(path)
    for start, word, symbol in _WORDS:
        if kind.startswith(start):
            return word, symbol
    return ("text", "description") if is_text(kind) else ("file", "description")


def wanted_of(request: HttpRequest, limit: int) -> List:
    """Return the requested part of a folder: `after`, `sort` and `q` in the address. An unknown order is that
    of names."""
    order: Order = next((known for known in get_args(Order) if known == request.GET.get("sort")), "name")
    text = " ".join(request.GET.get("q", "")[:MAX_SEARCH].split())
    return List(after=read_cursor(request.GET.get("after", "")), limit=limit, order=order, text=text)


@dataclass(frozen=True, slots=True)
class Column:
    """A head by which a folder is sorted."""

    word: str
    href: str
    direction: str
    """`aria-sort`, or empty."""


def columns(wanted: List, path: str, addresses: Addresses) -> dict[str, Column]:
    """Return the heads of a listing. A click on the size begins with the largest."""
    found = {}
    for name, first, other in (("name", "name", "-name"), ("size", "-size", "size")):
        order = other if wanted.order == first else first
        given = None if order == "name" else order
        is_now = wanted.order in (first, other)
        direction = ("descending" if wanted.order.startswith("-") else "ascending") if is_now else ""
        href = addresses.of("files", path, q=wanted.text, sort=given)
        found[name] = Column(name.capitalize(), href, direction)
    return found


def cursor_of(listing: Listing) -> str:
    """Where the next page begins; empty on the last one."""
    if not listing.more or not listing.items:
        return ""
    last = listing.items[-1]
    kind = "d" if last.kind == "folder" else "f"
    return urlsafe_b64encode(kind.encode() + last.name.encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[str, bool] | None:
    """The last name before the page, and whether it is a folder. None: from the beginning."""
    try:
        name = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return None
    return (name[1:], name[0] == "d") if len(name) > 1 and "\0" not in name else None


def as_json(
    listing: Listing, facts: Facts, folder: str, addresses: Addresses, *, is_paged: bool
) -> dict[str, Any]:
    """Return a listing for programs. `href` has the name as it is, `name` has hidden characters escaped."""
    items = [
        {
            "name": item.name,
            "kind": item.kind,
            "href": addresses.of("files", folder + item.name + ("/" if item.kind == "folder" else "")),
            **({"size": item.size} if item.kind == "file" else {}),
            **({"target": item.target} if item.kind == "link" else {}),
        }
        for item in listing.items
    ]
    return {
        "path": facts.path,
        "version": facts.version,
        "newest_version": facts.newest,
        "items": items,
        "left_out": listing.left_out,
        "next": (cursor_of(listing) or None) if is_paged else None,
        "more": listing.more,
        "examined": listing.examined,
    }


def page_policy() -> str:
    """The policy of previews: that of all pages, and media of the files' own origin where there is one."""
    origin = settings.FARM.files_origin
    return (
        f"default-src 'self'; img-src 'self' data: {origin}; media-src 'self' {origin}; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def preview_kind(path: str) -> str:
    """`image`, `audio`, `video`, `text`, or empty."""
    kind = media_type(path)
    for start in ("image", "audio", "video"):
        if kind.startswith(f"{start}/"):
            return start
    return "text" if is_text(kind) else ""
