"""Every setting of the farm: its name, type, default and what it does. docs/settings.md is made from it."""

from __future__ import annotations

import hashlib
import os
import secrets as random_secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import env
from .secrets import secret_file

CONFIG_FILE: Final = "seederfarm.toml"
MAX_SOCKET_PATH: Final = 100
"""Bytes of a unix socket's path that every kernel takes (sun_path has 104 to 108)."""


def _setting(
    name: str,
    reader: env.Reader[Any],
    default: object,
    help_text: str,
    *,
    shown: str = "",
    secret: bool = False,
) -> Any:
    return field(
        default=default,
        metadata={"name": name, "reader": reader, "help": help_text, "shown": shown, "secret": secret},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmSettings:
    """What the operator decided. `load()` reads it; Django has it as `settings.FARM`."""

    home: Path = _setting(
        "SEEDERFARM_HOME",
        env.directory,
        Path("~/.seederfarm"),
        "Directory of everything the farm keeps, and of `seederfarm.toml`. Environment only.",
        shown="~/.seederfarm",
    )
    name: str = _setting(
        "SEEDERFARM_NAME", env.text, "Seeder Farm", "Name of this farm, shown in titles and to workers."
    )
    database: env.Database = _setting(
        "DATABASE_URL",
        env.database,
        env.Database("sqlite", "farm.sqlite3"),
        "Where the truth is kept: `sqlite:///PATH` (below SEEDERFARM_HOME) or "
        "`postgresql://USER:PASSWORD@HOST:PORT/NAME`; parameters such as `?sslmode=require` are passed on.",
        shown="sqlite:///farm.sqlite3",
        secret=True,
    )
    database_pool: int = _setting(
        "SEEDERFARM_DATABASE_POOL",
        env.whole(least=1, most=1000),
        8,
        "PostgreSQL connections that one process keeps at most.",
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
    broker_accounts: str = _setting(
        "SEEDERFARM_BROKER_ACCOUNTS",
        env.one_of("auto", "on", "off"),
        "auto",
        "Whether each worker gets an account of Redis with no more rights than it needs (docs/security.md): "
        "`auto` where REDIS_URL's login may make accounts, `on` to accept nothing less, `off` to give every "
        "worker that login.",
    )
    secret: str = _setting(
        "SEEDERFARM_SECRET_KEY",
        env.text,
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
        "Show tracebacks in the browser. Never where others can reach it.",
    )
    allowed_hosts: tuple[str, ...] = _setting(
        "SEEDERFARM_ALLOWED_HOSTS",
        env.words,
        ("localhost", "127.0.0.1", "[::1]"),
        "Host names the web pages answer to, comma-separated.",
    )
    trusted_origins: tuple[str, ...] = _setting(
        "SEEDERFARM_TRUSTED_ORIGINS",
        env.words,
        (),
        "Origins that forms may come from beside the page's own, such as `https://farm.example.org`.",
    )
    https: bool = _setting(
        "SEEDERFARM_HTTPS",
        env.boolean,
        False,
        "The pages are reached over HTTPS through a proxy that sets X-Forwarded-Proto: cookies then go over "
        "HTTPS alone.",
    )
    proxies: tuple[str, ...] = _setting(
        "SEEDERFARM_PROXIES",
        env.networks,
        ("127.0.0.1", "::1"),
        "Addresses or networks of proxies in front of the pages, whose X-Forwarded-For is believed: failed "
        "logins are counted by the address that it names.",
    )
    web_host: str = _setting(
        "SEEDERFARM_WEB_HOST", env.text, "127.0.0.1", "Address the web server listens on."
    )
    web_port: int = _setting(
        "SEEDERFARM_WEB_PORT", env.whole(least=1, most=65535), 8000, "Port the web server listens on."
    )
    flower_port: int = _setting(
        "SEEDERFARM_FLOWER_PORT",
        env.whole(least=1, most=65535),
        5555,
        "Port Flower listens on, on 127.0.0.1.",
    )
    time_zone: str = _setting(
        "SEEDERFARM_TIME_ZONE", env.time_zone, "UTC", "Time zone of the pages, such as Europe/Berlin."
    )
    log_level: str = _setting(
        "SEEDERFARM_LOG_LEVEL",
        env.one_of("debug", "info", "warning", "error"),
        "info",
        "How much is logged: debug, info, warning or error.",
    )
    bootstrap: tuple[str, ...] = _setting(
        "SEEDERFARM_BOOTSTRAP",
        env.node_addresses,
        (),
        "DHT nodes to start from, HOST:PORT comma-separated, in place of the public ones.",
        shown="(public nodes)",
    )
    replicas: tuple[int, int] = _setting(
        "SEEDERFARM_REPLICAS",
        env.replicas,
        (1, 2),
        "Copies of a key that says nothing else: MIN or MIN:MAX.",
        shown="1:2",
    )
    forks: str = _setting(
        "SEEDERFARM_FORKS",
        env.one_of("follow", "quarantine"),
        "follow",
        "What copies of keys that are added from now on do when the writer rewrites them (a higher fork): "
        "`follow`, or `quarantine`: keep and serve what they have until it is accepted. Each key can differ.",
    )
    heartbeat: float = _setting(
        "SEEDERFARM_HEARTBEAT",
        env.duration,
        15.0,
        "How often a worker reports. How soon what got lost on the way is noticed is counted in it.",
        shown="15s",
    )
    worker_grace: float = _setting(
        "SEEDERFARM_WORKER_GRACE",
        env.duration,
        300.0,
        "Silence after which a worker counts as lost and its copies are placed elsewhere.",
        shown="5m",
    )
    reconcile_every: float = _setting(
        "SEEDERFARM_RECONCILE_EVERY",
        env.duration,
        60.0,
        "How often the whole plan is checked; what changes is planned at once.",
        shown="1m",
    )
    reconcile_duty: int = _setting(
        "SEEDERFARM_RECONCILE_DUTY",
        env.whole(least=1, most=100),
        10,
        "Percent of the time that checking the whole plan may take: where it takes longer, it is done less "
        "often, but at least once an hour.",
    )
    audit_every: float = _setting(
        "SEEDERFARM_AUDIT_EVERY",
        env.duration,
        86400.0,
        "How often each complete copy must prove that it is there.",
        shown="1d",
    )
    audit_blocks: int = _setting(
        "SEEDERFARM_AUDIT_BLOCKS", env.whole(least=1, most=64), 3, "Random blocks asked for in one proof."
    )
    source_every: float = _setting(
        "SEEDERFARM_SOURCE_EVERY",
        env.duration,
        300.0,
        "How often a source that says nothing else is asked.",
        shown="5m",
    )
    source_shrink: int = _setting(
        "SEEDERFARM_SOURCE_SHRINK",
        env.whole(least=1, most=100),
        50,
        "Percent of the keys of a source that may be removed within a day because its list shrank. "
        "Beyond it they are kept until a person accepts (admin, or `sources accept NAME`). 100: never held. "
        "Each source can differ.",
    )
    source_max_bytes: int = _setting(
        "SEEDERFARM_SOURCE_MAX_BYTES",
        env.size,
        8 << 20,
        "How large the answer of a source may be.",
        shown="8MiB",
    )
    source_files: str = _setting(
        "SEEDERFARM_SOURCE_FILES",
        env.text,
        "",
        "Directory that sources of the kind seeds.txt may read files from, and no others. Empty: `lists` "
        "below SEEDERFARM_HOME.",
        shown="(`lists` below SEEDERFARM_HOME)",
    )
    source_networks: tuple[str, ...] = _setting(
        "SEEDERFARM_SOURCE_NETWORKS",
        env.networks,
        (),
        "Networks that sources may be read from although they are not public, such as `192.168.0.0/16`, "
        "comma-separated. Loopback, private, link-local and multicast addresses are refused otherwise.",
    )
    source_memory: int = _setting(
        "SEEDERFARM_SOURCE_MEMORY",
        env.size,
        2 << 30,
        "Address space that the process `sources` may take (RLIMIT_AS). 0: no limit.",
        shown="2GiB",
    )
    writer_seen_within: float = _setting(
        "SEEDERFARM_WRITER_SEEN_WITHIN",
        env.duration,
        86400.0,
        "How recently a writer must have been seen to count as a copy outside of the farm (last-copy guard).",
        shown="1d",
    )
    keep_events: float = _setting(
        "SEEDERFARM_KEEP_EVENTS", env.duration, 30 * 86400.0, "How long events are kept.", shown="30d"
    )
    keep_event_rows: int = _setting(
        "SEEDERFARM_KEEP_EVENT_ROWS",
        env.whole(least=1000, most=1_000_000_000),
        1_000_000,
        "How many events are kept, however young: the oldest go first. A million take about 500 MB.",
    )
    keep_samples: float = _setting(
        "SEEDERFARM_KEEP_SAMPLES",
        env.duration,
        365 * 86400.0,
        "How long the coarsest samples of the charts are kept; finer ones go sooner.",
        shown="365d",
    )

    @property
    def config_file(self) -> Path:
        return self.home / CONFIG_FILE

    @property
    def database_path(self) -> Path:
        """The SQLite file (only where the database is SQLite)."""
        return self.home / self.database.name

    @property
    def source_folder(self) -> Path:
        """Where files of sources are."""
        if not self.source_files:
            return self.home / "lists"
        with suppress(RuntimeError):  # it begins with ~, and there is no home directory
            return Path(self.source_files).expanduser()
        return Path(self.source_files)

    @property
    def redis_socket(self) -> Path:
        """The socket of the bundled Redis. A home with a long path: in the temporary directory."""
        wanted = self.home / "run" / "redis.sock"
        if len(os.fsencode(wanted)) <= MAX_SOCKET_PATH:
            return wanted
        short = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"seederfarm-{os.getuid()}-{short}" / "redis.sock"

    @property
    def bundled_redis(self) -> bool:
        return not self.redis_url

    @property
    def broker_url(self) -> str:
        """As Celery (kombu) writes it."""
        if not self.redis_url:
            return f"redis+socket://{self.redis_socket}"
        scheme, _, rest = self.redis_url.partition("://")
        return f"redis+socket://{rest}" if scheme in ("unix", "socket") else self.redis_url

    @property
    def redis_client_url(self) -> str:
        """As redis-py writes it."""
        scheme, _, rest = self.broker_url.partition("://")
        return f"unix://{rest}" if scheme == "redis+socket" else self.broker_url

    def secret_key(self) -> str:
        """The configured key, or the one of the home directory, made on first use. Raises OSError."""
        if self.secret:
            return self.secret
        made = secret_file(self.home / "secret_key", lambda: random_secrets.token_urlsafe(50).encode())
        return made.decode().strip()


class Setting(NamedTuple):
    """A row of the table."""

    name: str
    attribute: str
    reader: env.Reader[Any]
    default: object
    help: str
    shown: str
    secret: bool


def _rows() -> tuple[Setting, ...]:
    rows = []
    for item in fields(FarmSettings):
        assert item.default is not MISSING, item.name
        meta = item.metadata
        shown = meta["shown"] or _show(item.default)
        rows.append(
            Setting(
                meta["name"], item.name, meta["reader"], item.default, meta["help"], shown, meta["secret"]
            )
        )
    return tuple(rows)


def _show(default: object) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "(none)"
    return str(default) or "(none)"


TABLE: Final = _rows()
"""All settings, in the order they are shown."""


class Loaded(NamedTuple):
    """Settings, and what was wrong with them: a wrong one has its default."""

    settings: FarmSettings
    problems: tuple[env.Problem, ...]

    def checked(self) -> FarmSettings:
        """The settings, if nothing is wrong with them. Raises SettingsWrong."""
        if self.problems:
            raise env.SettingsWrong(self.problems)
        return self.settings


def load(environ: Mapping[str, str] | None = None) -> Loaded:
    """Read every setting. Writes nothing; raises nothing for wrong values, which come back as problems."""
    environ = os.environ if environ is None else environ
    problems: list[env.Problem] = []
    home_row, *rows = TABLE
    values: dict[str, Any] = {}
    _read(home_row, environ, {}, values, problems)
    if "home" not in values:
        try:
            values["home"] = env.directory(str(home_row.default))
        except ValueError as error:
            problems.append(env.Problem(home_row.name, str(error), "It is where everything is kept"))
            values["home"] = Path(os.devnull)  # settings with problems are used for nothing
    toml = {} if problems else _toml(values["home"] / CONFIG_FILE, problems)
    for row in rows:
        _read(row, environ, toml, values, problems)
    return Loaded(FarmSettings(**values), tuple(problems))


def _read(
    row: Setting,
    environ: Mapping[str, str],
    toml: Mapping[str, str],
    values: dict[str, Any],
    problems: list[env.Problem],
) -> None:
    hint = f"It is for: {row.help} Default: {row.shown}."
    try:
        found = env.look_up(row.name, environ, toml, file=row.secret)
    except ValueError as error:
        problems.append(env.Problem(row.name, str(error), hint))
        return
    if found is None:
        return
    try:
        values[row.attribute] = row.reader(found.text)
    except ValueError as error:
        given = "the value" if row.secret else repr(found.text[:80])
        said = "its port is not a number" if "Port" in str(error) or "port" in str(error) else str(error)
        problems.append(env.Problem(row.name, f"{given} in {found.where} is wrong: {said}", hint))


def _toml(path: Path, problems: list[env.Problem]) -> dict[str, str]:
    known = {env.toml_key(row.name) for row in TABLE[1:]}
    try:
        values = env.read_toml(path)
    except ValueError as error:
        problems.append(env.Problem(str(path), str(error), "Correct the file, or move it away."))
        return {}
    for name in sorted(values.keys() - known):
        close = _closest(name, known)
        hint = f"Did you mean {close}?" if close else "docs/settings.md lists all settings."
        problems.append(env.Problem(str(path), f"{name!r} is no setting", hint))
    return values


def _closest(name: str, known: set[str]) -> str | None:
    return next(iter(get_close_matches(name, sorted(known), 1)), None)


def toml_name(row: Setting) -> str:
    """Its name in seederfarm.toml."""
    return env.toml_key(row.name)
