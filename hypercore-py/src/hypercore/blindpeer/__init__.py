"""The protocol between apps and blind peers, which keep cores for them, as state machines without I/O.

Source: blind-peer-muxer 1.2.0 to 1.6.0, blind-peer-encodings 3.3.0, protomux-rpc 1.10.0, protomux-wakeup
2.9.0. Three kinds of channel share a connection with replication:

    channel   `blind-peer`: a client names the cores that it wants kept
    rpc       `protomux-rpc`: the same for clients before 2.0, and what operators ask
    wakeup    `wakeup`: which cores of a group have news
"""

from .channel import PROTOCOL, BlindPeerChannel, ChannelOwner
from .messages import AddedCore, CoreRef, Cores, ErrorCode, Hello, Notification
from .rpc import RpcChannel, RpcFailure, RpcReply
from .rpc_values import AddCoreRequest, CoreRecord, TopK
from .select import choose_mirrors
from .wakeup import WakeupChannel

__all__ = [
    "PROTOCOL",
    "AddCoreRequest",
    "AddedCore",
    "BlindPeerChannel",
    "ChannelOwner",
    "CoreRecord",
    "CoreRef",
    "Cores",
    "ErrorCode",
    "Hello",
    "Notification",
    "RpcChannel",
    "RpcFailure",
    "RpcReply",
    "TopK",
    "WakeupChannel",
    "choose_mirrors",
]
