"""Peers in a lab of networks: an official DHT on the internet, official and our nodes on hosts."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal

from .json_process import CommandedProcess
from .net_lab import Host, Kind, NetLab, Site
from .node import START_TIMEOUT, NodePeer
from .paths import ROOT

Stack = Literal["official", "ours"]

DHT_NODES = 12
"""Addresses of the internet with an official node that stores and relays."""


class OurNatPeer(CommandedProcess):
    """Nodes of ours on one host."""

    def __init__(self, host: Host, bootstrap: Sequence[str]) -> None:
        super().__init__(
            f"ours on {host.name}",
            [*host.prefix, sys.executable, "-m", "tests.support.nat_peer", *bootstrap],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_timeout=START_TIMEOUT,
        )


class OfficialNatPeer(NodePeer):
    """Official nodes on one host."""

    def __init__(
        self, prefix: Sequence[str], name: str, bootstrap: Sequence[str] = (), *, open: bool = False
    ) -> None:
        """`open`: unsolicited packets reach the host."""
        arguments = [part for address in bootstrap for part in ("--bootstrap", address)]
        if open:
            arguments += ["--open", "yes"]
        super().__init__("natpeer", *arguments, name=name, prefix=prefix)


class NatWorld:
    """`with NatWorld() as world:` a lab with a DHT in it. Everything ends with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.bootstrap: list[str] = []

    def __enter__(self) -> NatWorld:
        with self._stack as stack:
            self.lab = stack.enter_context(NetLab())
            official = OfficialNatPeer(self.lab.core.prefix, "the DHT")
            stack.callback(official.dispose)
            hosts = self.lab.addresses(DHT_NODES)
            self.bootstrap = official.ask("found", hosts=hosts)["bootstrap"]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def site(self, kind: Kind) -> Site:
        return self.lab.site(kind)

    def peer(self, stack: Stack, host: Host) -> CommandedProcess:
        """A process for nodes on a host."""
        peer: CommandedProcess
        if stack == "ours":
            peer = OurNatPeer(host, self.bootstrap)
        else:
            peer = OfficialNatPeer(
                host.prefix, f"official on {host.name}", self.bootstrap, open=not host.behind_router
            )
        self._stack.callback(peer.dispose)
        return peer


def reached(answer: dict[str, Any]) -> bool:
    """Whether a `connect` led to a connection."""
    return "failed" not in answer
