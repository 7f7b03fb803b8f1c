"""Read a drive: read_drive.py KEY lists its files, read_drive.py KEY PATH prints one of them."""

import asyncio
import os
import sys

from hypercore import Drive, decode_key, memory_store
from hypercore.aio import Corestore, Hypercore, Swarm

BOOTSTRAP = os.environ.get("DHT_BOOTSTRAP", "").split() or None  # host:port ...; unset: the public DHT


async def main(key: str, path: str | None = None) -> None:
    async with (
        Corestore(memory_store()) as cores,
        Swarm(bootstrap=BOOTSTRAP, on_connection=cores.replicate) as swarm,
    ):
        db = cores.get(decode_key(key))
        swarm.join(db.discovery_key, server=False)
        if not await db.update(60):
            sys.exit("no peer has it")

        async def open_blobs(key: bytes) -> Hypercore:
            return cores.get(key)

        drive = Drive(db, open_blobs)
        if path is None:
            async for entry in drive.list():
                print(f"{await drive.size(entry):12} {entry.path}")
        else:
            async for chunk in drive.read(path):  # as it comes
                sys.stdout.buffer.write(chunk)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
