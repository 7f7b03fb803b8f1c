"""The processes of a farm on one machine. Adding one is adding a function to `ROWS`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import secrets
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from workers.settings.table import BOOTSTRAP, HEARTBEAT

from ..settings.secrets import secret_file
from ..settings.table import FarmSettings, value_of
from . import broker
from .home import RunFiles
from .process import Spec

CONTROL_APP: Final = "seederfarm.control.celery.app"
FLOWER_USER: Final = "farm"
Row = Callable[[FarmSettings, RunFiles], Spec | None]
"""Returns the process of a row, or None where these settings need none."""


def redis(farm: FarmSettings, files: RunFiles) -> Spec | None:
    """The broker, unless REDIS_URL is set. Raises NoRedis."""
    if not farm.bundled_redis:
        return None
    config, server = files.run / "redis.conf", broker.find_server()
    version = broker.version_of(server) or broker.MIN_VERSION
    broker.write_config(config, socket=farm.redis_socket, data=files.home / "redis", version=version)
    return Spec(
        name="redis",
        about="broker, on a private socket",
        argv=(str(server), str(config)),
        secrets=False,
        stage=0,
        ready=partial(broker.answers, farm.redis_socket),
        essential=True,
    )


def web(farm: FarmSettings, files: RunFiles) -> Spec:
    """The web server. The start of the farm fails if it does not come up."""
    port = str(farm.web_port)
    return Spec(
        name="web",
        about=f"pages, on {address(farm)}",
        argv=(
            *_python("uvicorn", "seederfarm.asgi:application", "--host", farm.web_host, "--port", port),
            *("--no-access-log", "--timeout-graceful-shutdown", "5", "--lifespan", "off"),
            *("--proxy-headers", "--forwarded-allow-ips", ",".join(farm.proxies)),
        ),
        ready=partial(_http_answers, reachable(farm.web_host), farm.web_port),
        essential=True,
    )


def control(farm: FarmSettings, files: RunFiles) -> Spec | None:
    """The Celery worker of the control plane; None without its app."""
    if not _exists(CONTROL_APP):
        return None
    return Spec(
        name="control",
        about="plans, takes reports, audits",
        argv=_celery(
            *("worker", "-P", "threads", "-c", "4", "-n", "control@%h"),
            *("-Q", "control,reports,join", "--without-mingle", "--without-gossip", "-E"),
            *("-l", farm.log_level),
        ),
        reports_ready=True,
        stop_timeout=20.0,
    )


def beat(farm: FarmSettings, files: RunFiles) -> Spec | None:
    """The scheduler; None without the app of control."""
    if not _exists(CONTROL_APP):
        return None
    return Spec(
        name="beat",
        about="starts what is done on a schedule",
        argv=_celery(
            *("beat", "-s", str(files.run / "beat-schedule")),
            *("--pidfile", "", "-l", farm.log_level),
        ),
        reports_ready=True,
    )


def sources(farm: FarmSettings, files: RunFiles) -> Spec:
    """Reads sources and follows seed lists."""
    return Spec(
        name="sources",
        about="reads the sources of keys, follows seed lists",
        argv=_python("seederfarm", "sources", "follow"),
        stop_timeout=20.0,
    )


def worker(farm: FarmSettings, files: RunFiles) -> Spec | None:
    """A worker on this machine; `prepare` made its token."""
    if not _exists(CONTROL_APP):
        return None
    return Spec(
        name="worker",
        about=f"seeds, keeps content in {files.home / 'worker'}",
        argv=_python("seederfarm.supervisor.programs.worker"),
        secrets=False,
        env=worker_environment(farm),
        stage=2,
        reports_ready=True,
        stop_timeout=20.0,
    )


def worker_environment(farm: FarmSettings) -> dict[str, str]:
    """Return the settings of `seederfarm.toml` that a worker reads from its environment."""
    values = {row: value_of(row, farm) for row in (BOOTSTRAP, HEARTBEAT)}
    return {row.name: row.write(value) for row, value in values.items() if value != row.default}


def gateway(farm: FarmSettings, files: RunFiles) -> Spec:
    """Knows no secret of the farm, and handles what publishers wrote."""
    return Spec(
        name="gateway",
        about="reads files of drives for the pages",
        argv=_python(
            *("workers.gateway.main", "--socket", str(farm.gateway_socket)),
            *("--data", str(files.home / "worker"), "--log-level", farm.log_level),
            *(part for node in farm.bootstrap for part in ("--bootstrap", str(node))),
        ),
        secrets=False,
        stage=2,
        reports_ready=True,
    )


def flower(farm: FarmSettings, files: RunFiles) -> Spec | None:
    """Read-only, with a password in a file and in its environment, not on its command line."""
    if not _exists(CONTROL_APP):
        return None
    return Spec(
        name="flower",
        about=f"Celery's own view, at {address(farm)}flower/",
        argv=_python("seederfarm.supervisor.programs.flower", "-A", CONTROL_APP, "flower"),
        env={
            "FLOWER_ADDRESS": farm.flower_host,
            "FLOWER_PORT": str(farm.flower_port),
            "FLOWER_BASIC_AUTH": flower_login(files.flower_secret),
            "FLOWER_READ_ONLY": "true",
            # The pages pass it on there, behind their login.
            "FLOWER_URL_PREFIX": "flower",
        },
        stage=2,
        ready=partial(_http_answers, reachable(farm.flower_host), farm.flower_port),
    )


ROWS: Final[tuple[Row, ...]] = (redis, web, control, beat, sources, worker, gateway, flower)


def specs(farm: FarmSettings, files: RunFiles) -> list[Spec]:
    """Every process of this farm. Raises NoRedis and OSError."""
    made = (row(farm, files) for row in ROWS)
    return [spec for spec in made if spec is not None]


def address(farm: FarmSettings) -> str:
    """URL of the pages for a browser on this machine."""
    host = reachable(farm.web_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{farm.web_port}/"


def reachable(host: str) -> str:
    """The address to connect to for an address to listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def flower_login(path: Path) -> str:
    """`user:password`, made on first use in a file for its owner only."""
    made = secret_file(path, lambda: f"{FLOWER_USER}:{secrets.token_urlsafe(18)}\n".encode())
    return made.decode().strip()


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _celery(*arguments: str) -> tuple[str, ...]:
    return _python("seederfarm.supervisor.programs.celery", "-A", CONTROL_APP, *arguments)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there either
        return False


async def _http_answers(host: str, port: int) -> bool:
    """Whether a web server answers there at all."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(5):
            return (await reader.readline()).startswith(b"HTTP/")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
