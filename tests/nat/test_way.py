"""Each side knows how it reaches the other: directly, through a hole, or through a relay."""

from __future__ import annotations

import pytest

from ..support.nat_world import NatWorld
from ..support.net_lab import Kind

pytestmark = pytest.mark.interop


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("server_at", "client_at", "way"),
    [
        ("open", "consistent", "direct"),
        ("consistent", "consistent", "punched"),
        ("random", "random", "relayed"),
    ],
)
def test_both_sides_know_the_way(world: NatWorld, server_at: Kind, client_at: Kind, way: str) -> None:
    relay = None
    if way == "relayed":
        relay = world.peer("official", world.site("open").host()).ask("relay", name="relay")["key"]
    server = world.peer("ours", world.site(server_at).host())
    client = world.peer("ours", world.site(client_at).host())
    client.ask("open", name="client")
    key = server.ask("serve", name="server")["key"]
    answer = client.answer(client.send("connect", name="client", key=key, relay=relay), timeout=90)
    assert (answer.get("way"), server.ask("way")["way"]) == (way, way), answer


@pytest.mark.timeout(120)
def test_peers_of_one_network_need_no_hole(world: NatWorld) -> None:
    home = world.site("consistent")
    server, client = world.peer("ours", home.host()), world.peer("ours", home.host())
    key = server.ask("serve", name="server")["key"]
    answer = client.answer(client.send("connect", name="client", key=key), timeout=90)
    assert (answer.get("way"), server.ask("way")["way"]) == ("direct", "direct"), answer
