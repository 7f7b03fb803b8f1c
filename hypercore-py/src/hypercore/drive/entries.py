"""The entry of one file: the JSON value of its key in the db.

Format: hyperdrive index.js (13.3.4): `{"executable", "linkname", "blob", "metadata"}`, the blob as in
hyperblobs index.js: `{"blockOffset", "byteOffset", "blockLength", "byteLength"[, "blockMap"]}`. Unknown
members are ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

from ..codec import MAX_SAFE_INTEGER
from ..errors import InvalidContent, LocalProtocolError

MAX_VALUE_BYTES = 1 << 20
"""Longest JSON value that is parsed (our own choice: parsed, it may take sixty times its bytes)."""


class BlobId(NamedTuple):
    """Place of a file's content: blocks `block_offset` to `+ block_length` of the blobs core.

    With `block_map` these blocks are a list of the content's blocks, and the byte numbers are those of the
    list.
    """

    block_offset: int
    block_length: int
    byte_offset: int
    byte_length: int
    block_map: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or a link. `seq` is its block in the db, so a changed entry has a new one."""

    path: str
    seq: int
    executable: bool = False
    linkname: str | None = None
    """The target as the author wrote it."""
    blob: BlobId | None = None
    metadata: Any = None
    """Any JSON of the author."""

    @property
    def kind(self) -> Literal["file", "link"]:
        """What the entry is: a file, a link, or neither."""
        return "link" if self.linkname else "file"

    @property
    def size(self) -> int | None:
        """Bytes of content; None if only the block map has the size (use `Drive.size`)."""
        if self.blob is None:
            return 0
        return None if self.blob.block_map else self.blob.byte_length


def decode_entry(path: str, seq: int, value: bytes | None) -> Entry:
    """Decode the value of a path. Raises InvalidContent."""
    members = _parse(path, value)
    linkname = members.get("linkname")
    if linkname is not None and not (isinstance(linkname, str) and _is_text(linkname)):
        raise _broken(path, "its link target is not text")
    blob = members.get("blob")
    return Entry(
        path=path,
        seq=seq,
        executable=members.get("executable") is True,
        linkname=linkname or None,
        blob=None if blob is None else _decode_blob(path, blob),
        metadata=members.get("metadata"),
    )


def encode_entry(entry: Entry) -> bytes:
    """The value, equal to that of the official writer byte for byte. Raises LocalProtocolError for metadata
    that is not JSON."""
    blob: dict[str, int | bool] | None = None
    if entry.blob is not None:
        blob = {
            "blockOffset": entry.blob.block_offset,
            "byteOffset": entry.blob.byte_offset,
            "blockLength": entry.blob.block_length,
            "byteLength": entry.blob.byte_length,
        }
        if entry.blob.block_map:
            blob["blockMap"] = True
    members = {
        "executable": entry.executable,
        "linkname": entry.linkname,
        "blob": blob,
        "metadata": entry.metadata,
    }
    try:
        text = json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"the entry {entry.path!a} cannot be written: {error}") from None


def _parse(path: str, value: bytes | None) -> dict[str, Any]:
    if value is None:
        raise _broken(path, "it has no value")
    if len(value) > MAX_VALUE_BYTES:
        raise _broken(path, f"its value has {len(value)} bytes, at most {MAX_VALUE_BYTES} are accepted")
    try:
        members = _DECODER.decode(value.decode())
    except (ValueError, RecursionError):  # bad UTF-8 and numbers of 5,000 digits are ValueErrors too
        raise _broken(path, "its value is not JSON") from None
    if not isinstance(members, dict):
        raise _broken(path, "its value is not a JSON object")
    return members


def _decode_blob(path: str, members: object) -> BlobId:
    if not isinstance(members, dict):
        raise _broken(path, "its blob is not a JSON object")
    return BlobId(
        block_offset=_count(path, members, "blockOffset"),
        block_length=_count(path, members, "blockLength"),
        byte_offset=_count(path, members, "byteOffset"),
        byte_length=_count(path, members, "byteLength"),
        block_map=members.get("blockMap") is True,
    )


def _count(path: str, members: dict[str, Any], name: str) -> int:
    value = members.get(name)
    if isinstance(value, float) and value.is_integer():  # in JSON 1.0 equals 1
        value = int(value)
    if type(value) is int and 0 <= value <= MAX_SAFE_INTEGER:  # a bool is not one
        return value
    raise _broken(path, f"its {name} is not a count")


def _is_text(text: str) -> bool:
    """Whether UTF-8 can encode it: JSON text may have lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _broken(path: str, reason: str) -> InvalidContent:
    shown = path if len(path) <= 100 else path[:97] + "..."
    return InvalidContent(f"drive: the entry {shown!a} is broken: {reason}")
