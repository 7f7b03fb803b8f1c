"""Every setting of the control plane: its name, reader, default and what it does.

Settings that peers and workers read as well are rows of `workers.settings.table`. docs/settings.md is made
from both tables.
"""

from __future__ import annotations

import hashlib
import os
import secrets as random_secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from hypercore.dht.address import BootstrapNode
from workers import units
from workers.settings import readers
from workers.settings import table as peer
from workers.settings.table import Setting, write_list

from . import env
from .secrets import secret_file

CONFIG_FILE: Final = "seederfarm.toml"
PORT: Final = readers.whole(min_value=1, max_value=65535)
MAX_SOCKET_PATH: Final = 100
"""Bytes of a unix socket's path that every kernel takes (sun_path has 104 to 108)."""


def _setting(
    name: str,
    read: readers.Reader[Any],
    default: object,
    help_text: str,
    *,
    shown: str = "",
    write: Callable[[Any], str] | None = None,
    secret: bool = False,
    blank: bool = False,
) -> Any:
    write = write or _write
    return _row(
        Setting(
            name=name,
            read=read,
            default=default,
            help=help_text,
            shown=shown or write(default) or "(none)",
            write=write,
            secret=secret,
            blank=blank,
        )
    )


def _size(name: str, default: int, help_text: str) -> Any:
    return _setting(name, units.parse_size, default, help_text, write=units.exact_size)


def _interval(name: str, default: float, help_text: str) -> Any:
    return _setting(name, readers.interval, default, help_text, write=units.exact_duration)


def _row(row: Setting[Any]) -> Any:
    return field(default=row.default, metadata={"row": row})


def _write(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return write_list(value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmSettings:
    """Values of all settings. `settings.load` reads them; Django has them as `settings.FARM`."""

    home: Path = _row(peer.HOME)
    name: str = _setting(
        "SEEDERFARM_NAME", readers.text, "Seeder Farm", "Name of this farm, shown in titles and to workers."
    )
    database: env.Database = _setting(
        "DATABASE_URL",
        env.database,
        env.Database("sqlite", "farm.sqlite3"),
        "The registry: `sqlite:///PATH` (below SEEDERFARM_HOME) or "
        "`postgresql://USER:PASSWORD@HOST:PORT/NAME`; parameters such as `?sslmode=require` are passed on.",
        shown="sqlite:///farm.sqlite3",
        secret=True,
    )
    database_pool: int = _setting(
        "SEEDERFARM_DATABASE_POOL",
        readers.whole(min_value=1, max_value=1000),
        8,
        "Largest number of PostgreSQL connections of one process.",
    )
    redis_url: str = _setting(
        "REDIS_URL",
        env.redis,
        "",
        "The broker: `redis://:PASSWORD@HOST:PORT/0`, `rediss://…` or `unix:///PATH`. "
        "Empty: `./farm up` runs one of its own on a private socket.",
        shown="(bundled)",
        secret=True,
    )
    workers_redis_url: str = _setting(
        "SEEDERFARM_WORKERS_REDIS_URL",
        env.redis,
        "",
        "Address at which workers on other machines reach the broker, where it is not REDIS_URL. All workers "
        "share a login that it has.",
        shown="(REDIS_URL)",
        secret=True,
    )
    broker_authority: str = _setting(
        "SEEDERFARM_BROKER_CA",
        readers.text,
        "",
        "File with the certificate (PEM) of the authority that signed the broker's, where machines do not "
        "trust it already. Workers get it with their token.",
        shown="(that of REDIS_URL)",
    )
    broker_accounts: str = _setting(
        "SEEDERFARM_BROKER_ACCOUNTS",
        readers.one_of("auto", "on", "off"),
        "auto",
        "Whether each worker gets its own Redis account (docs/security.md): `auto` if the login of REDIS_URL "
        "may make accounts, `on` to refuse to run without, `off` to give every worker that login.",
    )
    secret: str = _setting(
        "SEEDERFARM_SECRET_KEY",
        readers.text,
        "",
        "Signs sessions. At least 32 characters. Unset: made on first use and kept in `secret_key` below "
        "SEEDERFARM_HOME.",
        shown="(made on first use)",
        secret=True,
    )
    debug: bool = _setting(
        "SEEDERFARM_DEBUG",
        env.boolean,
        False,
        "Show tracebacks in the browser. Never on pages that others can reach.",
    )
    allowed_hosts: tuple[str, ...] = _setting(
        "SEEDERFARM_ALLOWED_HOSTS",
        readers.words,
        ("localhost", "127.0.0.1", "[::1]"),
        "Host names that the pages answer to, comma-separated.",
        blank=True,
    )
    trusted_origins: tuple[str, ...] = _setting(
        "SEEDERFARM_TRUSTED_ORIGINS",
        readers.words,
        (),
        "Origins beside the page's own that may send forms, such as `https://farm.example.org`.",
        blank=True,
    )
    https: bool = _setting(
        "SEEDERFARM_HTTPS",
        env.boolean,
        False,
        "The pages are reached over HTTPS through a proxy that sets X-Forwarded-Proto. Cookies are then sent "
        "over HTTPS only.",
    )
    proxies: tuple[str, ...] = _setting(
        "SEEDERFARM_PROXIES",
        env.networks,
        ("127.0.0.1", "::1"),
        "Addresses or networks of proxies in front of the pages. Failed logins through them are counted by "
        "the address in X-Forwarded-For.",
        blank=True,
    )
    files_origin: str = _setting(
        "SEEDERFARM_FILES_ORIGIN",
        env.origin,
        "",
        "Another name of the web server, for files alone: one that leaves its sandbox there reaches no page.",
        shown="(that of the pages)",
    )
    web_host: str = _setting(
        "SEEDERFARM_WEB_HOST", readers.text, "127.0.0.1", "Address that the web server listens on."
    )
    web_port: int = _setting("SEEDERFARM_WEB_PORT", PORT, 8000, "Port that the web server listens on.")
    flower_host: str = _setting(
        "SEEDERFARM_FLOWER_HOST",
        readers.text,
        "127.0.0.1",
        "Address that Flower listens on, and at which the pages find it.",
    )
    flower_port: int = _setting("SEEDERFARM_FLOWER_PORT", PORT, 5555, "Port that Flower listens on.")
    public_places: bool = _setting(
        "SEEDERFARM_PUBLIC_PLACES", env.boolean, False, "Name the places of copies on public pages of drives."
    )
    metrics_token: str = _setting(
        "SEEDERFARM_METRICS_TOKEN",
        readers.long_token,
        "",
        "A token for `/metrics` alone, 16 characters at least, sent as `Authorization: Bearer TOKEN`. API "
        "tokens with the scope `read` are accepted as well.",
        shown="(none)",
        secret=True,
    )
    time_zone: str = _setting(
        "SEEDERFARM_TIME_ZONE", env.time_zone, "UTC", "Time zone of the pages, such as Europe/Berlin."
    )
    log_level: str = _setting(
        "SEEDERFARM_LOG_LEVEL",
        readers.one_of("debug", "info", "warning", "error"),
        "info",
        "How much is logged: debug, info, warning or error.",
    )
    bootstrap: tuple[BootstrapNode, ...] = _row(peer.BOOTSTRAP)
    replicas: tuple[int, int] = _setting(
        "SEEDERFARM_REPLICAS",
        env.replicas,
        (1, 2),
        "Number of copies of each key, MIN or MIN:MAX. Each key can differ.",
        write=lambda copies: ":".join(map(str, copies)),
    )
    forks: str = _row(peer.FORKS)
    heartbeat: float = _row(peer.HEARTBEAT)
    worker_grace: float = _interval(
        "SEEDERFARM_WORKER_GRACE",
        300.0,
        "Time without a heartbeat after which a worker counts as lost, and drives below their "
        "minimum get copies elsewhere.",
    )
    reconcile_every: float = _interval(
        "SEEDERFARM_RECONCILE_EVERY",
        60.0,
        "How often the whole plan is checked. Changes are planned at once.",
    )
    reconcile_duty: int = _setting(
        "SEEDERFARM_RECONCILE_DUTY",
        readers.whole(min_value=1, max_value=100),
        10,
        "Percent of the time that checks of the whole plan may take. A slower check runs less often, but at "
        "least once an hour.",
    )
    audit_every: float = _interval(
        "SEEDERFARM_AUDIT_EVERY",
        86400.0,
        "How often each complete copy must prove that its blocks are stored.",
    )
    audit_blocks: int = _setting(
        "SEEDERFARM_AUDIT_BLOCKS",
        readers.whole(min_value=1, max_value=64),
        3,
        "Random blocks in one challenge.",
    )
    source_every: float = _interval(
        "SEEDERFARM_SOURCE_EVERY",
        300.0,
        "How often a source is read. Each source can differ.",
    )
    source_shrink: int = _setting(
        "SEEDERFARM_SOURCE_SHRINK",
        readers.whole(min_value=1, max_value=100),
        50,
        "Percent of a source's keys that may be removed within a day because its list shrank. Larger "
        "removals are held until a person accepts them (admin, or `sources accept NAME`). 100: never held. "
        "Each source can differ.",
    )
    source_max_bytes: int = _size("SEEDERFARM_SOURCE_MAX_BYTES", 8 << 20, "Largest answer of a source.")
    source_files: str = _setting(
        "SEEDERFARM_SOURCE_FILES",
        readers.text,
        "",
        "The only directory from which sources of the kind seeds.txt may read files. Empty: `lists` below "
        "SEEDERFARM_HOME.",
        shown="(`lists` below SEEDERFARM_HOME)",
    )
    source_networks: tuple[str, ...] = _setting(
        "SEEDERFARM_SOURCE_NETWORKS",
        env.networks,
        (),
        "Networks that are not public and from which sources may be read, such as `192.168.0.0/16`, "
        "comma-separated. Other loopback, private, link-local and multicast addresses are refused.",
        blank=True,
    )
    source_memory: int = _size(
        "SEEDERFARM_SOURCE_MEMORY",
        2 << 30,
        "Address space that the process `sources` may take (RLIMIT_AS). 0: no limit.",
    )
    writer_seen_within: float = _interval(
        "SEEDERFARM_WRITER_SEEN_WITHIN",
        86400.0,
        "Time since its last append within which a publisher counts as a copy outside the farm (last-copy "
        "guard).",
    )
    keep_events: float = _interval(
        "SEEDERFARM_KEEP_EVENTS",
        30 * 86400.0,
        "How long events are kept.",
    )
    keep_event_rows: int = _setting(
        "SEEDERFARM_KEEP_EVENT_ROWS",
        readers.whole(min_value=1000, max_value=1_000_000_000),
        1_000_000,
        "Largest number of events kept; the oldest are deleted first. A million take about 500 MB.",
    )
    keep_samples: float = _interval(
        "SEEDERFARM_KEEP_SAMPLES",
        365 * 86400.0,
        "How long the coarsest samples of the charts are kept. Finer ones are deleted sooner.",
    )

    blind_peer_replicas: int = _setting(
        "SEEDERFARM_BLIND_PEER_REPLICAS",
        readers.whole(min_value=1, max_value=100),
        1,
        "Number of copies of a core that a client has a worker's blind peer keep: with 2, another worker "
        "fetches it from the first. Applies to cores named from then on.",
    )
    blind_peer_client_cores: int = _setting(
        "SEEDERFARM_BLIND_PEER_CLIENT_CORES",
        readers.whole(min_value=1, max_value=1_000_000),
        4096,
        "Cores of one client that are registered as drives of the farm, over the blind peers of all workers.",
    )

    public_url: str = _setting(
        "SEEDERFARM_PUBLIC_URL",
        env.public_url,
        "",
        "Address of the pages for links in messages, such as `https://farm.example.org`. Empty: that of the "
        "web server on this machine.",
        shown="(the web server's)",
    )
    pages_certificate: str = _setting(
        "SEEDERFARM_PAGES_CERTIFICATE",
        readers.text,
        "",
        "File with the certificate (PEM) that SEEDERFARM_PUBLIC_URL answers with, where machines do not "
        "trust it: the command of `worker enroll` then trusts its public key alone.",
        shown="(one that machines trust)",
    )
    mail_host: str = _setting(
        "SEEDERFARM_MAIL_HOST", readers.text, "", "Mail server that sends alerts by e-mail. Empty: none."
    )
    mail_port: int = _setting("SEEDERFARM_MAIL_PORT", PORT, 587, "Port of the mail server.")
    mail_security: str = _setting(
        "SEEDERFARM_MAIL_SECURITY",
        readers.one_of("starttls", "tls", "none"),
        "starttls",
        "How the connection to the mail server is encrypted: `starttls`, `tls` from its beginning (port "
        "465), `none` for a server on this machine.",
    )
    mail_user: str = _setting(
        "SEEDERFARM_MAIL_USER", readers.text, "", "Login at the mail server. Empty: none."
    )
    mail_password: str = _setting(
        "SEEDERFARM_MAIL_PASSWORD", readers.text, "", "Password at the mail server.", secret=True
    )
    mail_from: str = _setting(
        "SEEDERFARM_MAIL_FROM", readers.text, "seederfarm@localhost", "Sender of the mails."
    )
    alert_networks: tuple[str, ...] = _setting(
        "SEEDERFARM_ALERT_NETWORKS",
        env.networks,
        (),
        "Networks that are not public and to which webhooks and ntfy messages may be sent, such as "
        "`192.168.0.0/16`, comma-separated. Other loopback, private, link-local and multicast addresses are "
        "refused.",
        blank=True,
    )

    @property
    def pages_url(self) -> str:
        """Address of the pages, without a slash at its end."""
        return self.public_url or f"http://{self.web_host}:{self.web_port}"

    @property
    def database_path(self) -> Path:
        """The SQLite file (only where the database is SQLite)."""
        return self.home / self.database.name

    @property
    def source_folder(self) -> Path:
        """The directory with the files of sources."""
        if not self.source_files:
            return self.home / "lists"
        with suppress(RuntimeError):  # it begins with ~, and there is no home directory
            return Path(self.source_files).expanduser()
        return Path(self.source_files)

    @property
    def redis_socket(self) -> Path:
        """The socket of the bundled Redis: in the home, or in the temporary directory if that path is too
        long."""
        return self._socket("redis.sock")

    @property
    def gateway_socket(self) -> Path:
        """The socket of the gateway, in the same place."""
        return self._socket("gateway.sock")

    def _socket(self, name: str) -> Path:
        wanted = self.home / "run" / name
        if len(os.fsencode(wanted)) <= MAX_SOCKET_PATH:
            return wanted
        short = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"seederfarm-{os.getuid()}-{short}" / name

    @property
    def bundled_redis(self) -> bool:
        """Whether the farm runs its own Redis: no REDIS_URL is set."""
        return not self.redis_url

    @property
    def broker_url(self) -> str:
        """URL of the broker in the form of Celery (kombu)."""
        if not self.redis_url:
            return f"redis+socket://{self.redis_socket}"
        scheme, _, rest = self.redis_url.partition("://")
        return f"redis+socket://{rest}" if scheme in ("unix", "socket") else self.redis_url

    @property
    def redis_client_url(self) -> str:
        """URL of the broker in the form of redis-py."""
        scheme, _, rest = self.broker_url.partition("://")
        return f"unix://{rest}" if scheme == "redis+socket" else self.broker_url

    def secret_key(self) -> str:
        """The configured key, or the one of the home directory, made on first use. Raises OSError."""
        if self.secret:
            return self.secret
        made = secret_file(self.home / "secret_key", lambda: random_secrets.token_urlsafe(50).encode())
        return made.decode().strip()


def _rows() -> tuple[Setting[Any], ...]:
    return tuple(item.metadata["row"] for item in fields(FarmSettings))


TABLE: Final = _rows()
"""All settings of the control plane, in the order they are shown."""

ATTRIBUTES: Final = {item.metadata["row"].name: item.name for item in fields(FarmSettings)}
"""Field of `FarmSettings` for each variable."""


def value_of(row: Setting[Any], farm: FarmSettings) -> Any:
    """Value of a row in these settings."""
    return getattr(farm, ATTRIBUTES[row.name])


def toml_name(row: Setting[Any]) -> str:
    """Its name in seederfarm.toml."""
    return env.toml_key(row.name)
