"""Checks of the network: the DHT, and how peers reach this machine."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence

from hypercore.aio.dht.node import DhtNode
from hypercore.dht.address import BootstrapNode
from hypercore.dht.constants import Firewall

from .finding import Finding

DHT_TIMEOUT = 15.0
"""Seconds for nodes of the DHT to answer, and to measure the NAT."""

REACHED: dict[Firewall, tuple[str, str]] = {
    Firewall.OPEN: ("every peer reaches this machine", ""),
    Firewall.CONSISTENT: ("behind a NAT that keeps ports: peers reach this machine by punching holes", ""),
    Firewall.RANDOM: (
        "behind a NAT that changes ports: some peers reach this machine through relays alone",
        "Forward a UDP port of the router to this machine, and set SEEDERFARM_UDP_PORT to it",
    ),
    Firewall.UNKNOWN: ("not known yet how peers reach this machine", ""),
}


def check_dht(bootstrap: Sequence[BootstrapNode]) -> list[Finding]:
    """Join the DHT as a node of its own for a moment."""
    return asyncio.run(_check_dht(bootstrap))


async def _check_dht(bootstrap: Sequence[BootstrapNode]) -> list[Finding]:
    found: list[Finding] = []
    async with DhtNode(bootstrap=bootstrap) as node:
        answered = await node.bootstrapped(timeout=DHT_TIMEOUT)
        for name, reason in node.unresolved.items():
            hint = "Does this machine resolve names? resolvectl query NAME; see also SEEDERFARM_BOOTSTRAP"
            found.append(Finding("DHT", "warning", f"{name} does not resolve: {reason}", hint))
        if not answered:
            hint = "UDP must leave this machine and its network: see the firewall, and SEEDERFARM_BOOTSTRAP"
            return [*found, Finding("DHT", "problem", f"no node answers within {DHT_TIMEOUT:.0f} s", hint)]
        found.append(Finding("DHT", "ok", f"nodes answer, and see us as {node.host}:{node.port}"))
        text, hint = REACHED[node.profile().firewall]
        return [*found, Finding("NAT", "warning" if hint else "ok", text, hint)]


def check_udp_port(port: int, *, used_by_us: bool) -> Finding:
    """Whether the port of the settings is free, or ours. 0: any."""
    if not port:
        return Finding("UDP port", "ok", "any: set SEEDERFARM_UDP_PORT to forward one in a router")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("0.0.0.0", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and used_by_us:
            return Finding("UDP port", "ok", f"{port}, in use by the worker")
        text = f"{port} cannot be used: {error.strerror or error}"
        return Finding(
            "UDP port", "problem", text, f"ss -lunp 'sport = :{port}' names the program that has it"
        )
    return Finding("UDP port", "ok", f"{port} is free")
