"""Lines from the worker to its engine."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

import pytest

from workers.engine.process import json_lines as lines_module
from workers.engine.process.json_lines import lines_of


def read(data: bytes, piece: int) -> list[bytes]:
    """The lines of what a pipe gives in pieces."""
    source, sink = os.pipe()

    def write() -> None:
        with os.fdopen(sink, "wb", buffering=0) as out, suppress(BrokenPipeError):
            for start in range(0, len(data), piece):
                out.write(data[start : start + piece])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return list(lines_of(source))
    finally:
        os.close(source)
        writer.join()


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_lines_come_whole_however_they_are_cut(piece: int) -> None:
    assert read(b"one\n\ntwo and more\nlast is not ended", piece) == [b"one", b"", b"two and more"]


def test_a_line_of_many_megabytes_is_put_together_once() -> None:
    """A pipe gives 64 KiB at a time: joined anew each time, 64 MB were 32 GB of copies."""
    line = b"x" * (64 << 20)
    started = time.process_time()
    assert read(line + b"\n", 1 << 20) == [line]
    assert time.process_time() - started < 2


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="a line of more than 1 MiB"):
        read(b"x" * (8 << 20), 1 << 20)
