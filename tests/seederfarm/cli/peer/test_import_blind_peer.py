"""`import blind-peer`: a store of any size goes through in pieces, and a broken one leaves nothing."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result

from hypercore.blindpeer import CoreRecord
from hypercore.codec import Writer
from seederfarm.cli.peer import import_blind_peer as command
from workers.engine.blindpeer import official
from workers.engine.blindpeer.records import RecordTable

KEPT = 10
Item = tuple[bytes, bytes]
Import = Callable[[Iterable[Item]], Result]


class Counted(CoreRecord):
    """Counts the records that are in memory."""

    held: ClassVar[int] = 0
    max_held: ClassVar[int] = 0

    def __init__(self, **fields: object) -> None:
        super().__init__(**fields)  # type: ignore[arg-type]
        Counted.held += 1
        Counted.max_held = max(Counted.max_held, Counted.held)

    def __del__(self) -> None:
        Counted.held -= 1


def item(number: int) -> Item:
    key = number.to_bytes(2, "big") + b"\x11" * 30
    w = Writer()
    CoreRecord(key=key, length=number).encode(w)
    return official.CORES + b"\x00" + key.replace(b"\x00", b"\x00\x02") + b"\x00\x01", bytes(w)[32:]


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Import:
    """Imports a store with these records."""

    def run(items: Iterable[Item]) -> Result:
        class Storage:
            def get(self, name: bytes) -> bytes:
                return b"\x07" * 64

            def items(self, from_key: bytes) -> Iterator[Item]:
                return iter(items)

        @contextmanager
        def opened(directory: Path) -> Iterator[Storage]:
            yield Storage()

        monkeypatch.setattr(command, "_opened", opened)
        monkeypatch.setattr(command, "RecordTable", partial(RecordTable, max_unclaimed=KEPT))
        arguments = [str(tmp_path), "--data", str(tmp_path / "new"), "--json"]
        return CliRunner().invoke(command.import_blind_peer, arguments)

    return run


def test_no_more_records_are_held_than_are_kept(imported: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    class Items:
        def __iter__(self) -> Iterator[Item]:
            return map(item, range(1000))

    monkeypatch.setattr(official, "CoreRecord", Counted)
    done = imported(Items())
    gc.collect()
    assert json.loads(done.stdout) | {"blind_peer": ""} == {
        "blind_peer": "", "new": KEPT, "known": 0, "refused": 1000 - KEPT, "removed": 0,
    }  # fmt: skip
    assert Counted.max_held < 2 * KEPT
    assert Counted.held == 0


@pytest.mark.parametrize("broken", [(item(3)[0], b""), (item(3)[0], item(3)[1] + bytes(5000))])
def test_nothing_is_written_if_any_record_is_broken(imported: Import, broken: Item, tmp_path: Path) -> None:
    done = imported([item(1), item(2), broken])
    assert done.exit_code == 2
    assert "not the storage of a blind peer" in done.stderr
    assert not (tmp_path / "new").exists()
