"""Write files into a drive and serve it: write_drive.py DIRECTORY [FILE ...]."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from hypercore import KeyPair, discovery_key, disk_store, encode_key, writable_drive
from hypercore.aio import Corestore, Swarm

BOOTSTRAP = os.environ.get("DHT_BOOTSTRAP", "").split() or None  # host:port ...; unset: the public DHT


async def main(directory: str, *files: str) -> None:
    store = disk_store(Path(directory))
    seed = store.get_meta("seed") or os.urandom(32)  # the secret that writes; it stays in this directory
    store.set_meta("seed", seed)
    drive = writable_drive(store, KeyPair.from_seed(seed))
    with drive.writer.batch() as batch:  # readers see all of it, or nothing
        for file in map(Path, files):
            batch.put(f"/{file.name}", file.read_bytes(), metadata={"from": "Python"})

    async with (
        Corestore(store) as cores,
        Swarm(bootstrap=BOOTSTRAP, on_connection=cores.replicate) as swarm,
    ):
        await cores.flush()
        await swarm.join(discovery_key(drive.key)).flushed()
        print(encode_key(drive.key), drive.reader.version, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
