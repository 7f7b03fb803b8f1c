"""The lab is what it says it is: what goes through its NATs, what does not, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..support.nat_world import ROOT
from ..support.net_lab import NetLab, Site
from .udp_host import UdpHost

NewSocket = Callable[..., UdpHost]

PLACES = [("11.255.0.1", 5001), ("11.255.0.1", 5002)]


@pytest.fixture
def socket_at(lab: NetLab, processes: ExitStack) -> NewSocket:
    def start(prefix: tuple[str, ...], *at: Any) -> UdpHost:
        host = UdpHost(prefix, *at)
        processes.callback(host.dispose)
        return host

    return start


@pytest.fixture
def places(lab: NetLab, socket_at: NewSocket) -> list[UdpHost]:
    """Two sockets on the internet: `PLACES`."""
    lab.addresses(1)
    return [socket_at(lab.core.prefix, *place) for place in PLACES]


def seen_from(places: list[UdpHost], inside: UdpHost) -> list[tuple[str, int]]:
    """How the two see a socket that had not talked to them."""
    found = []
    for address, place in zip(PLACES, places, strict=True):
        inside.send_to(address, str(inside.pid))
        found.append(place.hears(str(inside.pid)))
    return found


def test_an_open_host_is_reached_by_any_peer(
    lab: NetLab, socket_at: NewSocket, places: list[UdpHost]
) -> None:
    host = lab.site("open").host()
    inside = socket_at(host.prefix)
    assert seen_from(places, inside) == [(host.address, 4000)] * 2
    peer = socket_at(lab.site("open").host().prefix)
    peer.send_to((host.address, 4000), "good day")
    inside.hears("good day")


def test_a_consistent_nat_shows_one_port_and_a_random_one_shows_many(
    lab: NetLab, socket_at: NewSocket, places: list[UdpHost]
) -> None:
    sites: list[Site] = [lab.site("consistent"), lab.site("random")]
    consistent, random = (seen_from(places, socket_at(site.host().prefix)) for site in sites)
    assert consistent == [(sites[0].public, 4000)] * 2
    assert {host for host, _ in random} == {sites[1].public}
    assert len({port for _, port in random}) == 2


def test_a_nat_lets_in_only_hosts_that_were_sent_something_and_low_hops_open_it_without_arriving(
    lab: NetLab, socket_at: NewSocket
) -> None:
    home, office = lab.site("consistent"), lab.site("consistent")
    inside, caller = socket_at(home.host().prefix), socket_at(office.host().prefix)
    caller.send_to((home.public, 4000), "too early")
    inside.send_to((office.public, 4000), "opening", ttl=5)
    caller.send_to((home.public, 4000), "through")
    assert inside.hears("through") == (office.public, 4000)
    inside.send_to((office.public, 4000), "answer")
    assert caller.hears("answer") == (home.public, 4000)
    assert not inside.has_heard("too early") and not caller.has_heard("opening")


@pytest.mark.parametrize("change", [Site.restart_router, Site.move])
def test_a_router_that_restarts_or_moves_forgets_the_hosts_that_it_let_through(
    lab: NetLab,
    socket_at: NewSocket,
    places: list[UdpHost],
    change: Callable[[Site], None],
) -> None:
    home = lab.site("consistent")
    inside = socket_at(home.host().prefix)
    place, address = places[0], PLACES[0]
    inside.send_to(address, "before")
    before = place.hears("before")
    change(home)
    place.send_to(before, "to where you were")
    inside.send_to(address, "after")
    after = place.hears("after")
    assert after == (home.public, 4000)
    place.send_to(after, "to where you are")
    inside.hears("to where you are")
    assert not inside.has_heard("to where you were")


def test_nothing_stays_of_a_lab_whose_process_was_killed(networks: None) -> None:
    script = (
        "import time\n"
        "from tests.support.net_lab import NetLab\n"
        "lab = NetLab(); host = lab.site('random').host()\n"
        "print(lab.core.pid, host.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2 and all(Path(f"/proc/{pid}").exists() for pid in pids)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    end = time.monotonic() + 20
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < end, "the holders of its networks are still there"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
