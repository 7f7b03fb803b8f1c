"""What `seed` shows: JSON lines, plain lines, the live view, and the numbers in them."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from rich.console import Console

from hypercore.keys import encode_key
from seederfarm.cli import main
from seederfarm.cli.common import json_lines, logs
from seederfarm.cli.common.json_lines import JsonLines
from seederfarm.cli.peer.live import screen
from seederfarm.cli.peer.plain import PROGRESS_INTERVAL, PlainLines
from workers import units
from workers.engine.bootstrap import EMITTED
from workers.engine.model.events import (
    Forked,
    LimitChanged,
    NetworkChanged,
    PeerChanged,
    Problem,
    Progress,
    Ready,
    Synced,
)
from workers.engine.model.kind import Kind
from workers.engine.model.status import EngineStatus, LimitStatus, SeedStatus, State

KEY, PEER = bytes([1]) * 32, bytes([3]) * 32
PROGRESS = Progress(key=KEY, kind=Kind.DRIVE, blocks=10, have_blocks=4, bytes=1000, have_bytes=400, peers=2)
PROBLEM = Problem(key=None, code="STORAGE_FULL", message="no room left")

# --- numbers


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (312_000_000, "312 MB"),
        (5_400_000_000, "5.4 GB"),
        (8e18, "8000 PB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(count: float, shown: str) -> None:
    assert units.format_size(count) == shown


def test_what_is_here_is_shown_of_what_there_is() -> None:
    assert units.format_have_of(194_000_000, 312_000_000) == "194 of 312 MB"
    assert units.format_have_of(9_000, 312_000_000) == "9.0 kB of 312 MB"
    assert units.format_have_of(312_000_000, 312_000_000) == "312 MB"
    assert units.format_count_of(3_105, 5_000) == "3,105 of 5,000"


def test_a_hundred_percent_means_all_of_it() -> None:
    assert units.format_percent(0.99999) == "99%"
    assert units.format_percent(1.0) == "100%"


def test_durations_and_plurals() -> None:
    assert [units.format_clock(seconds) for seconds in (5, 65, 3_661, 200_000)] == [
        "0:05",
        "1:05",
        "1:01:01",
        "2 d 7:33",
    ]
    assert [units.plural(count, "peer") for count in (0, 1, 1200)] == ["0 peers", "1 peer", "1,200 peers"]


# --- JSON lines


class StuckReader(io.StringIO):
    """A pipe that no process reads until `unstuck` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = threading.Event()
        self.unstuck = threading.Event()

    def write(self, text: str) -> int:
        self.stuck.set()
        self.unstuck.wait()
        return super().write(text)


def test_every_event_is_a_flushed_line() -> None:
    out = io.StringIO()
    writer = JsonLines(out)
    writer.put(PROGRESS)
    writer.put(PROBLEM)
    writer.close()
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["progress", "error"]


def test_waiting_lines_are_bounded_and_progress_is_left_out_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(json_lines, "MAX_WAITING_PROGRESS", 10)
    monkeypatch.setattr(json_lines, "MAX_WAITING", 20)
    out = StuckReader()
    writer = JsonLines(out)
    writer.put(PROGRESS)
    assert out.stuck.wait(5)
    for _ in range(100):
        writer.put(PROGRESS)
    for _ in range(100):
        writer.put(PROBLEM)
    out.unstuck.set()
    writer.close()
    names = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert names == ["progress"] * (1 + 10) + ["error"] * 10
    assert sum("is not read" in record.message for record in caplog.records) == 1


def test_a_reader_that_is_gone_is_noticed() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    writer = JsonLines(Gone())
    writer.put(PROBLEM)
    assert writer.broken.wait(5)
    writer.close()


# --- plain lines


def test_plain_lines_report_the_story() -> None:
    reported: list[str] = []
    plain = PlainLines({KEY: "abc…"}, reported.append)
    plain.put(Ready(public_key=PEER, host="127.0.0.1", port=1234, firewalled=False, bootstrap=()), now=0.0)
    plain.put(PeerChanged(key=KEY, peer=PEER, state="open", bytes_in=0, bytes_out=0), now=1.0)
    plain.put(PROGRESS, now=1.0)
    plain.put(Synced(key=KEY, kind=Kind.DRIVE, version=7, length=10, bytes=1000), now=2.0)
    plain.put(PeerChanged(key=KEY, peer=PEER, state="close", bytes_in=1000, bytes_out=0), now=3.0)
    plain.put(PROBLEM, now=4.0)
    plain.put(LimitChanged(limit="up", state="reached", value=2_000_000, max=2_000_000), now=5.0)
    plain.put(
        Forked(key=KEY, core=KEY, state="followed", fork=0, length=10, new_fork=1, new_length=4), now=6.0
    )
    assert reported == [
        f"on the network as {encode_key(PEER)}",
        "at 127.0.0.1:1234; Ctrl-C leaves the swarm and stops",
        "abc… looking for peers",
        f"abc… peer {encode_key(PEER)[:10]}… connected",
        "abc… drive 4 of 10 blocks, 400 B of 1.0 kB, 2 peers",
        "abc… drive synced: version 7, 10 blocks, 1.0 kB",
        f"abc… peer {encode_key(PEER)[:10]}… left (1.0 kB in, 0 B out)",
        "error: no room left",
        "limit reached: ↑ 2.0 of 2.0 MB/s",
        "abc… its publisher went from fork 0 of 10 blocks to fork 1",
    ]


def test_many_keys_and_an_unknown_address_are_one_line_each() -> None:
    reported: list[str] = []
    labels = {bytes([number]) * 32: f"key{number}…" for number in range(3)}
    ready = Ready(public_key=PEER, host="0.0.0.0", port=1234, firewalled=True, bootstrap=())
    PlainLines(labels, reported.append).put(ready, now=0.0)
    assert reported[1:] == [
        "at UDP port 1234; Ctrl-C leaves the swarm and stops",
        "3 keys: looking for peers",
    ]
    reported.clear()
    PlainLines({}, reported.append).put(ready, now=0.0)
    assert reported[1:] == ["at UDP port 1234; Ctrl-C leaves the swarm and stops"], "no key is known yet"


def test_plain_progress_lines_are_rare() -> None:
    reported: list[str] = []
    plain = PlainLines({KEY: "abc…"}, reported.append)
    for tenth in range(1000):
        plain.put(PROGRESS, now=tenth / 10)
    assert len(reported) == 100 / PROGRESS_INTERVAL


# --- the live view


def seed(number: int, **changes: object) -> SeedStatus:
    facts: dict[str, object] = {
        "key": number.to_bytes(32, "big"),
        "kind": Kind.DRIVE,
        "state": State.DOWNLOADING,
        "length": 12,
        "blocks": 5_000,
        "have_blocks": 3_105,
        "bytes": 312_000_000,
        "have_bytes": 194_000_000,
        "peers": 2,
        "bytes_in": 194_000_000,
        "bytes_out": 0,
        "down": 12_300_000.0,
        "up": 0.0,
    }
    return SeedStatus(**(facts | changes))  # type: ignore[arg-type]


def shown(
    seeds: list[SeedStatus], width: int, height: int = 24, limits: tuple[LimitStatus, ...] = ()
) -> list[str]:
    status = EngineStatus(
        public_key=PEER,
        host="203.0.113.7",
        port=49_737,
        firewalled=True,
        announcing=True,
        connections=3,
        uptime=3_801,
        seeds=tuple(seeds),
        limits=limits,
    )
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    labels = {seed.key: f"key{int.from_bytes(seed.key, 'big')}…" for seed in seeds}
    console.print(screen(status, labels, width=width, height=height, data="/data"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


LOOKING = {
    "kind": None,
    "state": State.LOOKING,
    "blocks": 0,
    "have_blocks": 0,
    "bytes": 0,
    "have_bytes": 0,
    "peers": 0,
    "down": 0.0,
}


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_view_fits_its_terminal_and_shows_everything(width: int) -> None:
    view = shown([seed(1), seed(2, **LOOKING)], width)
    assert max(map(len, view)) <= width
    text = "\n".join(view)
    for word in (
        "203.0.113.7:49737",
        encode_key(PEER),
        "stays in /data",
        "drive",
        "key1…",
        "62%",
        "3,105",
        "5,000",
        "194 of 312 MB",
        "12.3 MB/s",
        "downloading",
        "looking for peers",
        "Ctrl-C",
    ):
        assert word in text


@pytest.mark.parametrize("width", [80, 120])
def test_more_keys_than_lines_shows_the_busy_ones_first(width: int) -> None:
    calm = [
        seed(number, state=State.SYNCED, have_blocks=5_000, have_bytes=312_000_000, down=0.0)
        for number in range(1, 200)
    ]
    view = shown([*calm, seed(777)], width, height=20)
    assert len(view) <= 20
    assert any("key777…" in line for line in view)
    assert any(line.startswith("… and ") and "more keys" in line for line in view)


LIMITS = (
    LimitStatus(limit="up", value=1_040_000.0, max=2_000_000, reached=False),
    LimitStatus(limit="down", value=300_000.0, max=10_000_000, reached=False),
    LimitStatus(limit="disk", value=9_900_000_000, max=10_000_000_000, reached=True),
    LimitStatus(limit="peers", value=64, max=64, reached=False),
)


@pytest.mark.parametrize("width", [80, 160])
def test_limits_are_shown_those_that_are_reached_first(width: int) -> None:
    view = shown([seed(1, state=State.HELD)], width, limits=LIMITS)
    assert max(map(len, view)) <= width
    [line] = [line for line in view if line.startswith("limits ")]
    assert line.startswith("limits 9.9 of 10.0 GB stored · ↑ 1.0 of 2.0 MB/s · ↓ 300 kB of 10.0 MB/s")
    assert any("no room" in line for line in view)


def test_a_fork_that_is_held_off_is_shown_in_place_of_synced() -> None:
    calm = {"state": State.SYNCED, "have_blocks": 5_000, "have_bytes": 312_000_000}
    view = "\n".join(shown([seed(1, quarantined=3, **calm)], 120))
    assert "fork 3 held off" in view


def test_the_view_survives_a_tiny_terminal() -> None:
    assert max(map(len, shown([seed(1)], 20, height=3, limits=LIMITS))) <= 20


def test_what_is_shown_as_an_event_is_not_logged_in_the_same_place() -> None:
    shown: list[str] = []
    log = logging.getLogger("workers.engine.bootstrap")
    for events_are_shown in (True, False):
        logs.set_up(logging.WARNING, shown.append, events_are_shown=events_are_shown)
        log.warning("no node answers", extra=EMITTED)
        log.warning("something else")
    assert [line.split("WARNING ")[1] for line in shown] == [
        "something else", "no node answers", "something else",
    ]  # fmt: skip


def test_a_full_disk_and_a_network_that_is_back_are_one_line_each() -> None:
    lines: list[str] = []
    plain = PlainLines({}, lines.append)
    text = "the disk has 5.0 GB free, and 5.0 GB stay free"
    plain.put(LimitChanged(limit="disk", state="reached", value=1, max=1, text=text), now=0.0)
    plain.put(Problem(key=None, code="NO_ROOM", message=f"{text}: nothing more is downloaded"), now=0.0)
    plain.put(NetworkChanged(state="unreachable"), now=1.0)
    plain.put(Problem(key=None, code="BOOTSTRAP_SILENT", message="no node of the DHT answers"), now=1.0)
    plain.put(NetworkChanged(state="reached"), now=2.0)
    assert lines == [
        f"error: {text}: nothing more is downloaded",
        "error: no node of the DHT answers",
        "nodes of the DHT answer again",
    ]


def test_ctrl_c_before_a_command_runs_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("seederfarm.cli.importlib.import_module", interrupted)
    done = CliRunner().invoke(main, ["seed", "ab" * 32])
    assert (done.exit_code, done.stderr) == (130, "seederfarm: stopped\n")


def test_a_peer_without_a_terminal_does_not_load_what_draws_on_one() -> None:
    """That is a tenth of the time in which an engine starts."""
    code = "import sys, seederfarm.cli.peer.seed; print(sorted({'click', 'rich'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ran.stdout.strip() == "['click']"
