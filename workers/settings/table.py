"""The variables that peers and workers read: name, reader, default and help of each.

`seederfarm.settings.table` has those of the control plane and takes the shared ones from this module;
docs/settings.md is made from both. Only the environment is read here; options of a command override it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from hypercore.codec import MAX_SAFE_INTEGER
from hypercore.dht.address import BootstrapNode
from hypercore.dht.constants import BOOTSTRAP_NODES
from hypercore.swarm.slots import MAX_CONNECTIONS

from .. import units
from . import readers
from .rate_schedule import ANY_RATE, RateSchedule, parse_rate_schedule

T = TypeVar("T")

MAX_BLOCKS: Final = 1 << 25
"""Default bound on the blocks of one key: 2 TiB in blocks of 64 KiB. A writer can sign 2^52 equal blocks
without storing any; each costs a seeder BLOCK_OVERHEAD."""

PEERS_LIMIT: Final = 60_000
"""Largest value of SEEDERFARM_MAX_PEERS: an endpoint has no more streams."""

FORK_POLICIES: Final = ("follow", "quarantine")
"""What to do when a publisher rewrites its history. The first is the default."""


class SettingError(ValueError):
    """A setting is wrong. The text has its name and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """A row of the table."""

    name: str
    """Name of the variable in the environment."""
    read: Callable[[str], T]
    """Parses the text. Raises ValueError with what was expected."""
    default: T
    help: str
    shown: str
    """The default, as the page of settings shows it."""
    write: Callable[[T], str] = str
    """Formats a value so that `read` parses it."""
    secret: bool = False
    """Messages do not quote the value, and NAME_FILE may name a file that contains it."""
    blank: bool = False
    """Whether blank text is a value (an empty list). Otherwise it counts as not set."""

    def parse(self, text: str, *, source: str = "") -> T:
        """Parse text from `source` (default: the variable). Raises SettingError, which names the source."""
        try:
            return self.read(text)
        except ValueError as error:
            raise SettingError(
                f"{source or self.name}: {describe(text, error, secret=self.secret)}"
            ) from None

    def value(self, environ: Mapping[str, str], option: str | None = None, flag: str = "") -> T:
        """Value of the option `flag`, else of the environment, else the default. Raises SettingError."""
        if option is not None:
            return self.parse(option, source=flag)
        text = environ.get(self.name, "")
        return self.parse(text) if text.strip() else self.default


def describe(text: str, error: ValueError, *, secret: bool = False, where: str = "") -> str:
    """An error message: the text, unless it is secret, and what was expected."""
    reason = str(error)
    if not secret and reason.startswith(("'", '"')):  # it quotes the part that is wrong
        return f"{reason}{where and f' (in {where})'}"
    given = "the value" if secret else repr(text[:80])
    return f"{given}{where and f' in {where}'} is wrong: {reason}"


def _row(
    name: str,
    read: Callable[[str], Any],
    default: Any,
    help_text: str,
    *,
    shown: str = "",
    write: Callable[[Any], str] = str,
    secret: bool = False,
) -> Setting[Any]:
    return Setting(
        name=name,
        read=read,
        default=default,
        help=help_text,
        shown=shown or write(default),
        write=write,
        secret=secret,
    )


def write_list(values: Iterable[object]) -> str:
    """Write values as `readers.words` reads them."""
    return ",".join(map(str, values))


HOME: Final[Setting[Path]] = _row(
    "SEEDERFARM_HOME",
    readers.directory,
    Path("~/.seederfarm"),
    "Directory of all data: `data` has the content of a lone peer, `worker` that of a worker; a farm keeps "
    "its database and `seederfarm.toml` in it.",
)
BOOTSTRAP: Final[Setting[tuple[BootstrapNode, ...]]] = _row(
    "SEEDERFARM_BOOTSTRAP",
    readers.node_addresses,
    BOOTSTRAP_NODES,
    "DHT nodes to start from in place of the public ones, HOST:PORT, comma-separated.",
    shown="(public nodes)",
    write=write_list,
)
FORKS: Final[Setting[str]] = _row(
    "SEEDERFARM_FORKS",
    readers.one_of(*FORK_POLICIES),
    FORK_POLICIES[0],
    "What to do when a publisher rewrites its history (a higher fork): `follow` it, or `quarantine` it (keep "
    "and serve the old history until the fork is accepted). In a farm it applies to keys added from then on; "
    "each key can differ.",
)
HEARTBEAT: Final[Setting[float]] = _row(
    "SEEDERFARM_HEARTBEAT",
    readers.interval,
    15.0,
    "How often a worker reports. Control counts timeouts for lost messages in heartbeats: give control and "
    "all workers the same value.",
    write=units.exact_duration,
)

RELAY: Final[Setting[bytes | None]] = _row(
    "SEEDERFARM_RELAY",
    readers.public_key,
    None,
    "Public key of a blind relay, used for peers that hole punching cannot reach.",
    shown="(none)",
)
UP: Final[Setting[RateSchedule]] = _row(
    "SEEDERFARM_UP",
    parse_rate_schedule,
    ANY_RATE,
    "Largest upload rate: `2M` (bytes a second), or by time of day: `mon-fri 08:00-18:00=1M, *=10M`.",
    shown="none",
)
DOWN: Final[Setting[RateSchedule]] = _row(
    "SEEDERFARM_DOWN",
    parse_rate_schedule,
    ANY_RATE,
    "Largest download rate, written likewise.",
    shown="none",
)
MAX_BYTES: Final[Setting[int | None]] = _row(
    "SEEDERFARM_MAX_BYTES",
    units.parse_size,
    None,
    "Largest amount of stored content, such as `500G`. A worker's `--quota` overrides it.",
    shown="(what the disk has)",
)
KEEP_FREE: Final[Setting[int | None]] = _row(
    "SEEDERFARM_KEEP_FREE",
    units.parse_size,
    None,
    "Disk space that stays free.",
    shown="5 % of the disk, 256 MiB to 5 GiB",
)
MAX_BLOCKS_OF_KEY: Final[Setting[int | None]] = _row(
    "SEEDERFARM_MAX_BLOCKS",
    readers.count_or_none(min_value=1, max_value=MAX_SAFE_INTEGER, noun="blocks"),
    MAX_BLOCKS,
    "Largest number of blocks of a key; a longer one is not downloaded further. `none`: no bound.",
)
MAX_PEERS: Final[Setting[int]] = _row(
    "SEEDERFARM_MAX_PEERS",
    readers.whole(min_value=1, max_value=PEERS_LIMIT),
    MAX_CONNECTIONS,
    "Largest number of connections that peers open.",
)
UDP_PORT: Final[Setting[int]] = _row(
    "SEEDERFARM_UDP_PORT",
    readers.whole(max_value=65535),
    0,
    "UDP port of a worker's first engine; each further one is one higher. 0: any.",
)
ENCRYPTION_KEY: Final[Setting[bytes | None]] = _row(
    "SEEDERFARM_ENCRYPTION_KEY",
    readers.secret_key,
    None,
    "Key of an encrypted drive, for `ls`, `cat`, `get` and `seed`; `seed` takes several with spaces between. "
    "Unlike an option, a variable is hidden from other users of the machine.",
    shown="(none)",
    secret=True,
)
BLIND_PEER: Final[Setting[frozenset[bytes] | None]] = _row(
    "SEEDERFARM_BLIND_PEER",
    readers.clients,
    frozenset(),
    "Which clients may have a worker keep cores, as a blind peer: `none`, `anyone`, or public keys, "
    "comma-separated. `worker run --blind-peer` makes `none` to `anyone`.",
    shown="none",
)
BLIND_PEER_TRUST: Final[Setting[tuple[bytes, ...]]] = _row(
    "SEEDERFARM_BLIND_PEER_TRUST",
    readers.public_keys,
    (),
    "Public keys of clients of a worker's blind peer that may announce and delete cores, comma-separated.",
    shown="(none)",
)
BLIND_PEER_BAN: Final[Setting[tuple[str, ...]]] = _row(
    "SEEDERFARM_BLIND_PEER_BAN",
    readers.words,
    (),
    "Public keys, addresses and networks that a worker's blind peer refuses, comma-separated.",
    shown="(none)",
)
WORKER_SAMPLE: Final[Setting[float]] = _row(
    "SEEDERFARM_WORKER_SAMPLE",
    readers.interval,
    60.0,
    "Interval of the samples for a worker's charts.",
    write=units.exact_duration,
)
WORKER_METRICS: Final[Setting[tuple[str, int] | None]] = _row(
    "SEEDERFARM_WORKER_METRICS",
    readers.listen_address,
    None,
    "Where a worker serves `/metrics`, `/healthz` and `/readyz`: HOST:PORT, such as `127.0.0.1:9464`. Other "
    "addresses than loopback need SEEDERFARM_WORKER_METRICS_TOKEN_FILE.",
    shown="(not served)",
)
WORKER_METRICS_TOKEN_FILE: Final[Setting[str]] = _row(
    "SEEDERFARM_WORKER_METRICS_TOKEN_FILE",
    readers.text,
    "",
    "File with the token (16 characters at least) that a worker's `/metrics` requires as "
    "`Authorization: Bearer TOKEN`.",
    shown="(none)",
)
READY_FD: Final[Setting[int | None]] = _row(
    "SEEDERFARM_READY_FD",
    readers.whole(),
    None,
    "File descriptor to which a process writes a byte when it is ready. The farm sets it for its own "
    "processes.",
    shown="(none)",
)

SHARED: Final[tuple[Setting[Any], ...]] = (HOME, BOOTSTRAP, FORKS, HEARTBEAT)
"""Settings that the control plane reads as well."""

PEER_TABLE: Final[tuple[Setting[Any], ...]] = (
    *(HOME, BOOTSTRAP, RELAY, UP, DOWN, MAX_BYTES, KEEP_FREE, MAX_BLOCKS_OF_KEY, MAX_PEERS, FORKS),
    *(
        UDP_PORT,
        ENCRYPTION_KEY,
        HEARTBEAT,
        WORKER_SAMPLE,
        WORKER_METRICS,
        WORKER_METRICS_TOKEN_FILE,
        *(BLIND_PEER, BLIND_PEER_TRUST, BLIND_PEER_BAN),
        READY_FD,
    ),
)
"""All that peers and workers read, in the order they are shown."""
