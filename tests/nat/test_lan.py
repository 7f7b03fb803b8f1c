"""Peers of one network find the short way, which is the only one: routers do not lead back in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ..support.json_process import CommandedProcess
from ..support.nat_world import NatWorld, Stack
from ..support.net_lab import Host

pytestmark = pytest.mark.interop

BRIDGE_NETFILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""Where the kernel has the module for it."""

PAIRS: list[tuple[Stack, Stack]] = [("ours", "official"), ("official", "ours"), ("ours", "ours")]


def test_peers_of_one_network_connect_without_leaving_it(world: NatWorld) -> None:
    """Two hosts behind a router of either kind; a host behind a router and one without, by themselves."""
    consistent, random = world.site("consistent"), world.site("random")
    lonely, open_to_all = random.host(), world.site("open").host()
    for there, here in (
        (consistent.host(), consistent.host()),
        (random.host(), random.host()),
        (lonely, lonely),
        (open_to_all, open_to_all),
    ):
        asked = attempts(world, there, here)
        answers = {name: client.answer(number) for name, (client, number) in asked.items()}
        wrong = {name: answer for name, answer in answers.items() if answer.get("host") != there.address}
        assert not wrong, f"from {here.name} to {there.name}"


@pytest.mark.parametrize("forwarding", [False, True])
def test_a_bridge_that_both_hosts_have_leads_no_peer_astray(world: NatWorld, forwarding: bool) -> None:
    """Containers give every machine the same address, where it finds itself or a wrong node. Docker has the
    kernel forward packets, too, and show those of bridges to netfilter."""
    home = world.site("random")
    hosts = [world.site("open").host() for _ in range(2)]
    for host in hosts:
        host.add_bridge("docker0", "172.17.0.1/16")
        host.set(ipv4__ip_forward=int(forwarding))
        if BRIDGE_NETFILTER.exists():
            host.run("sh", "-ec", f"echo {int(forwarding)} > {BRIDGE_NETFILTER}")
        home.take_in(host)  # its own network comes second now
    there, here = hosts
    world.peer("official", here).ask("serve", name="in the way")
    asked = attempts(world, there, here, [("official", "ours"), ("ours", "ours")])
    answers = {name: client.answer(number) for name, (client, number) in asked.items()}
    assert {name: answer.get("host") for name, answer in answers.items()} == dict.fromkeys(
        asked, there.address
    )


def attempts(
    world: NatWorld, there: Host, here: Host, pairs: Sequence[tuple[Stack, Stack]] = PAIRS
) -> dict[str, tuple[CommandedProcess, int]]:
    """Commands on the way: nodes `there` serve, nodes `here` connect."""
    stacks: tuple[Stack, ...] = ("official", "ours")
    servers = {stack: world.peer(stack, there) for stack in stacks}
    clients = servers if here is there else {stack: world.peer(stack, here) for stack in stacks}
    asked = {}
    for serving, connecting in pairs:
        name = f"{serving} serves, {connecting} connects"
        key = servers[serving].ask("serve", name=name)["key"]
        number = clients[connecting].send("connect", name=f"{name}, there", key=key)
        asked[name] = clients[connecting], number
    return asked
