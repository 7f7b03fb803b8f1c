"""A server of ours stays reachable: NATs that forget, routers that restart, networks that change."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ..support.json_process import CommandedProcess
from ..support.nat_world import NatWorld, reached
from ..support.net_lab import Kind, Site

pytestmark = pytest.mark.interop

TIMEOUT = 60.0
"""Seconds within which a server must be reachable again."""


def connected(client: CommandedProcess, key: str) -> dict[str, Any]:
    """Tries until it works, each time from a node that knows nothing."""
    end = time.monotonic() + TIMEOUT
    for attempt in range(1000):
        answer = client.ask("connect", name=f"attempt {attempt}", key=key, seconds=10, timeout=40)
        if reached(answer) or time.monotonic() > end:
            return answer
    raise AssertionError("never reached")


def test_the_way_in_stays_open_behind_a_router_that_forgets_in_seconds(world: NatWorld) -> None:
    """As a real one forgets in half a minute: pings every three seconds keep it open."""
    home = world.site("consistent")
    home.expire_after(5)
    server = world.peer("ours", home.host())
    client = world.peer("official", world.site("consistent").host())
    key = server.ask("serve", name="server")["key"]
    client.ask("open", name="client")
    time.sleep(12)  # the kernel's clock: two generations of forgotten ways
    answer = client.ask("connect", name="client", key=key)
    assert reached(answer), answer
    assert answer["host"] == home.public


@pytest.mark.parametrize("change", [Site.restart_router, Site.move])
def test_a_server_is_reached_again_after_its_router(change: Callable[[Site], None], world: NatWorld) -> None:
    home = world.site("consistent")
    server = world.peer("ours", home.host())
    client = world.peer("official", world.site("consistent").host())
    key = server.ask("serve", name="server")["key"]
    assert reached(client.ask("connect", name="before", key=key))
    change(home)
    answer = connected(client, key)
    assert reached(answer), answer
    assert answer["host"] == home.public


@pytest.mark.parametrize(("kind", "client_at"), [("consistent", "consistent"), ("random", "open")])
def test_a_server_that_is_carried_to_another_network_is_found_there(
    world: NatWorld, kind: Kind, client_at: Kind
) -> None:
    """From a host that every peer reaches to one behind a router, without a word from any peer."""
    laptop = world.site("open").host()
    server = world.peer("ours", laptop)
    client = world.peer("official", world.site(client_at).host())
    key = server.ask("serve", name="server")["key"]
    assert client.ask("connect", name="before", key=key)["host"] == laptop.address
    cafe = world.site(kind)
    cafe.take_in(laptop)
    answer = connected(client, key)
    assert reached(answer), answer
    assert answer["host"] == cafe.public
    end = time.monotonic() + TIMEOUT
    while not server.ask("open", name="server")["firewalled"]:
        assert time.monotonic() < end, "it takes itself for open"
        time.sleep(0.2)
