"""A disk without room: the flush says so, nothing that was durable suffers, and with room it goes on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.storage_programs import run

LIMITED_FILES = """
import resource, sys
from pathlib import Path
from hypercore.core import disk_store
from hypercore.errors import StorageError, StoreFull
from hypercore.testing.cores import make_writer

size = int(sys.argv[2])
store = disk_store(Path(sys.argv[1]))
writer = make_writer([bytes([n]) * size for n in range(20)], store=store)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), hard))
writer.core.append([bytes([n]) * size for n in range(20, 40)], writer.key_pair)
for _ in range(3):
    try:
        store.flush()
        raise SystemExit("it fitted")
    except StorageError as error:
        print(type(error).__name__, error)
    assert writer.core.durable_contiguous_length == 20
    assert all(writer.core.get(n) == bytes([n]) * size for n in range(40))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert store.flush() == [(writer.core, [(20, 40)])]
store.close()
with disk_store(Path(sys.argv[1])) as store:
    core = store.open_core(writer.core.key, create=False)
    assert core.complete and core.length == 40
    assert all(sound for _, sound in core.verify())
print("went on")
"""


def test_a_file_size_limit_stops_a_large_core_and_nothing_else(tmp_path: Path) -> None:
    out = run(LIMITED_FILES, tmp_path, 60_000, 1_500_000)
    assert out.count("StoreFull") == 3
    assert "larger than is allowed" in out
    assert out.endswith("went on\n")


def test_a_file_size_limit_on_the_database_is_survived(tmp_path: Path) -> None:
    out = run(LIMITED_FILES, tmp_path, 9_000, 250_000)
    assert out.count("cannot write the database") == 3
    assert out.endswith("went on\n")


GROW = """
import os, subprocess, sys
from pathlib import Path
from hypercore.core import disk_store
from hypercore.errors import StoreFull
from hypercore.testing.cores import make_writer

mount, size = Path(sys.argv[1]), int(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", mount], check=True)
store = disk_store(mount / "data")
writer = make_writer([bytes([n]) * size for n in range(20)], store=store)
filler = mount / "filler"
free = os.statvfs(mount).f_bavail * 4096
filler.write_bytes(bytes(free - 100_000))
more = [bytes([n % 256]) * size for n in range(20, 20 + 600_000 // size)]
writer.core.append(more, writer.key_pair)
for _ in range(3):
    try:
        store.flush()
        raise SystemExit("it fitted")
    except StoreFull as error:
        print("full:", error)
    assert writer.core.durable_contiguous_length == 20
    assert all(writer.core.get(n) == bytes([n % 256]) * size for n in range(writer.core.length))

# As after a kill: a copy of what is on the disk now opens with all that was reported durable
filler.unlink()
subprocess.run(["cp", "-r", mount / "data", mount / "copy"], check=True)
with disk_store(mount / "copy") as copy:
    core = copy.open_core(writer.core.key, create=False)
    assert (core.length, core.contiguous_length) == (20, 20), core
    assert all(sound for _, sound in core.verify())

assert store.flush() == [(writer.core, [(20, writer.core.length)])]
store.close()
with disk_store(mount / "data") as store:
    core = store.open_core(writer.core.key, create=False)
    assert core.complete and core.length == 20 + len(more)
    assert all(sound for _, sound in core.verify())

# And a disk on which not even a new store fits
with filler.open("ab", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
try:
    disk_store(mount / "new")
    raise SystemExit("it fitted")
except StoreFull as error:
    print("full:", error)
print("went on")
"""

_UNSHARE = ("unshare", "-rm")


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = [*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="needs a user namespace to mount a tiny file system in")
@pytest.mark.parametrize("size", [900, 60_000], ids=["rows", "file"])
def test_a_full_file_system_loses_nothing_and_goes_on_with_room(tmp_path: Path, size: int) -> None:
    out = run(GROW, tmp_path, size, prefix=_UNSHARE)
    assert out.count("full:") == 4, out
    assert "no space left" in out and "intact" in out
    assert out.endswith("went on\n")
