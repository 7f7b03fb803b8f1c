"""Drives written to a disk: what arrives, and all that must not happen on the way."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bee.writer import BeeWriter
from hypercore.blocks import MemorySource
from hypercore.drive import Drive
from hypercore.drive.blockmap import MapEntry, encode_block_map
from hypercore.drive.confined import PARTIAL, ConfinedFolder
from hypercore.drive.entries import BlobId, Entry, encode_entry
from hypercore.drive.extract import Outcome, Summary, extract
from hypercore.drive.writer import DriveWriter
from hypercore.errors import EntryNotFound, InvalidPath, StoreFull, StoreLocked, StoreUnreadable
from support.content import BLOBS_KEY, drive_of, run, written_drive
from support.examples import examples

BIG = bytes(range(256)) * 700


def fill(writer: DriveWriter) -> None:
    writer.put("/hello.txt", b"hello")
    writer.put("/bin/run.sh", b"#!/bin/sh\n", executable=True)
    writer.put("/empty", b"")
    writer.put("/docs/ü/日本.txt", BIG)
    writer.symlink("/docs/link", "/hello.txt")


def written(write: object = fill) -> Drive:
    drive, _, _ = written_drive(write)  # type: ignore[arg-type]
    return drive


def raw_drive(*items: tuple[bytes, bytes]) -> Drive:
    """A drive of raw paths and values, as no official writer makes them."""
    db = MemorySource()
    writer = DriveWriter(db, MemorySource(), blobs_key=BLOBS_KEY)
    writer.write_header()
    files = BeeWriter(db).sub("files")
    for path, value in items:
        files.put(path, value)
    return drive_of(db, MemorySource())


def tree(directory: Path) -> dict[str, bytes | str]:
    """Every file with its content and every link with its target."""
    found: dict[str, bytes | str] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def counts(summary: Summary) -> tuple[int, int, int, int]:
    return summary.written, summary.unchanged, summary.linked, summary.failed


def test_a_drive_arrives_whole(tmp_path: Path) -> None:
    summary = run(extract(written(), tmp_path / "new" / "out"))
    assert counts(summary) == (4, 0, 1, 0)
    assert summary.bytes_written == 5 + 10 + len(BIG)
    assert tree(tmp_path / "new" / "out") == {
        "hello.txt": b"hello",
        "bin/run.sh": b"#!/bin/sh\n",
        "empty": b"",
        "docs/ü/日本.txt": BIG,
        "docs/link": "-> ../hello.txt",
    }
    assert (tmp_path / "new" / "out" / "docs" / "link").read_bytes() == b"hello"


def test_executables_can_be_executed_and_others_cannot(tmp_path: Path) -> None:
    run(extract(written(), tmp_path))
    assert (tmp_path / "bin" / "run.sh").stat().st_mode & stat.S_IXUSR
    assert not (tmp_path / "hello.txt").stat().st_mode & stat.S_IXUSR


def test_a_second_run_leaves_equal_files_alone(tmp_path: Path) -> None:
    run(extract(written(), tmp_path))
    os.utime(tmp_path / "hello.txt", (1, 1))
    inode = (tmp_path / "docs/ü/日本.txt").stat().st_ino
    assert counts(run(extract(written(), tmp_path))) == (0, 5, 0, 0)
    assert (tmp_path / "hello.txt").stat().st_mtime == 1
    assert (tmp_path / "docs/ü/日本.txt").stat().st_ino == inode


def test_a_file_of_the_same_size_and_other_content_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "docs" / "ü").mkdir(parents=True)
    other = bytearray(BIG)
    other[-1] ^= 1
    (tmp_path / "docs/ü/日本.txt").write_bytes(other)
    (tmp_path / "hello.txt").write_bytes(b"longer than hello")
    assert counts(run(extract(written(), tmp_path))) == (4, 0, 1, 0)
    assert (tmp_path / "docs/ü/日本.txt").read_bytes() == BIG
    assert (tmp_path / "hello.txt").read_bytes() == b"hello"


def test_only_the_executable_bit_of_an_equal_file_is_repaired(tmp_path: Path) -> None:
    run(extract(written(), tmp_path))
    (tmp_path / "bin/run.sh").chmod(0o640)
    (tmp_path / "hello.txt").chmod(0o755)
    assert counts(run(extract(written(), tmp_path))) == (0, 5, 0, 0)
    assert (tmp_path / "bin/run.sh").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "hello.txt").stat().st_mode & 0o777 == 0o644


def test_a_folder_arrives_without_what_is_above_it(tmp_path: Path) -> None:
    def write(writer: DriveWriter) -> None:
        writer.put("/docs/a/x", b"x")
        writer.put("/docs-not/y", b"y")
        writer.symlink("/docs/a/up", "/docs/b")
        writer.symlink("/docs/out", "/docs-not/y")

    summary = run(extract(written(write), tmp_path, "docs/"))
    assert tree(tmp_path) == {"a/x": b"x", "a/up": "-> ../b"}
    assert [(o.path, o.reason) for o in summary.failures] == [
        ("/docs/out", "it leads out of the folder, to '/docs-not/y'")
    ]


def test_a_single_file_arrives_under_its_own_name(tmp_path: Path) -> None:
    run(extract(written(), tmp_path, "/docs/ü/日本.txt"))
    run(extract(written(), tmp_path, "/docs/link"))
    assert tree(tmp_path) == {"日本.txt": BIG, "link": b"hello"}


def test_nothing_at_a_path_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(EntryNotFound):
        run(extract(written(), tmp_path / "out", "/doc"))
    with pytest.raises(InvalidPath):
        run(extract(written(), tmp_path / "out", "../x"))
    assert not (tmp_path / "out").exists()


def test_every_outcome_is_reported(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    run(extract(written(), tmp_path, on_outcome=outcomes.append))
    assert outcomes == [
        ("/bin/run.sh", "written", 10, None),
        ("/docs/link", "linked", 0, None),
        ("/docs/ü/日本.txt", "written", len(BIG), None),
        ("/empty", "written", 0, None),
        ("/hello.txt", "written", 5, None),
    ]


def test_an_event_loop_gets_its_turn_every_few_mebibytes(tmp_path: Path) -> None:
    pauses = 0

    async def pause() -> None:
        nonlocal pauses
        pauses += 1

    drive = written(lambda writer: writer.put("/large", bytes(9 << 20)))
    run(extract(drive, tmp_path, pause=pause))
    assert pauses == 2


# --- nothing outside


LINK = b'{"executable":false,"linkname":"%s","blob":null,"metadata":null}'
EMPTY = b'{"executable":false,"linkname":null,"blob":null,"metadata":null}'


@pytest.mark.parametrize(
    "path",
    [
        b"/../evil",
        b"/a/../../evil",
        b"/./evil",
        b"//evil",
        b"evil",
        b"/a//evil",
        b"/evil/",
        b"/a\\..\\..\\evil",
        b"/ev\0il",
        b"/\xff\xfe",
        b"",
        b"/",
    ],
)
def test_paths_that_no_writer_makes_are_reported_and_not_written(tmp_path: Path, path: bytes) -> None:
    out = tmp_path / "out"
    summary = run(extract(raw_drive((path, EMPTY), (b"/good", EMPTY)), out))
    assert tree(tmp_path) == {"out/good": b""}
    # What does not even begin with a slash is not below the root
    assert summary.failed == (1 if path.startswith(b"/") and path != b"/" else 0)


@pytest.mark.parametrize(
    "target",
    ["../../evil", "/../evil", "a/../../../evil", "..\\\\..\\\\..\\\\evil", "", "x\\u0000y", "\\ud800"],
)
def test_links_that_lead_out_or_nowhere_are_reported_and_not_made(tmp_path: Path, target: str) -> None:
    out = tmp_path / "out"
    summary = run(extract(raw_drive((b"/link", LINK % target.encode())), out))
    # An empty target is no target: official readers take that for a file without content
    assert tree(tmp_path) == ({"out/link": b""} if target == "" else {})
    assert summary.failed == (0 if target == "" else 1)


def test_a_link_that_leads_inside_only_for_official_readers_leads_inside_here(tmp_path: Path) -> None:
    """They see a relative target from the link itself, a file system from the folder of the link."""
    out = tmp_path / "out"
    run(extract(raw_drive((b"/link", LINK % b"../evil")), out))
    assert tree(out) == {"link": "-> evil"}


def test_a_link_out_of_the_way_is_not_written_through(tmp_path: Path) -> None:
    """A folder of the drive may be a link here: made by the drive itself, or by an earlier user."""
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "docs").symlink_to(outside)
    (out / "hello.txt").symlink_to(outside / "hello.txt")
    (outside / "hello.txt").write_bytes(b"untouched")
    summary = run(extract(written(), out))
    assert tree(outside) == {"hello.txt": b"untouched"}
    assert (out / "docs").is_symlink()
    assert not (out / "hello.txt").is_symlink()
    assert [o.path for o in summary.failures] == ["/docs/link", "/docs/ü/日本.txt"]
    assert "a symbolic link named 'docs' is in the way of a folder" in str(summary.failures[0].reason)


def test_a_link_of_the_drive_is_no_folder_for_its_files(tmp_path: Path) -> None:
    drive = raw_drive((b"/a", LINK % b"/b"), (b"/a/x", EMPTY), (b"/b/y", EMPTY))
    summary = run(extract(drive, tmp_path))
    assert tree(tmp_path) == {"a": "-> b", "b/y": b""}
    assert [o.path for o in summary.failures] == ["/a/x"]


def test_hard_links_and_pipes_are_replaced_and_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"mine!")
    out = tmp_path / "out"
    out.mkdir()
    (out / "hello.txt").hardlink_to(tmp_path / "original")
    os.mkfifo(out / "empty")
    assert counts(run(extract(written(), out))) == (4, 0, 1, 0)
    assert (tmp_path / "original").read_bytes() == b"mine!"
    assert (out / "empty").is_file()


def test_links_made_here_stay_inside_however_they_are_combined(tmp_path: Path) -> None:
    def write(writer: DriveWriter) -> None:
        writer.put("/a/b/c/file", b"")
        writer.symlink("/up", "/a/b")
        writer.symlink("/a/b/c/one", "/")
        writer.symlink("/a/two", "/up/c/one")
        writer.symlink("/a/b/three", "/a/two/a/b/c/one/up")

    out = tmp_path / "out"
    run(extract(written(write), out))
    for link in out.rglob("*"):
        assert link.resolve().is_relative_to(out)
    assert (out / "a" / "two").resolve() == out
    assert str((out / "a/b/c/one").readlink()) == "../../.."


NAMES = st.sampled_from(
    ["..", ".", "", "a", "b", "\0", "\\", "a\\..\\..", "c:", "~", "-rf", "out", "evil", ".git"]
)
NASTY = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
ITEMS = st.lists(st.tuples(NASTY, st.none() | NASTY), min_size=1, max_size=12, unique_by=lambda item: item[0])


@given(ITEMS)
@settings(max_examples=examples(150))
def test_whatever_a_drive_holds_nothing_outside_is_touched(items: list[tuple[str, str | None]]) -> None:
    with TemporaryDirectory() as name:
        base = Path(name)
        (base / "evil").mkdir()
        out = base / "out"
        for start in ("", "/"):
            values = [
                (
                    (start + path).encode(),
                    json.dumps({"linkname": target}).encode(),
                )
                for path, target in items
            ]
            run(extract(raw_drive(*values), out))
        assert {path.name for path in base.iterdir()} == {"evil", "out"}
        assert list((base / "evil").iterdir()) == []
        for path in out.rglob("*"):
            if path.is_symlink():
                assert Path(os.path.normpath(path.parent / path.readlink())).is_relative_to(out)


# --- what is in the way


def test_a_file_and_a_folder_of_one_name_do_not_both_fit(tmp_path: Path) -> None:
    drive = raw_drive((b"/a", EMPTY), (b"/a/b", EMPTY), (b"/c", EMPTY))
    summary = run(extract(drive, tmp_path))
    assert tree(tmp_path) == {"a": b"", "c": b""}
    assert [(o.path, o.reason) for o in summary.failures] == [
        ("/a/b", "a file named 'a' is in the way of a folder")
    ]


def test_a_folder_that_is_there_is_not_removed_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").mkdir()
    (tmp_path / "docs" / "link" / "mine").mkdir(parents=True)
    summary = run(extract(written(), tmp_path))
    assert [(o.path, o.reason) for o in summary.failures] == [
        ("/docs/link", "a folder is in the way"),
        ("/hello.txt", "a folder is in the way"),
    ]
    assert (tmp_path / "docs/link/mine").is_dir()


def test_names_too_long_are_reported_and_the_rest_is_written(tmp_path: Path) -> None:
    def write(writer: DriveWriter) -> None:
        writer.put("/" + "x" * 256, b"")
        writer.put("/" + "x" * 255, b"fits")
        writer.put("/" + "ü" * 130 + "/y", b"")
        writer.symlink("/z", "t" * 5000)

    summary = run(extract(written(write), tmp_path))
    assert tree(tmp_path) == {"x" * 255: b"fits"}
    assert [o.reason for o in summary.failures] == [
        "a name of 256 bytes is too long for this file system",
        "a name of 5000 bytes is too long for this file system",
        "a name of 260 bytes is too long for this file system",
    ]


def test_paths_may_be_longer_than_the_system_takes_in_one_call(tmp_path: Path) -> None:
    folder = "/" + "/".join(["d" * 200] * 30)

    def write(writer: DriveWriter) -> None:
        writer.put(folder + "/file", b"deep")
        writer.put(folder + "/file2", b"deep too")

    assert counts(run(extract(written(write), tmp_path))) == (2, 0, 0, 0)
    assert counts(run(extract(written(write), tmp_path))) == (0, 2, 0, 0)


def test_broken_entries_are_reported_and_the_rest_is_written(tmp_path: Path) -> None:
    blob = b'{"blob":{"blockOffset":5,"blockLength":1,"byteOffset":0,"byteLength":1}}'
    drive = raw_drive((b"/a", b"no JSON"), (b"/b", EMPTY), (b"/c", blob))
    summary = run(extract(drive, tmp_path))
    assert tree(tmp_path) == {"b": b""}
    assert [o.path for o in summary.failures] == ["/a", "/c"]
    assert "the core has 0" in str(summary.failures[1].reason)


def test_a_content_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    drive, _, blobs = written_drive(lambda writer: writer.put("/file", BIG))
    blobs.blocks[1] = None
    summary = run(extract(drive, tmp_path))
    assert [o.reason for o in summary.failures] == ["block 1 is not here"]
    assert list(tmp_path.iterdir()) == []


def test_failures_are_kept_up_to_a_bound(tmp_path: Path) -> None:
    drive = raw_drive(*((b"/%04d" % i, b"broken") for i in range(1003)))
    summary = run(extract(drive, tmp_path))
    assert (summary.failed, len(summary.failures)) == (1003, 1000)


def test_the_name_of_the_temporary_folder_is_not_for_the_drive(tmp_path: Path) -> None:
    drive = written(lambda writer: writer.put(f"/{PARTIAL.decode()}/part-1", b"evil"))
    summary = run(extract(drive, tmp_path))
    assert counts(summary) == (0, 0, 0, 1)
    assert list(tmp_path.iterdir()) == []


# --- the directory


def test_what_a_killed_writer_left_behind_is_removed(tmp_path: Path) -> None:
    partial = tmp_path / PARTIAL.decode()
    partial.mkdir()
    (partial / "part-1").write_bytes(b"half a file")
    (partial / "note").write_bytes(b"somebody's own")
    run(extract(written(), tmp_path))
    assert [path.name for path in partial.iterdir()] == ["note"]


def test_two_writers_do_not_share_a_directory(tmp_path: Path) -> None:
    with ConfinedFolder(tmp_path), pytest.raises(StoreLocked, match=str(tmp_path)):
        run(extract(written(), tmp_path))
    assert counts(run(extract(written(), tmp_path))) == (4, 0, 1, 0)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnreadable, match="file"):
        run(extract(written(), tmp_path / "file"))
    (tmp_path / PARTIAL.decode()).symlink_to(tmp_path)
    with pytest.raises(StoreUnreadable, match=str(tmp_path)):
        run(extract(written(), tmp_path))


def test_a_full_disk_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreFull, match="no room left"):
        run(extract(written(), tmp_path))
    assert tree(tmp_path) == {}


def test_names_that_differ_in_case_are_kept_apart_where_the_file_system_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = ConfinedFolder.__enter__

    def ignoring_case(folder: ConfinedFolder) -> ConfinedFolder:
        entered(folder)
        folder.ignores_case = True
        return folder

    monkeypatch.setattr(ConfinedFolder, "__enter__", ignoring_case)

    def write(writer: DriveWriter) -> None:
        for name in ("/Readme", "/readme", "/caf\u00e9", "/cafe\u0301", "/x"):
            writer.put(name, name.encode())

    summary = run(extract(written(write), tmp_path))
    assert sorted(tree(tmp_path)) == ["Readme", "cafe\u0301", "x"]
    assert summary.failed == 2


def inflating(times: int, size: int = 1 << 20) -> Drive:
    """A drive whose /big is a block map that names one block again and again, between two small files."""
    db, blobs = MemorySource(), MemorySource()
    writer = DriveWriter(db, blobs, blobs_key=BLOBS_KEY)
    writer.write_header()
    writer.put("/a", b"first")
    at = blobs.length
    blobs.append([bytes(size)])
    maps = encode_block_map([MapEntry(at, size)] * times)
    blobs.append(maps)
    blob = BlobId(at + 1, len(maps), 0, sum(map(len, maps)), True)
    entry = Entry(path="/big", seq=db.length, blob=blob)
    BeeWriter(db).sub("files").put(b"/big", encode_entry(entry))
    drive = drive_of(db, blobs)
    assert run(drive.size(run(drive.entry("/big")))) == times * size  # type: ignore[arg-type]
    return drive


def test_content_that_does_not_fit_the_disk_is_refused_before_a_byte_of_it_is_written(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    summary = run(extract(inflating(400_000, 1 << 24), tmp_path, on_outcome=outcomes.append))
    assert counts(summary) == (1, 0, 0, 1)
    assert tree(tmp_path) == {"a": b"first"}
    (failed,) = [outcome for outcome in outcomes if outcome.result == "failed"]
    assert failed.path == "/big"
    assert re.fullmatch(
        r"it has 6\.7 TB, and [\d.]+ [kMGT]B are free \(67\.1 MB stay free\)", failed.reason or ""
    )


def test_no_more_than_max_bytes_is_written(tmp_path: Path) -> None:
    def write(writer: DriveWriter) -> None:
        for number in range(6):
            writer.put(f"/{number}", bytes(1000))
        writer.put("/small", bytes(10))

    drive = written(write)
    summary = run(extract(drive, tmp_path, max_bytes=3_500))
    assert sorted(tree(tmp_path)) == ["0", "1", "2", "small"]
    assert summary.bytes_written == 3_010
    reason = "it has 1.0 kB, and 500 B of what may be written are left"
    assert [failure.reason for failure in summary.failures] == [reason] * 3
    # What is there already counts no more
    summary = run(extract(drive, tmp_path, max_bytes=3_500))
    assert counts(summary) == (3, 4, 0, 0)
    assert counts(run(extract(inflating(3), tmp_path / "x", max_bytes=3 << 20))) == (1, 0, 0, 1)
