"""Keep a core available: seed_core.py KEY DIRECTORY. Ctrl-C ends it; the next start continues."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from hypercore import decode_key, disk_store
from hypercore.aio import Corestore, Swarm

BOOTSTRAP = os.environ.get("DHT_BOOTSTRAP", "").split() or None  # host:port ...; unset: the public DHT


async def main(key: str, directory: str) -> None:
    async with (
        Corestore(disk_store(Path(directory))) as cores,
        Swarm(bootstrap=BOOTSTRAP, on_connection=cores.replicate) as swarm,
    ):
        core = cores.get(decode_key(key))
        core.download()  # every block, and every one that will be appended
        swarm.join(core.discovery_key)
        while True:
            await core.synced()
            print(f"all {core.length} blocks ({core.byte_length} bytes) are on disk", flush=True)
            await core.wait_until(lambda: not core.core.durable_complete)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
