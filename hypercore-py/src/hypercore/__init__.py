"""The Hypercore protocol: cores, bees and drives, their verification, and their exchange between peers.

These names need no event loop: stores and cores, readers and writers of content, proofs, and the state
machines of replication. `hypercore.aio` is the network for asyncio: most programs begin with its `Corestore`
and `Swarm`. `hypercore.errors` has the errors of the library, `hypercore.testing` peers and networks for
tests. The packages below (`hypercore.udx`, `hypercore.dht`, …) are public as well; docs/architecture.md
describes them.

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import lazy_names

if TYPE_CHECKING:
    from ._version import __version__
    from .bee import Bee, BeeEntry, BeeWriter, kind_of
    from .blocks import BlockSource, CoreLog, CoreSource, DecryptingSource, EncryptingLog
    from .connection import Connection
    from .core import Core, Store, disk_store, memory_store, read_only_store
    from .crypto import KeyPair, discovery_key
    from .drive import Drive, DriveWriter, Entry, WritableDrive, writable_drive
    from .encryption import BlockCipher
    from .errors import HypercoreError
    from .keys import decode_key, encode_key
    from .manifest import Manifest
    from .merkle import TreeHead, Verified, verify_standalone
    from .mux import Muxer
    from .replication import ReplicationConfig, Replicator
    from .wire.data import Data
    from .wire.request import Request, RequestBlock, RequestUpgrade
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "._version": ("__version__",),
            ".bee": ("Bee", "BeeEntry", "BeeWriter", "kind_of"),
            ".blocks": ("BlockSource", "CoreLog", "CoreSource", "DecryptingSource", "EncryptingLog"),
            ".connection": ("Connection",),
            ".core": ("Core", "Store", "disk_store", "memory_store", "read_only_store"),
            ".crypto": ("KeyPair", "discovery_key"),
            ".drive": ("Drive", "DriveWriter", "Entry", "WritableDrive", "writable_drive"),
            ".encryption": ("BlockCipher",),
            ".errors": ("HypercoreError",),
            ".keys": ("decode_key", "encode_key"),
            ".manifest": ("Manifest",),
            ".merkle": ("TreeHead", "Verified", "verify_standalone"),
            ".mux": ("Muxer",),
            ".replication": ("ReplicationConfig", "Replicator"),
            ".wire.data": ("Data",),
            ".wire.request": ("Request", "RequestBlock", "RequestUpgrade"),
        },
    )

__all__ = [
    "Bee",
    "BeeEntry",
    "BeeWriter",
    "BlockCipher",
    "BlockSource",
    "Connection",
    "Core",
    "CoreLog",
    "CoreSource",
    "Data",
    "DecryptingSource",
    "Drive",
    "DriveWriter",
    "EncryptingLog",
    "Entry",
    "HypercoreError",
    "KeyPair",
    "Manifest",
    "Muxer",
    "ReplicationConfig",
    "Replicator",
    "Request",
    "RequestBlock",
    "RequestUpgrade",
    "Store",
    "TreeHead",
    "Verified",
    "WritableDrive",
    "__version__",
    "decode_key",
    "discovery_key",
    "disk_store",
    "encode_key",
    "kind_of",
    "memory_store",
    "read_only_store",
    "verify_standalone",
    "writable_drive",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
