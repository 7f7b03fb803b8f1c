"""The messages between the web process and the gateway, over a unix socket.

A connection is about one path of one drive. Each message is a line of JSON. The client begins with `Ask` and
gets `Facts` or `Failed`; then it sends any number of `Read`, `List` and `Zip`, one after the other:

* `Read` gets `Begin`, then exactly `length` bytes;
* `List` gets a `Listing`;
* `Zip` gets `Begin`, then frames: four bytes with the size (big-endian), and that many bytes. Size 0 ends it.

Each may get `Failed` instead. After `Begin` there is no way to report an error but to close the connection:
bytes that are missing are never silent.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

MAX_LINE: Final = 1 << 20
"""Bytes of a request: a path may have 64 KiB, each of which JSON may write as six characters."""
MAX_ANSWER: Final = 8 << 20
"""Bytes of an answer: a listing of MAX_LISTED_BYTES."""
MAX_SEARCH: Final = 200
"""Characters of a search in a folder. Ours."""
MAX_ITEMS: Final = 1000
"""Items of one listing. Ours."""
MAX_LISTED_BYTES: Final = 1 << 20
"""Bytes of names and targets of one listing: it ends with the name that exceeds them. Ours."""
FRAME_HEAD: Final = 4
"""Bytes of the size in front of a frame."""

Order = Literal["name", "-name", "size", "-size"]
"""Of a folder; with `-` from the end, or the largest first."""
Code = Literal[
    "busy", "encrypted", "invalid", "missing", "no_drive", "rewritten", "too_large", "unavailable", "version"
]
"""Why something cannot be read: no slot is free; the drive is encrypted; its entries cannot be decoded; it
has nothing at the path; the key names no drive; the publisher rewrote it meanwhile; the folder has too many
files for a ZIP; no copy was reached or none gave the block in time; that version is not known."""


class Ask(msgspec.Struct, kw_only=True, tag="ask", forbid_unknown_fields=True):
    """Asks for what is at a path of a drive: `Facts` or `Failed`. The first message of a stream."""

    key: str
    """64 hex digits."""
    path: str
    """Absolute. A folder ends in a slash."""
    version: int | None = None
    client: str = ""
    """Name of the client: each client gets a part of the slots."""
    is_public: bool = False
    """Whether the client has no login: all such clients share a part of the slots, and each gets a smaller
    one."""


class Read(msgspec.Struct, kw_only=True, tag="read", forbid_unknown_fields=True):
    """Asks for bytes of the file: `Begin`, then the bytes."""

    start: int
    length: int


class List(msgspec.Struct, kw_only=True, tag="list", forbid_unknown_fields=True):
    """Asks for a page of the folder: a `Listing`."""

    after: tuple[str, bool] | None = None
    """The last item of the page before: its name, and whether it is a folder."""
    limit: int = MAX_ITEMS
    order: Order = "name"
    """Any but `name` has one page: the first `limit` items."""
    text: str = ""
    """Only names with this in them, in small letters or capitals; one page too."""

    @property
    def is_paged(self) -> bool:
        """Whether names come as they are stored, page after page. Others are read as one."""
        return self.order == "name" and not self.text


class Zip(msgspec.Struct, kw_only=True, tag="zip", forbid_unknown_fields=True):
    """Asks for the folder as a ZIP archive: `Begin`, then its bytes."""


class Facts(msgspec.Struct, kw_only=True, tag="facts"):
    """What is at the path, in the version that is read; `newest` is the newest known. `size` is in bytes."""

    kind: Literal["file", "folder"]
    path: str
    """Where it is, after links."""
    version: int
    newest: int
    size: int = 0
    etag: str = ""
    """Changes with the content, and with nothing else: hash of the place of its blocks."""
    executable: bool = False


class Item(msgspec.Struct, kw_only=True):
    """An item of a folder. `size` is in bytes."""

    name: str
    kind: Literal["file", "folder", "link"]
    size: int | None = None
    """None: of a folder or link, or of a file whose size takes more reading."""
    target: str = ""


class Listing(msgspec.Struct, kw_only=True, tag="listing"):
    """A page of a folder."""

    items: list[Item]
    more: bool
    """Whether other items follow the last one."""
    left_out: int
    """Entries that do not decode."""
    examined: int | None = None
    """Names that were sorted or searched, where the folder has more than are."""


class Begin(msgspec.Struct, kw_only=True, tag="begin"):
    """Nothing failed so far: content follows."""


class Failed(msgspec.Struct, kw_only=True, tag="failed"):
    """The content cannot be read, or no more of it."""

    code: Code
    text: str
    """For people; may repeat names of the drive."""
    retry: int = 0
    """Seconds after which it may work."""


Request = Ask | Read | List | Zip
Answer = Facts | Listing | Begin | Failed

requests: Final = msgspec.json.Decoder(Request)
answers: Final = msgspec.json.Decoder(Answer)
encoder: Final = msgspec.json.Encoder()
