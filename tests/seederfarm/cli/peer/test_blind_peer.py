"""`seed --blind-peer`: its options, and what it shows to people."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.console import Console

from hypercore.keys import encode_key, short_key
from seederfarm.cli import main
from seederfarm.cli.peer.live import screen
from seederfarm.cli.peer.plain import PlainLines
from seederfarm.cli.peer.seed import resolve_blind_peer
from workers.engine.model.events import BlindCoreChanged, Ready
from workers.engine.model.status import BlindPeerStatus, EngineStatus

CORE, CLIENT, SERVER = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
READY = Ready(
    public_key=SERVER, host="203.0.113.7", port=49_737, firewalled=False, bootstrap=(), blind_peer=SERVER
)
ADDED = BlindCoreChanged(
    core=CORE, state="added", client=CLIENT, priority=1, announce=False, length=0, bytes=0
)
STATUS = EngineStatus(
    public_key=SERVER,
    host="203.0.113.7",
    port=49_737,
    firewalled=False,
    announcing=True,
    connections=1,
    uptime=5,
    seeds=(),
    blind_peer=BlindPeerStatus(cores=1_200, bytes=5_000_000, clients=1),
)


def plain(*events: Ready | BlindCoreChanged) -> list[str]:
    lines: list[str] = []
    shown = PlainLines({}, lines.append)
    for event in events:
        shown.put(event, now=0.0)
    return lines


def test_the_key_is_printed_with_the_line_for_an_app() -> None:
    lines = plain(READY)
    assert f"blind peer {encode_key(SERVER)}" in lines
    assert f"in an app: new BlindPeering(dht, store, {{ keys: ['{encode_key(SERVER)}'] }})" in lines
    assert not any("blind" in line for line in plain(replace(READY, blind_peer=None)))


def test_cores_of_clients_have_a_line_for_each_change() -> None:
    whose = f"{short_key(CORE)} of client {short_key(CLIENT)}"
    complete = replace(ADDED, state="complete", length=3, bytes=96)
    assert plain(ADDED, complete, replace(ADDED, state="collected")) == [
        f"{whose} added",
        f"{whose} complete: 3 blocks, 96 B",
        f"{whose} collected",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view_counts_what_clients_have_it_keep(width: int) -> None:
    console = Console(width=width, height=24, file=io.StringIO(), color_system=None)
    console.print(screen(STATUS, {}, width=width, height=24, data="/data"))
    assert isinstance(console.file, io.StringIO)
    assert "blind peer 1,200 cores of 1 client, 5.0 MB" in console.file.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trust", "ab" * 32, "cd" * 32], "--trust has a meaning only with --blind-peer"),
        (["--ban", "192.0.2.7", "cd" * 32], "--ban has a meaning only with --blind-peer"),
        (["--blind-peer", "--ban", "example.org"], "--ban: 'example.org' is neither an address"),
        (["--blind-peer", "--trust", "ab"], "'ab' is not a key"),
        (["--blind-peer", "--until-synced"], "--until-synced needs a KEY"),
        ([], "nothing to seed"),
    ],
)
def test_wrong_options_are_refused_with_what_was_expected(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["seed", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_without_options_every_client_is_accepted_and_none_is_trusted() -> None:
    settings = resolve_blind_peer(True, (), ())
    assert settings is not None
    assert (
        not settings.trusted and not settings.bans.has_key(CLIENT) and not settings.bans.has_host("192.0.2.7")
    )
    assert resolve_blind_peer(False, (), ()) is None
