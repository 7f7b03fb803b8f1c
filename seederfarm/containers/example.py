"""Make .env.example from the tables of settings: `python -m seederfarm.containers.example > .env.example`."""

from __future__ import annotations

import sys
import textwrap
from typing import Any, Final

from workers.settings.table import PEER_TABLE, READY_FD, WORKER_METRICS, WORKER_METRICS_TOKEN_FILE, Setting

from ..settings.table import TABLE

HEAD: Final = """\
# Settings of docker-compose.yml: `cp .env.example .env`, change lines, `docker compose up -d`.
#
# Made by `python -m seederfarm.containers.example > .env.example` from the tables of settings. Lines that are
# commented out show the defaults. No passwords are here: the first start makes them.

# Name of this server: Caddy gets a certificate for it, and workers find the broker there. With localhost, or
# an address, the certificate is of an authority that browsers do not know.
FARM_DOMAIN=localhost

# Ports of this machine, or ADDRESS:PORT to listen on one address alone.
#FARM_HTTP_PORT=80
#FARM_HTTPS_PORT=443
#FARM_BROKER_PORT=6380
#FARM_UDP_PORT=49737
#FARM_PROMETHEUS_PORT=127.0.0.1:9090
#FARM_GRAFANA_PORT=127.0.0.1:3000

# Address of the broker for workers elsewhere; needed where its port is another than 6380.
#FARM_BROKER_URL=rediss://localhost:6380/0

# Address of the pages in messages; needed where the port is another than 443.
#FARM_PUBLIC_URL=https://localhost

# Name of this server's worker, and the most memory that it may take.
#FARM_WORKER_NAME=vps
#FARM_WORKER_MEMORY=2g

# Images. FARM_IMAGE is built here from the Dockerfile.
#FARM_IMAGE=seederfarm:latest
#POSTGRES_IMAGE=postgres:17.5-bookworm
#REDIS_IMAGE=valkey/valkey:8.1.3-bookworm
#CADDY_IMAGE=caddy:2.10.0
#PROMETHEUS_IMAGE=prom/prometheus:v3.4.1
#GRAFANA_IMAGE=grafana/grafana:12.0.1
"""

OURS: Final = frozenset(
    {
        *("SEEDERFARM_HOME", "DATABASE_URL", "REDIS_URL", "SEEDERFARM_BROKER_ACCOUNTS", "SEEDERFARM_HTTPS"),
        *("SEEDERFARM_ALLOWED_HOSTS", "SEEDERFARM_PUBLIC_URL", "SEEDERFARM_PROXIES", "SEEDERFARM_WEB_HOST"),
        *("SEEDERFARM_WEB_PORT", "SEEDERFARM_FLOWER_HOST", "SEEDERFARM_FLOWER_PORT", "SEEDERFARM_UDP_PORT"),
        *("SEEDERFARM_METRICS_TOKEN", "SEEDERFARM_SECRET_KEY", "SEEDERFARM_ENCRYPTION_KEY"),
        *("SEEDERFARM_WORKERS_REDIS_URL", "SEEDERFARM_BROKER_CA"),
        *(READY_FD.name, WORKER_METRICS.name, WORKER_METRICS_TOKEN_FILE.name),
    }
)
"""Settings that docker-compose.yml sets itself, or that no container reads."""
WIDTH: Final = 110


def example() -> str:
    """Return the file .env.example."""
    farm = [row for row in TABLE if row.name not in OURS]
    peers = [row for row in PEER_TABLE if row.name not in OURS and row not in TABLE]
    parts = [HEAD, "\n# --- the farm\n", *map(_entry, farm)]
    parts += ["\n# --- the worker of this server\n", *map(_entry, peers)]
    return "".join(parts)


def _entry(row: Setting[Any]) -> str:
    text = textwrap.fill(row.help, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    if row.secret:
        line = f"#{row.name}_FILE=/var/lib/seederfarm/secrets/{row.name.removeprefix('SEEDERFARM_').lower()}"
    else:
        line = f"#{row.name}={'' if row.shown.startswith('(') or ' ' in row.shown else row.shown}"
    return f"\n{text}\n{line}\n"


if __name__ == "__main__":
    sys.stdout.write(example())
