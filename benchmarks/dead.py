"""Meeting the one live peer among dead ones that are still announced, ours beside an official peer.

Each round announces some peers under a topic and kills them, then a live one. A new peer of either kind looks
under the topic, in turn, until it is connected to the live one. All of it is on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence
from time import monotonic

from hypercore.aio.net.secret_connection import SecretConnection
from hypercore.aio.swarm.swarm import Swarm
from tests.support import node
from tests.support.node import NodePeer, Testnet

DHT_NODES = 12
MEETING_SECONDS = 60.0


def peers(bootstrap: Sequence[str]) -> NodePeer:
    return NodePeer("swarmer", *(part for address in bootstrap for part in ("--bootstrap", address)))


async def meet(bootstrap: Sequence[str], topic: bytes, key: bytes) -> float:
    """Seconds until a new peer of ours is connected to `key`."""
    met = asyncio.Event()

    def on_connection(connection: SecretConnection) -> None:
        if connection.remote_public_key == key:
            met.set()

    async with Swarm(bootstrap=bootstrap, host="127.0.0.1", on_connection=on_connection) as swarm:
        await swarm.node.bootstrapped(timeout=10)
        start = monotonic()
        swarm.join(topic, server=False)
        async with asyncio.timeout(MEETING_SECONDS):
            await met.wait()
        return monotonic() - start


def one_round(bootstrap: Sequence[str], dead: int, *, official_first: bool) -> dict[str, float]:
    topic = os.urandom(32)
    gone = peers(bootstrap)
    gone.ask("announce", topic=topic.hex(), count=dead)
    gone.kill()
    live, client = peers(bootstrap), peers(bootstrap)
    try:
        [key] = live.ask("announce", topic=topic.hex(), count=1)["keys"]
        took: dict[str, float] = {}
        for peer in ("official", "ours") if official_first else ("ours", "official"):
            if peer == "official":
                took[peer] = client.ask("meet", topic=topic.hex(), key=key)["ms"] / 1000
            else:
                took[peer] = asyncio.run(meet(bootstrap, topic, bytes.fromhex(key)))
        return took
    finally:
        live.dispose()
        client.dispose()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="farm bench dead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="topics, each met by both (10)")
    parser.add_argument("--dead", type=int, default=8, help="peers that are announced and gone (8)")
    parser.add_argument("--json", action="store_true", help="every round, as JSON")
    options = parser.parse_args(arguments)
    reason = node.missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    testnet = Testnet(DHT_NODES)
    try:
        rounds = []
        for number in range(options.rounds):
            rounds.append(one_round(testnet.bootstrap, options.dead, official_first=number % 2 == 0))
            print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
    finally:
        testnet.dispose()
    if options.json:
        print(json.dumps(rounds, indent=1))
        return 0
    for peer in ("official", "ours"):
        times = [took[peer] for took in rounds]
        print(f"{peer:<9} median {statistics.median(times):5.1f} s ({min(times):.1f}–{max(times):.1f})")
    return 0
