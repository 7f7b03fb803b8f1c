"""Settings of a worker. Validated, immutable."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from farmwire.software import software
from farmwire.tasks import BlindPeerOrder
from hypercore.dht.address import BootstrapNode
from hypercore.dht.constants import BOOTSTRAP_NODES

from ..engine.settings.blind_peer import BlindPeerSettings, parse_bans
from ..engine.settings.settings import (
    NO_LIMITS,
    LimitSettings,
    bootstrap_from,
    home_directory,
    limits_from,
)
from ..settings.readers import MAX_TOKEN, long_token
from ..settings.table import (
    BLIND_PEER,
    BLIND_PEER_BAN,
    BLIND_PEER_TRUST,
    HEARTBEAT,
    RELAY,
    UDP_PORT,
    WORKER_METRICS,
    WORKER_METRICS_TOKEN_FILE,
    WORKER_SAMPLE,
    SettingError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """Address at which a worker serves its metrics, and the token that they require; empty: none."""

    host: str
    port: int
    token: str = ""


def metrics_from(environ: Mapping[str, str]) -> MetricsSettings | None:
    """None: they are not served. Raises SettingError: an open address without a token, or a bad token."""
    address, path = WORKER_METRICS.value(environ), WORKER_METRICS_TOKEN_FILE.value(environ)
    if address is None:
        return None
    name = WORKER_METRICS_TOKEN_FILE.name
    token = ""
    if path:
        try:
            with Path(path).open() as file:
                token = long_token(file.read(2 * MAX_TOKEN))
        except OSError as error:
            raise SettingError(f"{name}: {path} cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # not UTF-8 either
            raise SettingError(f"{name}: the text in {path} is wrong: {error}") from None
    if not token and not is_loopback(address[0]):
        raise SettingError(f"{WORKER_METRICS.name}: {address[0]} is not loopback: {name} must name a token")
    return MetricsSettings(host=address[0], port=address[1], token=token)


def is_loopback(host: str) -> bool:
    """Return whether `host` is `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of this machine's operator. Control's (`Configure`) may lower limits."""

    data: Path
    name: str
    zone: str = ""
    tags: tuple[str, ...] = ()
    limits: LimitSettings = NO_LIMITS
    """Limits of all engines together. `max_bytes` None: the disk's size less the headroom."""
    shards: int = 1
    """Number of engines. Keys are spread over them."""
    bootstrap: tuple[BootstrapNode, ...] = BOOTSTRAP_NODES
    """DHT nodes to start from."""
    relay: bytes | None = None
    """Public key of a blind relay."""
    host: str = "0.0.0.0"
    port: int = 0
    """UDP port of the first engine, each further one is one higher; 0: any."""
    heartbeat: float = HEARTBEAT.default
    """Seconds between two heartbeats."""
    sample: float = WORKER_SAMPLE.default
    """Seconds that a sample covers."""
    software: str = ""
    engine_user: str = ""
    """Name or number of the user that engines run as; empty: ours. Only root can start them as another."""
    metrics: MetricsSettings | None = None
    """Where metrics are served. None: nowhere."""
    blind_peer: BlindPeerSettings | None = None
    """Of its first engine. None: it is no blind peer."""


def blind_peer_from(environ: Mapping[str, str], *, enabled: bool = False) -> BlindPeerSettings | None:
    """`enabled`: without a list of clients, any may ask. None: none may. Raises SettingError."""
    clients = BLIND_PEER.value(environ)
    if clients is not None and not clients:
        if not enabled:
            return None
        clients = None
    words = BLIND_PEER_BAN.value(environ)
    try:
        bans = parse_bans(words)
    except ValueError as error:
        raise SettingError(f"{BLIND_PEER_BAN.name}: {error}") from None
    return BlindPeerSettings(trusted=frozenset(BLIND_PEER_TRUST.value(environ)), bans=bans, clients=clients)


def ordered(own: BlindPeerSettings, order: BlindPeerOrder | None) -> BlindPeerSettings:
    """This machine's settings of its blind peer with what control orders: a client must be let in by both,
    and be trusted by one of them."""
    if order is None:
        return own
    clients = own.clients
    if order.clients is not None:
        named = frozenset(map(bytes.fromhex, order.clients))
        clients = named if clients is None else named & clients
    trusted = own.trusted.union(map(bytes.fromhex, order.trusted))
    return replace(
        own, trusted=trusted, clients=clients, max_cores=order.max_cores, max_bytes=order.max_bytes
    )


def settings_from(
    environ: Mapping[str, str],
    *,
    data: Path | None = None,
    name: str | None = None,
    zone: str = "",
    tags: tuple[str, ...] = (),
    quota: int | None = None,
    shards: int = 1,
    engine_user: str | None = None,
    bootstrap: tuple[str, ...] = (),
    port: int = 0,
    blind_peer: bool = False,
    **limits: str | None,
) -> WorkerSettings:
    """Settings from options of a command line, else the environment, else defaults. `limits` are those of
    `limits_from`; `quota` goes before its `max_bytes`. Raises SettingError."""
    found = limits_from(environ, **limits)
    return WorkerSettings(
        data=data or home_directory(environ) / "worker",
        name=(name or platform.node() or "worker")[:100],
        zone=zone[:100],
        tags=tuple(tag[:50] for tag in tags if tag),
        limits=replace(found, max_bytes=found.max_bytes if quota is None else quota),
        shards=shards,
        engine_user=engine_user or "",
        bootstrap=bootstrap_from(bootstrap, environ),
        relay=RELAY.value(environ),
        port=port or UDP_PORT.value(environ),
        heartbeat=HEARTBEAT.value(environ),
        sample=WORKER_SAMPLE.value(environ),
        software=software(),
        metrics=metrics_from(environ),
        blind_peer=blind_peer_from(environ, enabled=blind_peer),
    )
