"""The gateway reads drives of an official publisher: from the swarm, and from an engine of this machine."""

from __future__ import annotations

import io
import stat
import threading
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from workers.gateway import connection, slots, source, zips

from ...support.content import CHUNK, EDGE_FILES, File, content
from ...support.engine import EngineChild
from ...support.gateway import GatewayProcess
from ...support.node import Publisher
from ...support.published import publish_drive
from ...support.waiting import eventually
from .conftest import NewGateway

pytestmark = pytest.mark.interop

LAST = {file.path: file for file in EDGE_FILES}
FILES = [file for file in LAST.values() if file.target is None]


def seed(processes: ExitStack, bootstrap: list[str], data: Path, *keys: str) -> EngineChild:
    """An engine of a worker in `data` that has all of these keys."""
    engine = EngineChild(data / "engine-0", bootstrap)
    processes.callback(engine.dispose)
    engine.sync(*keys)
    for key in keys:
        engine.wait_status(key, "complete", timeout=60)
    return engine


@pytest.mark.parametrize("variant", ["plain", "dedup", "compat"])
def test_every_file_is_read_from_the_swarm(
    variant: str, publisher: Publisher, new_gateway: NewGateway
) -> None:
    key = publish_drive(publisher, variant)["key"]
    gateway = new_gateway()
    etags = set()
    for file in FILES:
        with gateway.dialogue() as it:
            facts = it.ask(key, file.path)
            assert (facts["kind"], facts["path"], facts["size"]) == ("file", file.path, file.size), facts
            assert it.read(0, file.size) == file.bytes, file.path
            if file.size > 2:
                assert it.read(1, file.size - 2) == file.bytes[1:-1]
            etags.add(facts["etag"])
    assert len(etags) == len(FILES)
    assert gateway.get(key, "/link") == LAST["/block.bin"].bytes
    with gateway.dialogue() as it:
        assert it.ask(key, "/link")["path"] == "/block.bin"


def test_a_complete_copy_of_this_machine_is_read_without_any_peer(
    publisher: Publisher, new_gateway: NewGateway, processes: ExitStack, bootstrap: list[str], tmp_path: Path
) -> None:
    key = publish_drive(publisher, "plain")["key"]
    seed(processes, bootstrap, tmp_path / "worker", key)
    publisher.stop()
    gateway = new_gateway(tmp_path / "worker")
    for file in FILES:
        assert gateway.get(key, file.path) == file.bytes, file.path
    assert gateway.gateway.drives._network._swarm is None


def test_stored_files_are_read_in_large_verified_runs(
    publisher: Publisher, new_gateway: NewGateway, processes: ExitStack, bootstrap: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    size = 5_000_000
    expected = content("/big.bin", size)
    key = publish_drive(publisher, "plain", [File(path="/big.bin", size=size)])["key"]
    seed(processes, bootstrap, tmp_path / "worker", key).dispose()
    gateway = new_gateway(tmp_path / "worker")
    one_by_one: list[int] = []
    get = source.CoreReader.get

    async def counted(self: source.CoreReader, index: int) -> bytes:
        one_by_one.append(index)
        return await get(self, index)

    monkeypatch.setattr(source.CoreReader, "get", counted)
    with gateway.dialogue() as it:
        it.ask(key, "/big.bin")
        one_by_one.clear()
        for start, length in ((0, size), (0, 1), (65_535, 2), (65_536, 65_536), (1_234_567, 3_000_000)):
            assert it.read(start, length) == expected[start : start + length]
        assert it.read(size - 1, 1) == expected[-1:]
        assert it.read(0, 0) == b""
    assert not one_by_one
    # A block that the disk has lost comes from the publisher, in the middle of the file
    path = max((tmp_path / "worker").glob("engine-0/blocks/*/*.blocks"), key=lambda path: path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(40 * CHUNK + 5)
        file.write(b"\0\0\0\0")
    assert gateway.get(key, "/big.bin") == expected
    assert one_by_one


def test_a_copy_that_is_made_meanwhile_takes_over(
    publisher: Publisher, new_gateway: NewGateway, processes: ExitStack, bootstrap: list[str], tmp_path: Path
) -> None:
    key = publish_drive(publisher, "plain")["key"]
    gateway = new_gateway(tmp_path / "worker")
    assert gateway.get(key, "/one.bin") == LAST["/one.bin"].bytes
    seed(processes, bootstrap, tmp_path / "worker", key)
    publisher.stop()
    eventually(
        lambda: gateway.get(key, "/grown.bin") == LAST["/grown.bin"].bytes, timeout=20, what="the copy"
    )


def test_older_versions_stay_readable_and_new_ones_appear(
    publisher: Publisher, new_gateway: NewGateway, processes: ExitStack, bootstrap: list[str], tmp_path: Path
) -> None:
    first, second = (File(path="/a.bin", size=90_000, seed=seed) for seed in ("first", "second"))
    publisher.make("thing", "drive", "plain")
    publisher.put_all("thing", [first])
    made = publisher.ask("join", name="thing") and publisher.ask("describe", name="thing")
    key = made["key"]
    engine = seed(processes, bootstrap, tmp_path / "worker", key)
    gateway = new_gateway(tmp_path / "worker")
    with gateway.dialogue() as it:
        before = it.ask(key, "/a.bin")
        assert (before["version"], before["newest"]) == (2, 2)
        since = engine.position()
        publisher.put_all("thing", [second])
        engine.wait_for(
            lambda event: event.get("event") == "synced" and event.get("version") == 3,
            timeout=30,
            since=since,
        )
        assert it.read(0, 90_000) == first.bytes, "what was looked up stays as it was"

    def newest() -> bool:
        with gateway.dialogue() as it:
            return bool(it.ask(key, "/a.bin")["version"] == 3)

    eventually(newest, timeout=10, what="the new version")
    assert gateway.get(key, "/a.bin") == second.bytes
    assert gateway.get(key, "/a.bin", version=2) == first.bytes
    with gateway.dialogue() as it:
        old = it.ask(key, "/a.bin", version=2)
        assert old["etag"] == before["etag"] and old["newest"] == 3
    for version in (0, -1, 4, 10**15):
        with gateway.dialogue() as it:
            assert it.ask(key, "/a.bin", version=version)["code"] == "version"


def test_the_first_bytes_come_before_the_rest_is_fetched(
    publisher: Publisher, new_gateway: NewGateway
) -> None:
    size = 600 * CHUNK
    publisher.make("thing", "drive", "plain")
    publisher.put_all("thing", [File(path="/video.mp4", size=size)])
    key = publisher.ask("join", name="thing") and publisher.ask("describe", name="thing")["key"]
    gateway = new_gateway()
    with gateway.dialogue() as it:
        assert it.ask(key, "/video.mp4")["size"] == size
        it.send("read", start=size // 2, length=size // 2)
        assert it.answer() == {"type": "begin"}
        assert it.take(CHUNK) == content("/video.mp4", size)[size // 2 : size // 2 + CHUNK]
        time.sleep(1.0)  # a slow reader
        sent = publisher.ask("uploads", name="thing")["blobs"]
        limit = (source.READ_AHEAD_BYTES + 8 * connection.WRITE_BYTES) // CHUNK
        assert len(sent) < limit, f"{len(sent)} blocks were fetched for a reader who took one"
        assert all(int(index) >= 299 for index in sent), "a range fetches nothing before it"
        assert it.take(size // 2 - CHUNK) == content("/video.mp4", size)[size // 2 + CHUNK :]


def test_folders_are_listed_in_pages(publisher: Publisher, new_gateway: NewGateway) -> None:
    publisher.make("thing", "drive", "plain")
    names = [f"{i:04}.txt" for i in range(1200)]
    publisher.ask("puts", name="thing", files=[{"path": f"/many/{n}", "seed": n, "size": 3} for n in names])
    publisher.put_all("thing", [File(path="/many/sub/deep.txt", size=1), File(path="/many/sub", size=2)])
    key = publisher.ask("join", name="thing") and publisher.ask("describe", name="thing")["key"]
    gateway = new_gateway()
    with gateway.dialogue() as it:
        assert it.ask(key, "/many")["path"] == "/many/"
        items, after = [], None
        while True:
            it.send("list", after=after, limit=500)
            page = it.answer()
            assert len(page["items"]) <= 500 and page["left_out"] == 0
            items += page["items"]
            if not page["more"]:
                break
            after = [items[-1]["name"], items[-1]["kind"] == "folder"]
    assert [item["name"] for item in items] == [*names, "sub", "sub"]
    assert [item["kind"] for item in items[-2:]] == ["file", "folder"]


TRICKS = [
    "/../etc/passwd", "/a/../one.bin", "/./one.bin", "//one.bin", "/tools//run.sh", "one.bin", "",
    "/one.bin\0", "/tools\\run.sh", "/..", "/one.bin/..", "/tools/.", "/one.bin/", "/nothing",
    "/tools/run.sh/x", "/" + "x" * 70_000,
]  # fmt: skip


def test_paths_that_no_drive_has_are_missing(publisher: Publisher, new_gateway: NewGateway) -> None:
    key = publish_drive(publisher, "plain")["key"]
    gateway = new_gateway()
    assert gateway.get(key, "/one.bin") == LAST["/one.bin"].bytes
    for path in TRICKS:
        with gateway.dialogue() as it:
            answer = it.ask(key, path)
            assert answer.get("code") == "missing", (path[:40], answer)


def test_what_is_no_readable_drive_is_refused_in_words(publisher: Publisher, new_gateway: NewGateway) -> None:
    gateway = new_gateway()
    encrypted = publish_drive(publisher, "encrypted")["key"]
    publisher.make("bee", "bee")
    publisher.ask("insert", name="bee", entries=[["a", "b"]])
    bee = publisher.ask("join", name="bee") and publisher.ask("describe", name="bee")["key"]
    for key, code, word in ((encrypted, "encrypted", "encrypted"), (bee, "no_drive", "bee")):
        with gateway.dialogue() as it:
            answer = it.ask(key, "/")
            assert answer["code"] == code and word in answer["text"]


def test_without_any_copy_there_is_a_reason_instead_of_bytes(
    new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "HEAD_TIMEOUT", 0.5)
    with new_gateway().dialogue() as it:
        answer = it.ask("ab" * 32, "/")
        assert answer["code"] == "unavailable" and answer["retry"] > 0 and "none was found" in answer["text"]


def test_a_block_that_never_comes_ends_the_connection(
    publisher: Publisher, new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BLOCK_TIMEOUT", 1.5)
    publisher.make("thing", "drive", "plain")
    publisher.put_all("thing", [File(path="/a.bin", size=20 * CHUNK), File(path="/z.bin", size=3 * CHUNK)])
    publisher.ask("clear", name="thing", path="/z.bin")
    key = publisher.ask("join", name="thing") and publisher.ask("describe", name="thing")["key"]
    gateway = new_gateway()
    with gateway.dialogue() as it:
        assert it.ask(key, "/z.bin")["size"] == 3 * CHUNK
        it.send("read", start=0, length=3 * CHUNK)
        assert it.answer()["code"] == "unavailable", "nothing was sent yet: there is a reason"
    with gateway.dialogue() as it:
        it.ask(key, "/")
        with pytest.raises((AssertionError, OSError)):
            it.zip()  # the first file comes, the second one does not
    eventually(
        lambda: gateway.gateway.slots.taken == 0 and gateway.gateway.connections == 0,
        timeout=5,
        what="the end of the connections",
    )


def test_a_zip_has_every_file_mode_and_inner_link(publisher: Publisher, new_gateway: NewGateway) -> None:
    files = [
        *EDGE_FILES,
        File(path="/tools/out", target="/one.bin"),
        File(path="/tools/in", target="/tools/run.sh"),
    ]
    key = publish_drive(publisher, "plain", files)["key"]
    gateway = new_gateway()
    with gateway.dialogue() as it:
        it.ask(key, "/")
        archive = zipfile.ZipFile(io.BytesIO(it.zip()))
    assert archive.testzip() is None
    expected = {path[1:] for path in LAST} | {"tools/out", "tools/in"}
    assert set(archive.namelist()) == expected
    for file in FILES:
        assert archive.read(file.path[1:]) == file.bytes, file.path
        mode = archive.getinfo(file.path[1:]).external_attr >> 16
        assert bool(mode & stat.S_IXUSR) == file.executable
    with gateway.dialogue() as it:
        it.ask(key, "/tools/")
        below = zipfile.ZipFile(io.BytesIO(it.zip()))
    assert set(below.namelist()) == {"run.sh", "in"}, "a link out of the folder is left out"
    assert stat.S_ISLNK(below.getinfo("in").external_attr >> 16) and below.read("in") == b"run.sh"


def test_a_zip_of_large_files_uses_64_bits(
    publisher: Publisher, new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [File(path=f"/{name}", size=5 * CHUNK) for name in "abc"]
    key = publish_drive(publisher, "plain", files)["key"]
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 6 * CHUNK)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    with new_gateway().dialogue() as it:
        it.ask(key, "/")
        packed = it.zip()
    monkeypatch.undo()
    assert b"PK\x06\x06" in packed and b"PK\x06\x07" in packed, "end records of ZIP64"
    archive = zipfile.ZipFile(io.BytesIO(packed))
    assert {name: archive.read(name) for name in archive.namelist()} == {f.path[1:]: f.bytes for f in files}


def test_a_folder_with_too_many_files_for_a_zip_is_refused(
    publisher: Publisher, new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = publish_drive(publisher, "plain")["key"]
    monkeypatch.setattr(zips, "MAX_FILES", 5)
    gateway = new_gateway()
    with gateway.dialogue() as it:
        it.ask(key, "/")
        it.send("zip")
        assert it.answer()["code"] == "too_large"
    with gateway.dialogue() as it:
        it.ask(key, "/tools/")
        assert zipfile.ZipFile(io.BytesIO(it.zip())).namelist() == ["run.sh"]


def test_streams_are_bounded_in_all_and_for_each_client(
    publisher: Publisher, new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots.Slots.__init__, "__defaults__", (3, 2))
    size = 200 * CHUNK
    key = publish_drive(publisher, "plain", [File(path="/big.bin", size=size)])["key"]
    gateway = new_gateway()
    with ExitStack() as stack:
        answers = []
        for client in ("a", "a", "a", "b", "c"):
            it = stack.enter_context(gateway.dialogue())
            assert it.ask(key, "/big.bin", client=client)["size"] == size
            it.send("read", start=0, length=size)
            answers.append(it.answer())
        assert [answer["type"] for answer in answers] == ["begin", "begin", "failed", "begin", "failed"]
        assert {answer["code"] for answer in answers if answer["type"] == "failed"} == {"busy"}
        assert all(answer["retry"] > 0 for answer in answers if answer["type"] == "failed")
    eventually(
        lambda: gateway.gateway.slots.taken == 0, timeout=5, what="free slots"
    )  # they left in the middle
    assert gateway.get(key, "/big.bin") == content("/big.bin", size)


def test_a_reader_that_takes_nothing_is_disconnected(
    publisher: Publisher, new_gateway: NewGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "STALL_TIMEOUT", 0.5)
    size = 200 * CHUNK
    key = publish_drive(publisher, "plain", [File(path="/big.bin", size=size)])["key"]
    gateway = new_gateway()
    with gateway.dialogue() as it:
        it.ask(key, "/big.bin")
        it.send("read", start=0, length=size)
        assert it.answer() == {"type": "begin"}
        eventually(lambda: gateway.gateway.slots.taken == 0, timeout=10, what="free slots")
        with pytest.raises((AssertionError, ConnectionError)):
            assert len(it.take(size)) == size


def test_drives_are_closed_when_idle_and_bounded(publisher: Publisher, new_gateway: NewGateway) -> None:
    keys = []
    for name in "abc":
        publisher.make(name, "drive", "plain")
        publisher.put_all(name, [File(path="/x", size=10)])
        keys.append(publisher.ask("join", name=name) and publisher.ask("describe", name=name)["key"])
    gateway = new_gateway()
    drives = gateway.gateway.drives
    drives._max_open = 2
    for key in keys:
        assert gateway.get(key, "/x") == content("/x", 10)
        assert len(drives) <= 2
    with ExitStack() as stack:
        for key in keys[:2]:
            assert stack.enter_context(gateway.dialogue()).ask(key, "/x")["kind"] == "file"
        it = stack.enter_context(gateway.dialogue())
        assert it.ask(keys[2], "/x")["code"] == "busy", "those that are read stay"
    drives._idle_seconds = 0.1
    eventually(lambda: len(drives) == 0, timeout=10, what="idle drives to close")
    assert gateway.get(keys[0], "/x") == content("/x", 10)


def test_nonsense_from_the_client_ends_its_connection_alone(
    publisher: Publisher, new_gateway: NewGateway
) -> None:
    key = publish_drive(publisher, "plain")["key"]
    gateway = new_gateway()
    for line in (b"\n", b"{}\n", b"nonsense\n", b'{"type":"read","start":0,"length":1}\n', b"x" * (2 << 20)):
        with gateway.dialogue() as it:
            try:
                it.socket.sendall(line)
                it.socket.shutdown(1)
                assert it.answer() == {}
            except OSError:
                pass
    with gateway.dialogue() as it:
        it.send("ask", key="zz", path="/")
        assert it.answer() == {}
    assert gateway.get(key, "/one.bin") == LAST["/one.bin"].bytes


def test_memory_does_not_grow_with_the_file(
    publisher: Publisher, processes: ExitStack, bootstrap: list[str], tmp_path: Path
) -> None:
    size = 192 << 20
    key = publish_drive(publisher, "plain", [File(path="/big.bin", size=size)])["key"]
    gateway = GatewayProcess(bootstrap, tmp_path / "none")
    processes.callback(gateway.dispose)
    status = Path(f"/proc/{gateway.process.pid}/status")

    def peak() -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10

    before = peak()
    expected, taken = content("/big.bin", size), 0
    with gateway.dialogue() as it:
        assert it.ask(key, "/big.bin")["size"] == size
        it.send("read", start=0, length=size)
        assert it.answer() == {"type": "begin"}
        while taken < size:
            part = it.take(1 << 20)
            assert part == expected[taken : taken + len(part)]
            taken += len(part)
    bound = source.MAX_HELD_BYTES + (48 << 20)
    assert peak() - before < bound < size, f"{(peak() - before) >> 20} MiB for a file of {size >> 20}"


def test_readers_of_one_drive_do_not_wait_for_each_other(
    publisher: Publisher, new_gateway: NewGateway
) -> None:
    key = publish_drive(publisher, "plain")["key"]
    gateway = new_gateway()
    wrong: list[str] = []

    def read(file: File) -> None:
        if gateway.get(key, file.path) != file.bytes:
            wrong.append(file.path)

    threads = [threading.Thread(target=read, args=(file,)) for file in FILES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)
