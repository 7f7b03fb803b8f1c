"""What the engine is told: where it keeps things, whom it asks first, how it behaves. Checked, immutable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hypercore.codec import MAX_SAFE_INTEGER
from hypercore.dht.address import AddressFormatError, parse_bootstrap
from hypercore.errors import KeyFormatError
from hypercore.keys import decode_key
from hypercore.swarm.slots import MAX_CONNECTIONS

from .rate_schedule import ANY_RATE, NO_LIMIT, RateSchedule, parse_size, parse_timetable
from .rate_schedule import SettingError as SettingError

BOOTSTRAP_VARIABLE = "SEEDERFARM_BOOTSTRAP"
"""Comma-separated HOST:PORT list that replaces the public bootstrap nodes of the DHT."""

RELAY_VARIABLE = "SEEDERFARM_RELAY"
"""Public key of a blind relay, where peers are met that no hole in our NAT leads to."""

HOME_VARIABLE = "SEEDERFARM_HOME"
"""Where everything of this installation lives; `data` under it is the default data directory."""


class NodeAddress(NamedTuple):
    """A bootstrap node of the DHT."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


UP_VARIABLE = "SEEDERFARM_UP"
DOWN_VARIABLE = "SEEDERFARM_DOWN"
MAX_BYTES_VARIABLE = "SEEDERFARM_MAX_BYTES"
KEEP_FREE_VARIABLE = "SEEDERFARM_KEEP_FREE"
MAX_PEERS_VARIABLE = "SEEDERFARM_MAX_PEERS"

MOST_PEERS = 60_000
"""An endpoint has streams for no more."""

MAX_BLOCKS_VARIABLE = "SEEDERFARM_MAX_BLOCKS"

MAX_BLOCKS = 1 << 25
"""Blocks of one key, unless set otherwise: 2 TiB in blocks of 64 KiB. A writer can sign 2^52 equal blocks
without storing any; here each takes BLOCK_OVERHEAD."""

FORKS_VARIABLE = "SEEDERFARM_FORKS"

FORK_POLICIES = ("follow", "quarantine")
"""What to do when a writer rewrites its history; the first one unless told."""

MIN_HEADROOM = 256 << 20
MAX_HEADROOM = 5 << 30
HEADROOM_SHARE = 0.05
"""Of the disk is kept free for others, within the bounds above."""


def headroom(disk_bytes: int) -> int:
    """Bytes of a disk that stay free."""
    return int(min(max(disk_bytes * HEADROOM_SHARE, MIN_HEADROOM), MAX_HEADROOM, disk_bytes / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What an engine may use."""

    up: RateSchedule = ANY_RATE
    """Bytes a second that all peers together are sent."""
    down: RateSchedule = ANY_RATE
    """Bytes a second that are asked of them."""
    max_bytes: int | None = None
    """Bytes of blocks that are stored."""
    keep_free: int | None = None
    """Bytes of the disk that stay free; None: `headroom`."""
    max_blocks: int | None = MAX_BLOCKS
    """Blocks of one key, all its cores together, beyond which nothing more of it is fetched. None: any."""
    max_peers: int = MAX_CONNECTIONS
    """Connections of peers that dial us. We dial no more than that either, and never more than 64."""


NO_LIMITS = LimitSettings()
"""No more than the headroom of the disk."""


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

    def told(option: str | None, flag: str, variable: str) -> tuple[str, str] | None:
        if option is not None:
            return option, flag
        text = environ.get(variable, "")
        return (text, variable) if text.strip() else None

    def timetable(found: tuple[str, str] | None) -> RateSchedule:
        return ANY_RATE if found is None else parse_timetable(found[0], source=found[1])

    def size(found: tuple[str, str] | None) -> int | None:
        return None if found is None else parse_size(found[0], source=found[1])

    def count(found: tuple[str, str] | None) -> int:
        if found is None:
            return MAX_CONNECTIONS
        text = found[0].strip()
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_PEERS:
            raise SettingError(f"{found[1]}: {text!r} is not a number from 1 to {MOST_PEERS}")
        return int(text)

    def blocks(found: tuple[str, str] | None) -> int | None:
        if found is None:
            return MAX_BLOCKS
        text = found[0].strip().replace("_", "").replace(",", "").lower()
        if text in NO_LIMIT:
            return None
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:20]) <= MAX_SAFE_INTEGER:
            raise SettingError(
                f"{found[1]}: {found[0]!r} is neither a number of blocks (1 or more) nor `none`"
            )
        return int(text)

    return LimitSettings(
        max_blocks=blocks(told(max_blocks, "--max-blocks", MAX_BLOCKS_VARIABLE)),
        max_peers=count(told(max_peers, "--max-peers", MAX_PEERS_VARIABLE)),
        up=timetable(told(up, "--up", UP_VARIABLE)),
        down=timetable(told(down, "--down", DOWN_VARIABLE)),
        max_bytes=size(told(max_bytes, "--max-bytes", MAX_BYTES_VARIABLE)),
        keep_free=size(told(keep_free, "--keep-free", KEEP_FREE_VARIABLE)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How one engine runs."""

    data: Path
    """The data directory. Created (for its owner alone) when it is not there."""
    bootstrap: tuple[NodeAddress, ...] | None = None
    """DHT nodes to start from; None stands for the public ones."""
    host: str = "0.0.0.0"
    port: int = 0
    """UDP port; 0 lets the system choose."""
    relay: bytes | None = None
    """Public key of a blind relay to meet peers at that cannot be reached otherwise."""
    encryption_keys: tuple[bytes, ...] = ()
    """Keys that may read encrypted drives of older versions, whose blobs core only the encrypted part names.
    They are tried on what cannot be read, and kept nowhere."""
    announce: bool = True
    """Whether others may find us by topic. Off, we find them and serve on those connections."""
    limits: LimitSettings = NO_LIMITS
    report_interval: float = 0.5
    """Seconds between two progress (or core) events of one key, at least."""
    leave_timeout: float = 5.0
    """Seconds for leaving the swarm: taking announces back and closing connections."""


def parse_address(text: str, *, source: str) -> NodeAddress:
    """HOST:PORT. Raises SettingError that names `source`."""
    try:
        port = parse_bootstrap(text).port
    except AddressFormatError:
        raise SettingError(f"{source}: {text!r} is not HOST:PORT (such as 127.0.0.1:49737)") from None
    return NodeAddress(text.strip().rpartition(":")[0], port)


def bootstrap_from(options: tuple[str, ...], environ: Mapping[str, str]) -> tuple[NodeAddress, ...] | None:
    """The bootstrap nodes of the command line, else those of the environment, else None (the public ones)."""
    if options:
        return tuple(parse_address(text, source="--bootstrap") for text in options)
    listed = environ.get(BOOTSTRAP_VARIABLE, "")
    found = tuple(
        parse_address(text, source=BOOTSTRAP_VARIABLE) for text in listed.split(",") if text.strip()
    )
    if listed.strip() and not found:
        raise SettingError(f"{BOOTSTRAP_VARIABLE}: {listed!r} names no node: expected HOST:PORT,HOST:PORT")
    return found or None


def relay_from(environ: Mapping[str, str]) -> bytes | None:
    """The blind relay that the environment names. Raises SettingError."""
    text = environ.get(RELAY_VARIABLE, "").strip()
    try:
        return decode_key(text) if text else None
    except KeyFormatError as error:
        raise SettingError(f"{RELAY_VARIABLE}: {error}") from None


NO_HOME = (
    f"no home directory is known (HOME is not set, and user {os.getuid()} has no account): "
    f"set {HOME_VARIABLE} to a directory"
)
"""What is said where there is no home directory."""


def quarantine_from(option: str | None, environ: Mapping[str, str]) -> bool:
    """Whether higher forks are quarantined. Raises SettingError."""
    source = FORKS_VARIABLE if option is None else "--forks"
    text = environ.get(FORKS_VARIABLE, "") if option is None else option
    policy = text.strip().lower() or FORK_POLICIES[0]
    if policy not in FORK_POLICIES:
        raise SettingError(f"{source}: {text!r} is not one of {', '.join(FORK_POLICIES)}")
    return policy == "quarantine"


def data_directory(option: Path | None, environ: Mapping[str, str]) -> Path:
    """The data directory: as told, else `data` under the home. Raises SettingError."""
    return home_directory(environ) / "data" if option is None else option


def home_directory(environ: Mapping[str, str]) -> Path:
    """SEEDERFARM_HOME, else `~/.seederfarm`. Raises SettingError where nobody knows what `~` is, as in a
    container that runs under a number without a name."""
    home = environ.get(HOME_VARIABLE, "").strip() or "~/.seederfarm"
    try:
        return Path(home).expanduser()
    except RuntimeError:
        raise SettingError(NO_HOME) from None
