"""Read a bee: read_bee.py KEY [PREFIX] prints its entries, in the order of their keys."""

import asyncio
import os
import sys

from hypercore import Bee, decode_key, memory_store
from hypercore.aio import Corestore, Swarm

BOOTSTRAP = os.environ.get("DHT_BOOTSTRAP", "").split() or None  # host:port ...; unset: the public DHT


async def main(key: str, prefix: str = "") -> None:
    async with (
        Corestore(memory_store()) as cores,
        Swarm(bootstrap=BOOTSTRAP, on_connection=cores.replicate) as swarm,
    ):
        core = cores.get(decode_key(key))
        swarm.join(core.discovery_key, server=False)
        if not await core.update(60):
            sys.exit("no peer has it")

        low = prefix.encode()
        async for entry in Bee(core).iterate(gte=low, lt=low + b"\xff"):
            print(entry.key.decode(), (entry.value or b"").decode())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
