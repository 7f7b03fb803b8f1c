"""A DHT on this machine, to try the other examples without the public one. Ctrl-C ends it."""

import asyncio
from contextlib import suppress

from hypercore.testing.testnet import Testnet


async def main() -> None:
    async with Testnet() as net:
        print(f"export DHT_BOOTSTRAP={' '.join(net.bootstrap)}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
