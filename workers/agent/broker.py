"""The connection of a worker to the farm's Redis."""

from __future__ import annotations

import re
import socket
import ssl
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from farmwire.rejection import MessageRejected, RejectReason
from farmwire.tasks import KEY_PREFIX, unacked_key

SOCKET_TIMEOUT = 30.0
"""Seconds to wait for an answer of Redis. A home router may drop a connection silently."""

CONNECT_TIMEOUT = 10.0

HEALTH_CHECK = 25.0
"""Seconds of silence after which a connection is tested before use."""


AUTHORITY_FILE = "broker-ca.crt"
"""In the data directory: certificate of the authority that signed the broker's, from the token."""


def broker_url(url: str) -> str:
    """The URL as kombu spells it: a unix socket is `redis+socket://`."""
    return re.sub(r"^unix://", "redis+socket://", url)


def trusting_url(url: str, data: Path) -> str:
    """`broker_url`, which with TLS names the authority that came with the token."""
    authority = data / AUTHORITY_FILE
    if urlsplit(url).scheme == "rediss" and authority.exists():
        return f"{url}{'&' if '?' in url else '?'}ssl_ca_certs={quote(str(authority.resolve()))}"
    return broker_url(url)


def store_authority(certificate: str, data: Path) -> None:
    """Store a token's certificate (DER in base64), or remove that of an earlier token. Raises MessageRejected
    for one that is none."""
    path = data / AUTHORITY_FILE
    if not certificate:
        path.unlink(missing_ok=True)
        return
    try:
        pem = ssl.DER_cert_to_PEM_cert(b64decode(certificate, validate=True))
        ssl.create_default_context(cadata=pem)
    except (ValueError, ssl.SSLError):
        raise MessageRejected(
            RejectReason.MALFORMED, "the join token is damaged (its certificate): copy it again"
        ) from None
    new = path.with_suffix(".new")
    new.write_text(pem)
    new.replace(path)


def transport_options(worker: str) -> dict[str, Any]:
    """Return Celery's `broker_transport_options` for the worker with this id."""
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
