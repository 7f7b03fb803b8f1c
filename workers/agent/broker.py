"""How a worker connects to the farm's Redis."""

from __future__ import annotations

import re
import socket
from typing import Any

from farmwire.tasks import KEY_PREFIX, unacked_key

SOCKET_TIMEOUT = 30.0
"""Seconds to wait for an answer of Redis. A home router may drop a connection silently."""

CONNECT_TIMEOUT = 10.0

HEALTH_CHECK = 25.0
"""Seconds of silence after which a connection is tested before use."""


def broker_url(url: str) -> str:
    """The URL as kombu spells it: a unix socket is `redis+socket://`."""
    return re.sub(r"^unix://", "redis+socket://", url)


def transport_options(worker: str) -> dict[str, Any]:
    keepalive = {}
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            keepalive[getattr(socket, name)] = value
    unacked = unacked_key(worker)
    return {
        "global_keyprefix": KEY_PREFIX,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "socket_keepalive_options": keepalive,
        "health_check_interval": HEALTH_CHECK,
        "retry_on_timeout": True,
        # Its own, so that no other worker can see what this one was sent.
        "unacked_key": f"{unacked}.h",
        "unacked_index_key": f"{unacked}.i",
        "unacked_mutex_key": f"{unacked}.m",
        # Nothing here has a priority. Else each queue is four keys, and the account needs rights on all.
        "priority_steps": [0],
    }
