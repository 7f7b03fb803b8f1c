"""The values that DHT requests and responses carry, one module per family.

Format of all of them: holepunchto/hyperdht lib/messages.js (6.34.0). Trailing bytes that a newer peer
appends are ignored. `decode(cls, value)` raises FrameDecodeError and nothing else.
"""

from .handshake import Handshake, HolepunchInfo, NoisePayload, RelayInfo, RelayThrough, UdxInfo
from .holepunch import Holepunch, HolepunchPayload, SecurePayload
from .pairing import Pair, Unpair
from .records import Announce, LookupReply, MutablePut, MutableRecord, PeerRecord, PluginRequest

__all__ = [
    "Announce",
    "Handshake",
    "Holepunch",
    "HolepunchInfo",
    "HolepunchPayload",
    "LookupReply",
    "MutablePut",
    "MutableRecord",
    "NoisePayload",
    "Pair",
    "PeerRecord",
    "PluginRequest",
    "RelayInfo",
    "RelayThrough",
    "SecurePayload",
    "UdxInfo",
    "Unpair",
]
