"""Settings of one engine: directory, bootstrap nodes, limits. Checked, immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hypercore.dht.address import BootstrapNode
from hypercore.dht.constants import BOOTSTRAP_NODES
from hypercore.swarm.slots import MAX_CONNECTIONS

from ...settings import readers, table
from ...settings.rate_schedule import ANY_RATE, RateSchedule
from ...settings.table import MAX_BLOCKS, SettingError
from ...units import MIN_RATE
from .blind_peer import BlindPeerSettings

MIN_HEADROOM = 256 << 20
MAX_HEADROOM = 5 << 30
"""Bytes of a disk that stay free where it is large. Ours."""

HEADROOM_SHARE = 0.05
"""Share of the disk that stays free, within the bounds above."""


def headroom(disk_bytes: int) -> int:
    """Bytes of a disk that stay free."""
    return int(min(max(disk_bytes * HEADROOM_SHARE, MIN_HEADROOM), MAX_HEADROOM, disk_bytes / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Limits of an engine."""

    up: RateSchedule = ANY_RATE
    """Bytes a second sent to all peers together."""
    down: RateSchedule = ANY_RATE
    """Bytes a second requested from all peers together."""
    max_bytes: int | None = None
    """Bytes of blocks that are stored."""
    keep_free: int | None = None
    """Bytes of the disk that stay free; None: `headroom`."""
    max_blocks: int | None = MAX_BLOCKS
    """Blocks of one key, all its cores together, beyond which nothing more of it is fetched. None: any."""
    max_peers: int = MAX_CONNECTIONS
    """Connections of peers that dial us. We dial no more than that either, and never more than 64."""


NO_LIMITS = LimitSettings()
"""No limit but the headroom of the disk."""


def limits_from(
    environ: Mapping[str, str],
    *,
    up: str | None = None,
    down: str | None = None,
    max_bytes: str | None = None,
    keep_free: str | None = None,
    max_peers: str | None = None,
    max_blocks: str | None = None,
) -> LimitSettings:
    """The limits of the command line, each else of the environment. Raises SettingError."""
    return LimitSettings(
        max_blocks=table.MAX_BLOCKS_OF_KEY.value(environ, max_blocks, "--max-blocks"),
        max_peers=table.MAX_PEERS.value(environ, max_peers, "--max-peers"),
        up=table.UP.value(environ, up, "--up"),
        down=table.DOWN.value(environ, down, "--down"),
        max_bytes=table.MAX_BYTES.value(environ, max_bytes, "--max-bytes"),
        keep_free=table.KEEP_FREE.value(environ, keep_free, "--keep-free"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Settings of one engine."""

    data: Path
    """The data directory. Made (mode 0700) if it does not exist."""
    bootstrap: tuple[BootstrapNode, ...] = BOOTSTRAP_NODES
    """DHT nodes to start from."""
    host: str = "0.0.0.0"
    port: int = 0
    """UDP port; 0 lets the system choose."""
    relay: bytes | None = None
    """Public key of a blind relay, for peers that cannot be reached otherwise."""
    encryption_keys: tuple[bytes, ...] = ()
    """Keys of encrypted drives of older versions, whose blobs core only the encrypted header names. They are
    tried on unreadable cores and not stored."""
    announce: bool = True
    """Whether topics are announced. Without, we look up peers and serve on those connections."""
    limits: LimitSettings = NO_LIMITS
    blind_peer: BlindPeerSettings | None = None
    """Be a blind peer for apps; None: be none."""
    report_interval: float = 0.5
    """Least seconds between two progress (or core) events of one key."""
    leave_timeout: float = 5.0
    """Seconds for leaving the swarm: removing announcements and closing connections."""


def bootstrap_from(options: tuple[str, ...], environ: Mapping[str, str]) -> tuple[BootstrapNode, ...]:
    """The bootstrap nodes of the command line, else those of the environment, else the public ones.

    Raises SettingError.
    """
    if not options:
        return table.BOOTSTRAP.value(environ)
    try:
        return tuple(map(readers.node_address, options))
    except ValueError as error:
        raise SettingError(f"--bootstrap: {error}") from None


def quarantine_from(option: str | None, environ: Mapping[str, str]) -> bool:
    """Whether higher forks are quarantined. Raises SettingError."""
    return table.FORKS.value(environ, option, "--forks") == "quarantine"


def data_directory(option: Path | None, environ: Mapping[str, str]) -> Path:
    """The data directory: of the option, else `data` under the home. Raises SettingError."""
    return home_directory(environ) / "data" if option is None else option


def home_directory(environ: Mapping[str, str]) -> Path:
    """SEEDERFARM_HOME, else `~/.seederfarm`. Raises SettingError where `~` has no meaning, as in a container
    that runs under a number without a name."""
    return table.HOME.parse(environ.get(table.HOME.name, "").strip() or str(table.HOME.default))


def cap(settings: LimitSettings, *, up: int | None, down: int | None, max_bytes: int | None) -> LimitSettings:
    """Cap limits at these; None: no cap."""
    quotas = [quota for quota in (settings.max_bytes, max_bytes) if quota is not None]
    return replace(
        settings,
        up=_capped(settings.up, up),
        down=_capped(settings.down, down),
        max_bytes=min(quotas, default=None),
    )


def divide(settings: LimitSettings, engines: int) -> LimitSettings:
    """Divide limits among `engines` processes; `keep_free` is not divided."""
    if engines == 1:
        return settings
    return replace(
        settings,
        up=_scaled(settings.up, engines),
        down=_scaled(settings.down, engines),
        max_bytes=None if settings.max_bytes is None else settings.max_bytes // engines,
        max_peers=max(1, settings.max_peers // engines),
    )


def _capped(table: RateSchedule, maximum: int | None) -> RateSchedule:
    return (
        table if maximum is None else table.map(lambda rate: maximum if rate is None else min(rate, maximum))
    )


def _scaled(table: RateSchedule, engines: int) -> RateSchedule:
    return table.map(lambda rate: None if rate is None else max(MIN_RATE, rate // engines))
