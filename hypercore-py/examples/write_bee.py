"""Write a bee and serve it: write_bee.py DIRECTORY [KEY=VALUE | KEY= ...]. KEY= deletes the key."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from hypercore import BeeWriter, CoreLog, KeyPair, disk_store, encode_key
from hypercore.aio import Corestore, Swarm

BOOTSTRAP = os.environ.get("DHT_BOOTSTRAP", "").split() or None  # host:port ...; unset: the public DHT


async def main(directory: str, *changes: str) -> None:
    store = disk_store(Path(directory))
    seed = store.get_meta("seed") or os.urandom(32)  # the secret that writes; it stays in this directory
    store.set_meta("seed", seed)
    key_pair = KeyPair.from_seed(seed)
    core = store.create_core(key_pair)
    with BeeWriter(CoreLog(core, key_pair)).batch() as batch:
        for change in changes:
            key, _, value = change.partition("=")
            if value:
                batch.put(key.encode(), value.encode())
            else:
                batch.delete(key.encode())

    async with (
        Corestore(store) as cores,
        Swarm(bootstrap=BOOTSTRAP, on_connection=cores.replicate) as swarm,
    ):
        await cores.flush()
        await swarm.join(core.discovery_key).flushed()
        print(encode_key(core.key), core.length, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
