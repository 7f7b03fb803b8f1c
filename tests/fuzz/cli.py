"""What the commands and the engine make of a peer's names and first blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hypercore.bee import Header
from hypercore.encryption import BlockCipher
from hypercore.manifest import Manifest
from hypercore.printable import json_text, quoted, visible
from workers.engine.model.autobase import is_writer
from workers.engine.model.kind import Kind, inspect
from workers.engine.seeds.cold import SeedRecord

from .target import Target

PUBLIC_KEY = bytes([7]) * 32
SECRET = b"s" * 32
MANIFEST = Manifest.default(PUBLIC_KEY)


def cli() -> list[Target]:
    return [
        Target(name="printable", run=_printable, allowed=(), seeds=_names),
        Target(name="engine-kinds", run=_kinds, allowed=(), seeds=_first_blocks),
        Target(name="engine-autobase", run=is_writer, allowed=(), seeds=_first_blocks),
        Target(name="engine-memo", run=SeedRecord.decode, allowed=(), seeds=_memos),
    ]


def _printable(data: bytes) -> None:
    for encoding in ("utf-8", "ascii", "iso-8859-15"):
        shown = quoted(data, encoding=encoding)
        assert visible(shown, encoding=encoding) == shown
        assert "\n" not in shown and "\x1b" not in shown
        shown.encode(encoding)
    name = data.decode("utf-8", "surrogateescape")
    text = json_text({name: name}, encoding="utf-8")
    assert visible(text) == text
    assert json.loads(text) == {name: name}


def _kinds(data: bytes) -> None:
    block0, block1 = data[:200], data[200:] or None
    for key, manifest in ((MANIFEST.key(), MANIFEST), (PUBLIC_KEY, None)):
        for notified in (None, *Kind):
            found = inspect(
                key, manifest, block0, block1, given=notified, secrets=(SECRET,), recorded=PUBLIC_KEY
            )
            assert found.kind is not None


def _names() -> Iterator[bytes]:
    yield "/photo\u202egpj.exe".encode()
    yield b"/a\nb\x1b]52;c;aGk=\x07"
    yield b"$'/x\\n'\xff"


def _first_blocks() -> Iterator[bytes]:
    header = Header(has_metadata=True, content_feed=PUBLIC_KEY).encode()
    yield header
    yield BlockCipher(MANIFEST.key(), SECRET).encrypt(0, 0, header)
    yield BlockCipher(PUBLIC_KEY, SECRET, compat=True).encrypt(0, 0, header)
    yield bytes.fromhex("0200010b7b2268656c6c6f223a317d022102") + PUBLIC_KEY


def _memos() -> Iterator[bytes]:
    yield SeedRecord(Kind.DRIVE).encode()
    yield SeedRecord(Kind.DRIVE, 1, 5, PUBLIC_KEY, 7, False).encode()
    yield SeedRecord(Kind.DRIVE, second=PUBLIC_KEY).encode()
