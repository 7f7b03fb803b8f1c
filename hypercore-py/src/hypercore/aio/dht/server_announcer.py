"""Keeps a server announced at three nodes, and pings them so that they can reach us.

Source: hyperdht lib/announcer.js (6.34.0).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from ...crypto import KeyPair
from ...dht import queries
from ...dht.address import Address
from ...dht.constants import Command, RpcError
from ...dht.messages import RelayInfo
from ...dht.relays import (
    PING_ROUNDS,
    PING_SECONDS,
    RELAYS,
    AnnouncedRelays,
    best_replies,
    changed_addresses,
    relays_alive,
)
from ...dht.rpc import OutgoingRequest, Reply
from ...dht.signing import sign_announce, sign_unannounce
from .context import NodeContext

POOR_PING_ROUNDS = 3
"""Ping rounds after which an announcement that fewer than `RELAYS` nodes stored is renewed."""


class ServerAnnouncer:
    """Announces `target`, the hash of `key_pair`'s public key, and writes into `relays` the nodes that relay
    to it."""

    def __init__(
        self, context: NodeContext, key_pair: KeyPair, target: bytes, relays: AnnouncedRelays
    ) -> None:
        self._context = context
        self._client = context.client
        self._key_pair = key_pair
        self._target = target
        self._relays = relays
        self._closest: tuple[Address, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._done = asyncio.Event()

    async def start(self) -> None:
        """Announce once, then renew the announcement in the background."""
        await self._announce()
        self._task = self._context.spawn(self._keep_up())

    def renew(self) -> None:
        """Announce again soon."""
        self._wake.set()
        self._done.clear()

    async def renewed(self) -> None:
        """Announce again and wait for the result."""
        self.renew()
        await self._done.wait()

    async def stop(self, *, timeout: float) -> None:
        """Remove the announcement, in at most `timeout` seconds."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(TimeoutError):
            await asyncio.wait_for(self._unannounce(self._relays.addresses), timeout)

    async def _keep_up(self) -> None:
        while True:
            rounds = PING_ROUNDS if len(self._relays.current) >= RELAYS else POOR_PING_ROUNDS
            for _ in range(rounds):
                relays = self._relays.current
                answers = await asyncio.gather(*(self._client.ping(relay.relay_address) for relay in relays))
                if not relays_alive(relays, answers):
                    if moved := changed_addresses(relays, answers):
                        self._context.on_network_changed(moved)
                    break
                if await self._sleep(PING_SECONDS):
                    break
            self._wake.clear()
            await self._announce()
            if not self._wake.is_set():  # else `renew` was called during this announcement
                self._done.set()

    async def _sleep(self, seconds: float) -> bool:
        """Returns whether `renew` ended it early."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _announce(self) -> None:
        query = await self._client.run_query(
            lambda done: queries.find_peer(
                self._context.core, self._target, seeds=self._closest, on_done=done
            )
        )
        replies = best_replies(query.closest)
        if not replies and self._relays.current:
            return  # no node answers: the network is down, and the known nodes may answer again soon
        taken = await asyncio.gather(*(self._announce_to(reply) for reply in replies))
        self._closest = tuple(reply.source for reply in query.closest)
        dropped = self._relays.replace(
            RelayInfo(reply.source, reply.to) for reply, ok in zip(replies, taken, strict=True) if ok
        )
        await self._unannounce(dropped)

    async def _announce_to(self, reply: Reply) -> bool:
        assert reply.id is not None and reply.token is not None
        value = sign_announce(self._key_pair, target=self._target, node_id=reply.id, token=reply.token)
        answer = await self._client.request(
            OutgoingRequest(
                reply.source, Command.ANNOUNCE, target=self._target, value=value, token=reply.token
            )
        )
        return answer is not None and answer.error == RpcError.NONE

    async def _unannounce(self, nodes: Iterable[Address]) -> None:
        await asyncio.gather(*(self._unannounce_from(node) for node in nodes))

    async def _unannounce_from(self, node: Address) -> None:
        # Ignores the congestion window: a node that leaves cannot wait behind a thousand topics
        reply = await self._client.request(
            OutgoingRequest(node, Command.FIND_PEER, target=self._target, force=True)
        )
        if reply is None or reply.id is None or reply.token is None or not reply.value:
            return
        value = sign_unannounce(self._key_pair, target=self._target, node_id=reply.id, token=reply.token)
        outgoing = OutgoingRequest(
            node, Command.UNANNOUNCE, target=self._target, value=value, token=reply.token, force=True
        )
        await self._client.request(outgoing)
