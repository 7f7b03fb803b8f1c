"""Numbers and names of the protocol.

Source: dht-rpc lib/commands.js and lib/errors.js (6.27.0); hyperdht lib/constants.js and lib/router.js
(6.34.0).
"""

from __future__ import annotations

from enum import IntEnum

from ..crypto import namespace
from .address import BootstrapNode


class Internal(IntEnum):
    """Commands of dht-rpc itself: requests with the `internal` flag."""

    PING = 0
    PING_NAT = 1
    FIND_NODE = 2
    DOWN_HINT = 3
    DELAYED_PING = 4


class Command(IntEnum):
    """Commands of hyperdht: requests without the `internal` flag."""

    PEER_HANDSHAKE = 0
    PEER_HOLEPUNCH = 1
    FIND_PEER = 2
    LOOKUP = 3
    ANNOUNCE = 4
    UNANNOUNCE = 5
    MUTABLE_PUT = 6
    MUTABLE_GET = 7
    IMMUTABLE_PUT = 8
    IMMUTABLE_GET = 9
    PLUGIN = 10


class RpcError(IntEnum):
    """Errors that a response carries."""

    NONE = 0
    UNKNOWN_COMMAND = 1
    INVALID_TOKEN = 2
    SEQ_REUSED = 16
    SEQ_TOO_LOW = 17


class HandshakeStatus(IntEnum):
    """Errors inside a Noise or hole-punch payload."""

    NONE = 0
    ABORTED = 1
    VERSION_MISMATCH = 2
    TRY_LATER = 3


class Firewall(IntEnum):
    """The kind of NAT that a peer is behind, as far as it knows."""

    UNKNOWN = 0
    OPEN = 1
    CONSISTENT = 2
    RANDOM = 3


class Mode(IntEnum):
    """Sender and receiver of a relayed handshake or hole-punch message."""

    FROM_CLIENT = 0
    FROM_SERVER = 1
    FROM_RELAY = 2
    FROM_SECOND_RELAY = 3
    REPLY = 4


# The index of a namespace is the command's number, not its position
NS_PEER_HANDSHAKE = namespace("hyperswarm/dht", Command.PEER_HANDSHAKE)
NS_PEER_HOLEPUNCH = namespace("hyperswarm/dht", Command.PEER_HOLEPUNCH)
NS_ANNOUNCE = namespace("hyperswarm/dht", Command.ANNOUNCE)
NS_UNANNOUNCE = namespace("hyperswarm/dht", Command.UNANNOUNCE)
NS_MUTABLE_PUT = namespace("hyperswarm/dht", Command.MUTABLE_PUT)

DEFAULT_PORT = 49737
"""The port tried first (hyperdht index.js); the next five after it, then any."""

BOOTSTRAP_NODES = (
    BootstrapNode("node1.hyperdht.org", 49737, "88.99.3.86"),
    BootstrapNode("node2.hyperdht.org", 49737, "142.93.90.113"),
    BootstrapNode("node3.hyperdht.org", 49737, "138.68.147.8"),
)
"""Bootstrap nodes of the public network (hyperdht lib/constants.js)."""
