"""Logs of the farm's processes: stamped, rotated, read in order, followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from seederfarm.supervisor.logs import MAX_LINE, Follower, Line, LogFile, names, parse, read, rotated


def test_every_line_has_its_time_whatever_the_pieces(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", clock=lambda: 1_700_000_000.25)
    for piece in (b"fir", b"st\nsecond\r\nthi", b"rd"):
        log.feed(piece)
    log.close()
    stamp = "2023-11-14T22:13:20.250000Z"
    assert (tmp_path / "web.log").read_text() == f"{stamp} first\n{stamp} second\n{stamp} third\n"


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log")
    log.feed(b"x" * (MAX_LINE * 2 + 5))
    log.close()
    assert [len(line.text) for line in read(tmp_path, ["web"])] == [MAX_LINE, MAX_LINE, 5]


def test_rotation_keeps_a_bounded_number_of_files(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "web.log", max_bytes=100, kept=2)
    for number in range(20):
        log.feed(f"line number {number}\n".encode())
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["web.log", "web.log.1", "web.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert [line.text for line in read(tmp_path, ["web"])] == [f"line number {n}" for n in range(14, 20)]


def test_lines_of_several_processes_come_in_the_order_of_time(tmp_path: Path) -> None:
    now = iter(range(100))
    clock = lambda: float(next(now))  # noqa: E731
    one, two = LogFile(tmp_path / "one.log", clock=clock), LogFile(tmp_path / "two.log", clock=clock)
    for number in range(3):
        one.line(f"a{number}")
        two.line(f"b{number}")
    one.close()
    two.close()
    assert names(tmp_path) == ["one", "two"]
    assert [line.text for line in read(tmp_path, names(tmp_path))] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_follower_sees_new_lines_alone_and_goes_through_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    log = LogFile(path, max_bytes=200)
    log.line("old")
    follower = Follower(path)
    log.line("new")
    assert [line.text for line in follower.read()] == ["new"]
    for number in range(6):
        log.line(f"more {number}" + "." * 30)
    assert rotated(path, 1).exists()
    assert [line.text.rstrip(".") for line in follower.read()][-1] == "more 5"
    assert follower.read() == []
    follower.close()
    log.close()


@pytest.mark.parametrize(
    ("text", "is_error"),
    [
        ("2026-11-21 10:00:00,1 ERROR   control: no such thing", True),
        ("Traceback (most recent call last):", True),
        ("123:M 21 Nov 2026 02:25:11.123 # Warning: no memory", True),
        ("INFO: 0 errors", False),
        ("Started server process [12]", False),
    ],
)
def test_lines_about_errors_are_recognised(text: str, is_error: bool) -> None:
    assert Line("", "web", text).is_error is is_error


def test_a_damaged_line_is_shown_as_it_is() -> None:
    assert parse("nothing\n", "web") == Line("nothing", "web", "")
