"""Drives: entries, links, folders, history, and where the contents are."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bee import Header
from hypercore.bee.writer import BeeWriter
from hypercore.blocks import DecryptingSource, EncryptingLog, MemorySource
from hypercore.drive import BlobId, Drive, Entry, FolderItem, blobs_key_of, find_blobs_key
from hypercore.drive.drive import MAX_HOPS
from hypercore.drive.writer import DriveWriter
from hypercore.encryption import BlockCipher
from hypercore.errors import (
    BlockNotAvailable,
    EntryNotFound,
    InvalidContent,
    InvalidPath,
    LocalProtocolError,
    RemoteProtocolError,
)
from hypercore.manifest import Manifest
from support.content import (
    BLOBS_KEY,
    RemoteSource,
    collect,
    content,
    drive_of,
    listed,
    no_blobs,
    run,
    written_drive,
)
from support.examples import examples

NAMES = st.sampled_from(["a", "b", "a-b", "a0", "ab", "ü", "x y", "\n"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))


def drive_with(*files: str) -> Drive:
    def write(writer: DriveWriter) -> None:
        with writer.batch() as batch:
            for path in files:
                batch.put(path, path.encode())

    return written_drive(write)[0]


def paths_of(entries: AsyncIterable[Entry]) -> list[str]:
    return [entry.path for entry in listed(entries)]


# --- entries and folders


def test_an_entry_is_found_by_any_spelling_of_its_path() -> None:
    drive = drive_with("/a/b")
    for path in ("/a/b", "a/b", "a\\b", "//a/./c/../b/"):
        entry = run(drive.entry(path))
        assert entry is not None
        assert entry.path == "/a/b"
    for path in ("/", "/a", "/a/b/c", "/A/b"):
        assert not run(drive.exists(path))
    with pytest.raises(InvalidPath):
        run(drive.entry("../a"))


@given(st.sets(PATHS, max_size=25), PATHS | st.just("/"))
def test_lists_and_folders_are_those_of_a_set_of_paths(files: set[str], folder: str) -> None:
    drive = drive_with(*files)
    prefix = folder if folder == "/" else folder + "/"
    below = sorted((path for path in files if path.startswith(prefix)), key=str.encode)
    assert paths_of(drive.list(folder)) == below
    assert run(drive.is_folder(folder)) == (bool(below) or folder == "/")
    names = dict.fromkeys(path[len(prefix) :].partition("/")[:2] for path in below)
    items = listed(drive.readdir(folder))
    assert [(item.name, "/" if item.entry is None else "") for item in items] == list(names)
    assert all(item.entry is None or item.entry.path == prefix + item.name for item in items)
    for at, item in enumerate(items):
        rest = listed(drive.readdir(folder, after=(item.name, item.entry is None)))
        assert rest == items[at + 1 :]


def test_a_folder_full_of_folders_costs_one_look_up_each() -> None:
    db, blobs = MemorySource(), MemorySource()
    writer = DriveWriter(db, blobs, blobs_key=BLOBS_KEY)
    with writer.batch() as batch:
        for i in range(3000):
            batch.put(f"/{i % 3}/{i}", b"")
    source = RemoteSource(db.blocks)
    drive = Drive(source, no_blobs)
    assert source.travel(collect(drive.readdir())) == [FolderItem(name, None) for name in "012"]
    assert source.fetched < 600


def test_a_file_and_a_folder_of_one_name_are_two_items() -> None:
    items = listed(drive_with("/a", "/a/b", "/a-").readdir())
    assert [(item.name, item.entry is None) for item in items] == [("a", False), ("a-", False), ("a", True)]


def test_an_empty_drive_is_empty() -> None:
    drive = written_drive(lambda writer: None)[0]
    assert paths_of(drive.list()) == []
    assert listed(drive.readdir()) == []
    assert run(drive.is_folder("/")) is True
    assert run(drive.is_folder("/a")) is False
    assert drive.version == 1


# --- links


def links(*pairs: tuple[str, str], files: tuple[str, ...] = ()) -> Drive:
    def write(writer: DriveWriter) -> None:
        for path, target in pairs:
            writer.symlink(path, target)
        for path in files:
            writer.put(path, path.encode())

    return written_drive(write)[0]


def followed(drive: Drive, path: str) -> str | None:
    entry = run(drive.entry(path, follow=True))
    return None if entry is None else entry.path


def test_links_are_followed_on_demand_and_when_read() -> None:
    drive = links(("/l", "/m"), ("/m", "/dir/f"), files=("/dir/f",))
    link = run(drive.entry("/l"))
    assert link is not None
    assert (link.kind, link.linkname, link.size) == ("link", "/m", 0)
    assert followed(drive, "/l") == "/dir/f"
    assert content(drive.read("/l")) == b"/dir/f"
    assert content(drive.read("/l", follow=False)) == b""


def test_a_relative_link_leads_where_the_official_reader_goes_and_else_where_a_file_system_does() -> None:
    drive = links(("/d/l", "../x"), ("/d/m", "y"), ("/d/n", "../y"), files=("/x", "/d/x", "/d/y", "/y"))
    assert followed(drive, "/d/l") == "/d/x"
    assert followed(drive, "/d/m") == "/d/y"
    assert followed(drive, "/d/n") == "/d/y"
    assert followed(links(("/d/l", "../x"), files=("/x",)), "/d/l") == "/x"


def test_a_link_to_nothing_gives_nothing() -> None:
    drive = links(("/l", "/nothing"))
    assert followed(drive, "/l") is None
    with pytest.raises(EntryNotFound, match="/l"):
        listed(drive.read("/l"))


def test_a_link_out_of_the_drive_is_invalid_content() -> None:
    with pytest.raises(InvalidContent, match="cannot be followed"):
        followed(links(("/l", "../../x")), "/l")


def test_links_are_followed_through_sixteen_entries_and_no_more() -> None:
    chain = [(f"/{i}", f"/{i + 1}") for i in range(MAX_HOPS)]
    drive = links(*chain, files=(f"/{MAX_HOPS}",))
    assert followed(drive, "/1") == f"/{MAX_HOPS}"
    with pytest.raises(InvalidContent, match="more than 16"):
        followed(drive, "/0")
    with pytest.raises(InvalidContent, match="more than 16"):
        followed(links(("/a", "/b"), ("/b", "/a")), "/a")


def test_the_target_of_a_link_is_what_is_there_or_what_a_file_system_would_say() -> None:
    drive = links(("/d/l", "../x"), ("/d/m", "sub"), ("/d/n", "none"), files=("/d/x", "/d/m/sub/f"))
    for path, target in (("/d/l", "/d/x"), ("/d/m", "/d/m/sub"), ("/d/n", "/d/none")):
        link = run(drive.entry(path))
        assert link is not None
        assert run(drive.link_target(link)) == target


# --- versions


def test_a_checkout_shows_the_drive_as_it_was_and_shares_the_contents() -> None:
    drive, db, blobs = written_drive(lambda writer: writer.put("/a", b"one"))
    version = drive.version
    snapshot = drive.snapshot()
    writer = DriveWriter(db, blobs)
    writer.put("/a", b"two")
    writer.delete("/a")
    assert not run(drive.exists("/a"))
    for old in (drive.checkout(version), snapshot):
        assert old.version == version
        assert content(old.read("/a")) == b"one"
    assert content(drive.checkout(version + 1).read("/a")) == b"two"
    assert run(drive.blobs()) is run(snapshot.blobs())


def test_history_names_what_every_version_did() -> None:
    def write(writer: DriveWriter) -> None:
        writer.put("/a", b"1")
        writer.symlink("/l", "/a")
        writer.delete("/a")

    drive = written_drive(write)[0]
    changes = listed(drive.history())
    assert [(c.version, c.path, c.entry and c.entry.kind) for c in changes] == [
        (2, "/a", "file"),
        (3, "/l", "link"),
        (4, "/a", None),
    ]
    assert [c.version for c in listed(drive.history(since=3))] == [4]
    assert [c.version for c in listed(drive.checkout(3).history())] == [2, 3]


# --- contents


def test_what_is_read_can_be_a_range_and_an_entry() -> None:
    drive = written_drive(lambda writer: writer.put("/a", bytes(range(100)) * 2000))[0]
    whole = bytes(range(100)) * 2000
    entry = run(drive.entry("/a"))
    assert entry is not None
    assert run(drive.size(entry)) == entry.size == len(whole)
    assert content(drive.read(entry)) == whole
    assert content(drive.read("/a", 65000, 1000)) == whole[65000:66000]
    assert content(drive.read("/a", len(whole) + 1)) == b""
    with pytest.raises(LocalProtocolError):
        listed(drive.read("/a", -1))
    with pytest.raises(EntryNotFound):
        listed(drive.read("/b"))


def test_a_deduplicated_file_reports_its_size_only_by_its_map() -> None:
    drive = written_drive(lambda writer: writer.put("/a", [b"x" * 10] * 10, deduplicate=True))[0]
    entry = run(drive.entry("/a"))
    assert entry is not None
    assert entry.size is None
    assert run(drive.size(entry)) == 100
    assert content(drive.read("/a", 5, 20)) == b"x" * 20


def test_the_blobs_core_is_opened_once_and_only_for_contents() -> None:
    opened: list[bytes] = []

    def write(writer: DriveWriter) -> None:
        writer.put("/a", b"a")
        writer.put("/empty", b"")

    _, db, blobs = written_drive(write)

    async def open_blobs(key: bytes) -> MemorySource:
        opened.append(key)
        return blobs

    drive = Drive(db, open_blobs)
    assert len(paths_of(drive.list())) == 2
    assert content(drive.read("/empty")) == b""
    assert opened == []
    for view in (drive, drive.snapshot()):
        assert content(view.read("/a")) == b"a"
    assert opened == [BLOBS_KEY]


def test_the_header_comes_before_the_manifest_and_what_is_given_before_both() -> None:
    manifest = Manifest.default(b"p" * 32)
    named = Header(has_metadata=True, content_feed=b"n" * 40)
    assert blobs_key_of(named, manifest, manifest.key()) == b"n" * 32
    derived = manifest.content_manifest(manifest.key())
    assert derived is not None
    assert blobs_key_of(Header(), manifest, manifest.key()) == derived.key()
    drive = drive_of(MemorySource([named.encode()]), MemorySource(), blobs_key=b"g" * 32)
    assert run(drive.blobs_key()) == b"g" * 32


@pytest.mark.parametrize(
    ("header", "manifest"),
    [
        (Header(has_metadata=True), None),
        (Header(has_metadata=True), Manifest.default(bytes(32))),
        (Header(has_metadata=True), Manifest.create((b"p" * 32,), version=0)),
        (Header(content_feed=b"short"), Manifest.default(b"p" * 32)),
        (Header(protocol="other"), Manifest.default(b"p" * 32)),
    ],
)
def test_where_no_blobs_core_can_be_known_content_is_invalid(
    header: Header, manifest: Manifest | None
) -> None:
    db = MemorySource([header.encode()], manifest=manifest)
    with pytest.raises(InvalidContent):
        run(find_blobs_key(db))
    with pytest.raises(InvalidContent):
        run(drive_of(db, MemorySource()).blobs_key())


def test_an_empty_db_is_asked_for_news_before_its_header_is_missed() -> None:
    db = MemorySource()
    with pytest.raises(BlockNotAvailable):
        run(drive_of(db, MemorySource()).blobs_key())
    with pytest.raises(BlockNotAvailable):
        run(find_blobs_key(db))


@pytest.mark.parametrize("compat", [False, True])
def test_encrypted_drives_are_read_with_their_key(compat: bool) -> None:
    key = b"secret key of 32 bytes.........."
    stored = []
    for name in (b"db", b"blobs"):
        manifest = Manifest.default(name.ljust(32))
        core_key = name.ljust(32) if compat else manifest.key()
        stored.append(MemorySource(key=core_key, manifest=manifest))
    logs = [EncryptingLog(log, BlockCipher(log.key, key, compat=compat)) for log in stored]
    writer = DriveWriter(*logs, blobs_key=stored[1].key)
    writer.put("/a", b"content" * 20000)
    writer.symlink("/l", "/a")
    db, blobs = stored

    async def open_blobs(wanted: bytes) -> MemorySource:
        assert wanted == blobs.key
        return blobs

    drive = Drive(db, open_blobs, encryption_key=key)
    assert isinstance(drive.db, DecryptingSource)
    assert content(drive.read("/l", 70000, 7)) == (b"content" * 20000)[70000:70007]
    assert b"content" not in b"".join(block or b"" for block in blobs.blocks)
    with pytest.raises(RemoteProtocolError):
        paths_of(Drive(db, open_blobs, encryption_key=bytes(32)).list())


def test_a_whole_drive_over_a_network_is_listed_in_few_trips() -> None:
    db, blobs = MemorySource(), MemorySource()
    with DriveWriter(db, blobs, blobs_key=BLOBS_KEY).batch() as batch:
        for i in range(2000):
            batch.put(f"/{i * 7919 % 2000:05}", b"")
    source = RemoteSource(db.blocks)
    assert len(source.travel(collect(Drive(source, no_blobs).list()))) == 2000
    assert source.trips < 25


# --- drives made to hurt


def raw_drive(*items: tuple[bytes, bytes | None]) -> Drive:
    """A drive of raw paths and values, as no official writer makes them."""
    db = MemorySource()
    writer = DriveWriter(db, MemorySource(), blobs_key=BLOBS_KEY)
    writer.write_header()
    files = BeeWriter(db).sub("files")
    for path, value in items:
        files.put(path, value)
    return drive_of(db, MemorySource())


def test_a_broken_entry_ends_a_listing_unless_the_caller_takes_it() -> None:
    drive = raw_drive(
        (b"/a", b"{}"), (b"/b", b"broken"), (b"/c\0", b"{}"), (b"/d", None), (b"/e/\xff", b"{}")
    )
    recorded: list[bytes] = []

    def record(raw: bytes, error: InvalidContent) -> None:
        recorded.append(raw)

    with pytest.raises(InvalidContent):
        paths_of(drive.list())
    assert paths_of(drive.list(on_invalid=record)) == ["/a"]
    assert recorded == [b"/b", b"/c\0", b"/d", b"/e/\xff"]
    recorded.clear()
    items = listed(drive.readdir(on_invalid=record))
    assert [item.name for item in items] == ["a", "e"]
    assert recorded == [b"/b", b"/c\0", b"/d"]
    recorded.clear()
    assert [change.path for change in listed(drive.history(on_invalid=record))] == ["/a"]
    assert len(recorded) == 4
    with pytest.raises(InvalidContent):
        run(drive.entry("/b"))


def test_folders_with_names_that_no_path_can_have_are_not_shown() -> None:
    drive = raw_drive(
        (b"/../x", b"{}"), (b"//x", b"{}"), (b"/./x", b"{}"), (b"/\xff/x", b"{}"), (b"/ok/x", b"{}")
    )
    recorded: list[bytes] = []
    items = listed(drive.readdir(on_invalid=lambda raw, error: recorded.append(raw)))
    assert items == [FolderItem("ok", None)]
    assert sorted(recorded) == [b"/", b"/.", b"/..", b"/\xff"]
    with pytest.raises(InvalidContent):
        listed(drive.readdir())


def test_an_entry_outside_of_the_blobs_core_is_invalid_content() -> None:
    blob = {"blockOffset": 2**40, "blockLength": 2**40, "byteOffset": 0, "byteLength": 2**50}
    drive = raw_drive((b"/a", str({"blob": blob}).replace("'", '"').encode()))
    entry = run(drive.entry("/a"))
    assert entry is not None
    assert entry.blob == BlobId(2**40, 2**40, 0, 2**50)
    with pytest.raises(InvalidContent):
        content(drive.read("/a"))


@given(st.data())
@settings(max_examples=examples(200))
def test_damaged_drives_raise_only_what_readers_expect(data: st.DataObject) -> None:
    def write(writer: DriveWriter) -> None:
        with writer.batch() as batch:
            for i in range(20):
                batch.put(f"/{i % 4}/{i}", bytes([i]) * 50, metadata={"n": i})
        writer.put("/dedup", [b"a" * 20, b"b" * 20] * 4, deduplicate=True)
        writer.symlink("/l", "0/1")

    drive, db, blobs = written_drive(write)
    for source in (db, blobs):
        for _ in range(data.draw(st.integers(0, 3))):
            stored: list[Any] = source.blocks
            index = data.draw(st.integers(0, len(stored) - 1))
            block = bytearray(stored[index])
            block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
            stored[index] = bytes(block)

    async def read_all() -> None:
        async for entry in drive.list(on_invalid=lambda raw, error: None):
            with suppress(RemoteProtocolError, EntryNotFound):
                await drive.size(entry)
                async for _ in drive.read(entry, 3, 40):
                    pass
                async for _ in drive.read(entry.path):
                    pass

    for read in (
        read_all(),
        collect(drive.readdir()),
        collect(drive.history()),
        drive.entry("/l", follow=True),
    ):
        with suppress(RemoteProtocolError):
            run(read)
