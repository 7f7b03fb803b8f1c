"""Readers of settings that only the control plane has, and the lookup of their texts.

`workers.settings.readers` has the other readers.

A setting is looked up in the environment, then (secrets only) in the file that NAME_FILE names, then in
`seederfarm.toml`; otherwise it has its default. A reader takes text and returns a value, or raises ValueError
with what it expected. Each error becomes a `Problem`; all problems are shown together, before anything
starts.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workers.settings.readers import words

COMMAND: Final = os.environ.get("FARM_COMMAND", "")[:40] or "seederfarm"
"""How the command line is called where the farm was started: `./farm` says `./farm`."""
MAX_FILE_BYTES: Final = 64 * 1024
"""Largest _FILE or TOML file that is read. A larger one is a path to the wrong file."""

_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off", ""})


_ENCODE: Final = (
    "has a character in its user or password that must be percent-encoded: %23 for #, %5B for [, %5D for ], "
    "%2F for /, %3F for ?, %40 for @, %25 for %"
)


class Problem(NamedTuple):
    """A wrong setting."""

    name: str
    text: str
    """What is wrong and where, without the value of a secret."""
    hint: str


class SettingsWrong(ValueError):
    """Raised for wrong settings; the text has one line for each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{problem.name}: {problem.text}. {problem.hint}" for problem in problems))
        self.problems = problems


# --- readers -----------------------------------------------------------------------------------------------


def boolean(value: str) -> bool:
    """Read `true`, `1`, `yes`, `on` or their opposites. Raises ValueError."""
    lowered = value.strip().lower()
    if lowered in _YES:
        return True
    if lowered in _NO:
        return False
    raise ValueError("expected true or false")


def networks(value: str) -> tuple[str, ...]:
    """Networks such as 192.168.0.0/16, or single addresses, with commas between them."""
    for word in words(value):
        try:
            ip_network(word)
        except ValueError:
            raise ValueError(f"{word[:60]!r} is no network such as 192.168.0.0/16 or fd00::/8") from None
    return words(value)


def public_url(value: str) -> str:
    """An http:// or https:// URL without login, query and fragment. Raises ValueError."""
    parts = split_url(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is no URL such as https://farm.example.org")
    if parts.username or parts.password:
        raise ValueError("has a login")
    return value.rstrip("/")


def time_zone(value: str) -> str:
    """Read a name of the time zone database. Raises ValueError for an unknown one."""
    try:
        ZoneInfo(value.strip())
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("expected a name of the time zone database, such as Europe/Berlin") from None
    return value.strip()


def replicas(value: str) -> tuple[int, int]:
    """`2` is at least 2 and at most 2 copies, `2:4` at least 2 and at most 4."""
    found = re.fullmatch(r"(\d{1,4})(?::(\d{1,4}))?", value.strip(), re.ASCII)
    if found is not None:
        minimum, maximum = int(found[1]), int(found[2] or found[1])
        if 1 <= minimum <= maximum:
            return minimum, maximum
    raise ValueError("expected MIN or MIN:MAX copies, such as 2 or 2:4")


def origin(value: str) -> str:
    """An origin such as `https://files.example.org`, without a slash at the end. Raises ValueError."""
    text = value.strip().rstrip("/").lower()
    if not text:
        return ""
    url = urlsplit(text)
    port = url.port  # raises for one that is no number
    if url.scheme not in ("http", "https") or not url.hostname or text != f"{url.scheme}://{url.netloc}":
        raise ValueError("expected an origin such as https://files.example.org")
    if "@" in url.netloc or (url.scheme, port) in (("http", 80), ("https", 443)):
        raise ValueError("expected an origin as browsers write it: no user, no port that its scheme implies")
    return text


def split_url(value: str) -> SplitResult:
    """Split a URL. Raises ValueError, also where user or password have characters that must be encoded. The
    message never has the password; that of `urlsplit` would."""
    text = value.strip()
    rest = text.partition("://")[2]
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError(_ENCODE if "@" in rest else "its host is none") from None
    if "#" in text or (url.scheme not in ("sqlite", "unix") and "@" in rest and "@" not in url.netloc):
        raise ValueError(_ENCODE)
    try:
        _ = url.port
    except ValueError:
        raise ValueError("its port is no number from 0 to 65535") from None
    return url


class Database(NamedTuple):
    """The parts of a DATABASE_URL."""

    engine: str
    """`sqlite` or `postgresql`."""
    name: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    """libpq parameters, such as sslmode."""


def database(value: str) -> Database:
    """`sqlite:///PATH` (relative to SEEDERFARM_HOME; four slashes: absolute), or
    `postgresql://USER:PASSWORD@HOST:PORT/NAME?sslmode=require`. `?host=DIR` names a socket directory."""
    url = split_url(value)
    if url.scheme == "sqlite":
        if url.netloc or not url.path.strip("/"):
            raise ValueError("expected sqlite:///farm.sqlite3 or sqlite:////absolute/path")
        return Database("sqlite", unquote(url.path[1:]))
    if url.scheme not in ("postgres", "postgresql"):
        raise ValueError("expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME")
    options = dict(parse_qsl(url.query))
    name = unquote(url.path.lstrip("/"))
    if not name:
        raise ValueError("names no database: expected postgresql://USER:PASSWORD@HOST:PORT/NAME")
    return Database(
        "postgresql",
        name,
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        host=options.pop("host", unquote(url.hostname or "")),
        port=url.port,
        options=tuple(options.items()),
    )


def redis(value: str) -> str:
    """`redis://`, `rediss://`, or `unix:///path` (also `redis+socket://`). Empty: the bundled one."""
    if not value.strip():
        return ""
    url = split_url(value)
    if url.scheme in ("redis", "rediss") and url.hostname:
        return value.strip()
    if url.scheme in ("unix", "redis+socket", "socket") and url.path:
        return value.strip()
    raise ValueError("expected redis://:PASSWORD@HOST:PORT/0, rediss://… or unix:///path/to/redis.sock")


# --- lookup -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """The text of a setting and where it was found, for error messages."""

    text: str
    where: str


def toml_key(name: str) -> str:
    """SEEDERFARM_WEB_PORT → web_port, DATABASE_URL → database_url."""
    return name.removeprefix("SEEDERFARM_").lower()


def read_toml(path: Path) -> dict[str, str]:
    """The top-level values of a TOML file as text; without a file, none. Raises ValueError."""
    try:
        raw = path.read_bytes()[: MAX_FILE_BYTES + 1]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        values = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is not TOML: {error}") from None
    return {name: _as_text(name, value) for name, value in values.items()}


def _as_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ",".join(str(item) for item in value)
    raise ValueError(f"{name} must be text, a number, true, false or a list of these")


def look_up(name: str, environ: Mapping[str, str], toml: Mapping[str, str], *, file: bool) -> Found | None:
    """The text of a setting, None if it is not set. Raises ValueError if it is set twice or unreadable."""
    direct = environ.get(name)
    path = environ.get(f"{name}_FILE") if file else None
    if direct is not None and path is not None:
        raise ValueError(f"{name} and {name}_FILE are both set")
    if direct is not None:
        return Found(direct, "the environment")
    if path is not None:
        return Found(_first_line(Path(path), f"{name}_FILE"), f"the file that {name}_FILE names")
    listed = toml.get(toml_key(name))
    return None if listed is None else Found(listed, "seederfarm.toml")


def _first_line(path: Path, name: str) -> str:
    try:
        raw = path.read_bytes()[: MAX_FILE_BYTES + 1]
        return raw.decode().strip()
    except OSError as error:
        raise ValueError(f"{name} names {path}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} names {path}, which is not text") from None
