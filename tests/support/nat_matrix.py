"""Who reaches whom: serving from every kind of network, connecting from every kind, official and ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .json_process import CommandedProcess
from .nat_world import NatWorld, Stack
from .net_lab import KINDS, Host, Kind

SECONDS = 60.0
"""What a connection may take. Birthday probing ends after 35 s."""


class Cell(NamedTuple):
    """One connection to be tried: `serves` to `connects`, each behind a kind of NAT."""

    serving: Stack
    connecting: Stack
    server_at: Kind
    client_at: Kind

    @property
    def name(self) -> str:
        return f"{self.serving} {self.server_at} <- {self.connecting} {self.client_at}"


PAIRS: Sequence[tuple[Stack, Stack]] = (
    ("official", "official"),
    ("ours", "official"),
    ("official", "ours"),
    ("ours", "ours"),
)


def cells(pairs: Iterable[tuple[Stack, Stack]] = PAIRS) -> list[Cell]:
    """All of them."""
    return [Cell(*pair, server, client) for pair in pairs for server in KINDS for client in KINDS]


class Matrix:
    """Two hosts in a network of every kind: one to serve from, one to connect from.

    A process of each stack on each of them; a node for each cell, so that none is in another's way.
    """

    def __init__(self, world: NatWorld) -> None:
        self._world = world
        self._hosts: dict[tuple[str, Kind], Host] = {}
        self._peers: dict[tuple[str, Stack, Kind], CommandedProcess] = {}
        self._runs = 0

    def run(
        self,
        wanted: Sequence[Cell],
        *,
        seconds: float = SECONDS,
        relay_of_client: str | None = None,
        relay_of_server: str | None = None,
    ) -> dict[Cell, dict[str, Any]]:
        """What every connection came to (see natpeer.js `connect`), all tried at once.

        The relays are public keys of blind relays that a side wants to be met at.
        """
        self._runs += 1
        names = {cell: f"{cell.name}, run {self._runs}" for cell in wanted}
        servers = {cell: self._peer("server", cell.serving, cell.server_at) for cell in wanted}
        clients = {cell: self._peer("client", cell.connecting, cell.client_at) for cell in wanted}
        opening = [(clients[cell], clients[cell].send("open", name=names[cell])) for cell in wanted]
        serving = {
            cell: servers[cell].send("serve", name=names[cell], relay=relay_of_server) for cell in wanted
        }
        keys = {cell: servers[cell].answer(serving[cell])["key"] for cell in wanted}
        for client, number in opening:
            client.answer(number)
        asked = {
            cell: clients[cell].send(
                "connect", name=names[cell], key=keys[cell], relay=relay_of_client, seconds=seconds
            )
            for cell in wanted
        }
        return {cell: clients[cell].answer(asked[cell], timeout=seconds + 30) for cell in wanted}

    def _peer(self, side: str, stack: Stack, kind: Kind) -> CommandedProcess:
        if (side, kind) not in self._hosts:
            self._hosts[side, kind] = self._world.site(kind).host()
        key = (side, stack, kind)
        if key not in self._peers:
            self._peers[key] = self._world.peer(stack, self._hosts[side, kind])
        return self._peers[key]
