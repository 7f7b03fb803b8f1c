"""How soon pages and API answer in a large farm: milliseconds to the first byte, and database queries.

Requests of one after the other through all middleware, on a private PostgreSQL.
`./farm bench pages --drives 100k --workers 50`. What it means, and figures: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from .control import HOME_PREFIX, Clock, database, sizes

BUDGET: Final = 200.0
"""Milliseconds to the first byte."""
PLAIN: Final = (
    "overview", "farm_charts", "add", "copies", "workers", "sources", "add_source", "alerts",
    "alert_rules", "events", "audit", "plan", "api_docs",
)  # fmt: skip
"""Names of pages that are one."""
DRIVE_LISTS: Final = (
    "", "sort=-state", "sort=title", "sort=-copies", "sort=size", "sort=-version", "sort=proven",
    "sort=-proven", "sort=served",
    "sort=-added", "page=1000", "state=safe", "state=at_risk&sort=size", "kind=core",
    "tag=tag 3", "worker=w3", "source=lists", "new=1", "read=never",
    "q=Drive 4242", "q=ybndr",
)  # fmt: skip
API_LISTS: Final = (
    "", "sort=name", "sort=-copies", "sort=bytes", "sort=-length", "sort=proven", "sort=-served",
    "state=safe", "state=at_risk", "state=safe&sort=-bytes", "kind=core", "never_read=true", "tag=tag 3",
    "worker=w3", "source=lists", "q=Drive 4242",
)  # fmt: skip


class Answer(NamedTuple):
    milliseconds: float
    ours: float
    """Processor seconds of this process."""
    database: float
    """Those of the database's processes, in steps of 10 ms."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./farm bench pages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--drives", type=sizes, default="100k", help="drives of the farm, such as 100k")
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=15, help="requests of each page")
    options = parser.parse_args(arguments)
    for number in options.drives:
        with tempfile.TemporaryDirectory(prefix=HOME_PREFIX) as home:
            os.environ["SEEDERFARM_HOME"] = home
            with database(Path(home), number, sqlite=False) as server:
                measure(number, options.workers, options.rounds, Clock(server))
    return 0


def measure(drives: int, workers: int, rounds: int, clock: Clock) -> None:
    from django.utils import timezone

    from .big_farm import fill

    now = timezone.now()
    fill(drives, workers, now)
    refresh_all(now)
    ask = Asker(clock)
    print(f"{drives:,} drives, {workers:,} workers. Milliseconds to the first byte; processor time.")
    print(f"{'address':<50}{'median':>8}{'p95':>8}{'queries':>9}{'ours':>8}{'database':>10}", flush=True)
    slow = 0
    for address in addresses():
        queries = ask.queries(address)  # and what a process does once: imports, templates
        found = [ask.answer(address) for _ in range(rounds)]
        times = sorted(answer.milliseconds for answer in found)
        p95 = times[math.ceil(len(times) * 0.95) - 1]
        slow += p95 > BUDGET
        median = statistics.median(times)
        ours, database = (statistics.fmean(each) for each in zip(*(a[1:] for a in found), strict=True))
        name = address if len(address) < 50 else f"{address[:24]}…{address[-24:]}"
        print(
            f"{name:<50}{median:>8.0f}{p95:>8.0f}{queries:>9}{ours:>8.0f}{database:>10.0f}",
            flush=True,
        )
    print(f"{slow} of {len(addresses())} are above {BUDGET:.0f} ms.")


def refresh_all(now: datetime) -> None:
    """What the control plane does by itself within seconds."""
    from django.db import connection

    from seederfarm.registry import stored_health, tallies
    from seederfarm.registry.models import Drive

    start = time.perf_counter()
    drives = stored_health.refresh(Drive.objects.values_list("pk", flat=True), now)
    print(f"{drives:,} drives were computed in {time.perf_counter() - start:.1f} s.")
    start = time.perf_counter()
    tallies.recount(now)
    print(f"Copies were counted in {time.perf_counter() - start:.2f} s.", flush=True)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


class Asker:
    """A person who may do everything, with a token for the API."""

    def __init__(self, clock: Clock) -> None:
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.test import Client

        from seederfarm.registry.models.access import Scope
        from seederfarm.registry.services import issue_api_token

        user = User.objects.create_superuser("bench", password="bench-bench")
        secret = issue_api_token(user, "bench", scopes=list(Scope.values), actor="cli").secret
        settings.ALLOWED_HOSTS = ["*"]
        self._clock = clock
        self._client = Client(headers={"Authorization": f"Bearer {secret}"})
        self._client.force_login(user)

    def answer(self, address: str) -> Answer:
        took, response = self._clock.time(lambda: self._get(address))
        assert response.status_code == 200, (address, response.status_code)
        return Answer(took.seconds * 1000, took.ours * 1000, took.database * 1000)

    def queries(self, address: str) -> int:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as found:
            self._get(address)
        return len(found)

    def _get(self, address: str) -> Any:
        from dashboard.api import access
        from dashboard.api.limits import TokenLimit

        access.limit = TokenLimit()  # the benchmark is not what the limit of requests is for
        return self._client.get(address)


def addresses() -> list[str]:
    """Every page and every list of the API, lists of drives in each order."""
    from django.urls import reverse

    from seederfarm.registry.models import Drive, Worker

    drive = Drive.objects.filter(state="active", length__isnull=False).order_by("-pk").first()
    worker = Worker.objects.order_by("pk").first()
    assert drive is not None and worker is not None
    pages = [
        *(reverse(f"dashboard:{name}") for name in PLAIN),
        reverse("dashboard:drive", kwargs={"key": drive.key}),
        reverse("dashboard:worker", args=[worker.node_id]),
        reverse("dashboard:copies") + "?state=proven",
        reverse("dashboard:copies") + "?state=error",
        reverse("dashboard:copies") + "?worker=w3",
        *(reverse("dashboard:drives") + f"?{query}" for query in DRIVE_LISTS),
    ]
    return pages + api_addresses(drive.key, drive.length, worker.node_id)


def api_addresses(key: str, version: int | None, worker: str) -> list[str]:
    """Every operation that reads and ends, from the document of the API. Files are for another benchmark."""
    from dashboard.api.app import api

    document: dict[str, Any] = api.get_openapi_schema()
    values = {"key": key, "version": version, "worker": worker, "name": "lists"}
    found = []
    for path, operations in document["paths"].items():
        if "get" in operations and "/files/" not in path and not path.endswith("/changes"):
            address = path.format_map(values)
            lists = API_LISTS if address.endswith("/drives") else ("",)
            found += [f"{address}?{query}".rstrip("?") for query in lists]
    return found
