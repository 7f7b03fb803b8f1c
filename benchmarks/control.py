"""What the control plane takes at scale: planning, re-planning after the loss of a worker, reports a second.

A simulation: rows in a private PostgreSQL (or SQLite), messages signed for real, nothing sent anywhere.
`./farm bench control --drives 10000,100000 --workers 1000`.

First figures (2 cores busy with other work, PostgreSQL on the same machine, 3 replicas of a drive, 1,000
workers, one process):

   drives  first plan  of it writing  full plan  one worker lost  copies reported/s  peak RSS
  100,000      14.5 s         10.5 s      4.8 s           0.30 s              3,751    182 MB
1,000,000     153.8 s        122.8 s     24.7 s           0.88 s              2,136    989 MB

`first plan` makes and writes every replica; `full plan` checks all of them when nothing is to be done.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .usage import usage

REPLICAS = 3
HOME_PREFIX = "seederfarm-bench-"
REPORT_COPIES = 500
SIZE = 100_000_000


class SilentBroker:
    """Counts what would be sent."""

    def __init__(self) -> None:
        self.deferred = 0
        self.sent = 0

    def send(self, task: str, message: dict[str, object], *, queue: str, expires: float) -> None:
        self.sent += 1

    def defer(self, task: str, args: Sequence[Any]) -> None:
        self.deferred += 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./farm bench control", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--drives", default="10000,100000", help="sizes of the farm, comma-separated")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument(
        "--reports", type=int, default=40, help=f"reports of {REPORT_COPIES} copies to take in"
    )
    parser.add_argument("--sqlite", action="store_true", help="SQLite in place of PostgreSQL")
    options = parser.parse_args(arguments)
    sizes = [int(size.replace("_", "")) for size in options.drives.split(",")]
    with tempfile.TemporaryDirectory(prefix=HOME_PREFIX) as home:
        os.environ["SEEDERFARM_HOME"] = home
        print(
            f"{'drives':>9} {'first plan':>11} {'written':>9} {'full plan':>10} {'of it load':>11} "
            f"{'worker lost':>12} {'drives hit':>11} {'reports/s':>10} {'copies/s':>9} {'peak RSS':>9}"
        )
        for size in sizes:
            run_alone(home, size, options.workers, options.reports, sqlite=options.sqlite)
    return 0


def run_alone(home: str, drives: int, workers: int, reports: int, *, sqlite: bool) -> None:
    """In a process of its own, so that the peak of memory is that of this size."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with database(Path(home), drives, sqlite=sqlite):
                measure(drives, workers, reports)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(1)


@contextmanager
def database(home: Path, drives: int, *, sqlite: bool) -> Iterator[None]:
    os.environ["DJANGO_SETTINGS_MODULE"] = "seederfarm.settings.scratch"
    if sqlite:
        os.environ["DATABASE_URL"] = f"sqlite:///{drives}.sqlite3"
        migrated()
        yield
        return
    from tests.support import postgres

    if (reason := postgres.missing()) is not None:
        raise SystemExit(reason)
    server = postgres.Postgres()
    try:
        server.start()
        os.environ["DATABASE_URL"] = server.create_database("bench")
        migrated()
        yield
        from django.db import connection

        connection.close()
    finally:
        server.dispose()


def migrated() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(drives: int, workers: int, reports: int) -> None:
    from django.db import connection
    from django.utils import timezone

    from seederfarm.control.outbox import outbox
    from seederfarm.control.reconcile import reconcile
    from seederfarm.control.standing import Hearing
    from seederfarm.registry.models import Replica, Worker

    now = timezone.now()
    hearing = Hearing(now - timedelta(days=1))
    with outbox.through(SilentBroker()):
        populate(drives, workers, now)
        first_seconds, first = timed(lambda: reconcile(now=now, hearing=hearing))
        assert len(first.assign) == drives * min(REPLICAS, workers), (len(first.assign), len(first.unplaced))
        written = first_seconds - first.load_seconds - first.plan_seconds
        del first
        rate, copies = ingest(workers, reports, now)
        Replica.objects.filter(phase="assigned").update(
            phase="complete",
            have_bytes=SIZE,
            total_bytes=SIZE,
            have_blocks=1526,
            total_blocks=1526,
            length=1526,
        )
        analyze(connection)
        full_seconds, full = timed(lambda: reconcile(now=now, hearing=hearing))
        assert full.assign == []
        lost = Worker.objects.order_by("pk")[workers // 2]
        later = now + timedelta(seconds=400)
        Worker.objects.exclude(pk=lost.pk).update(last_seen_at=later)
        again_seconds, again = timed(lambda: reconcile(everything=False, now=later, hearing=hearing))
        assert len(again.assign) == again.drives, (len(again.assign), again.drives)
        peak = usage(os.getpid()).peak_rss
        print(f"{drives:>9,} {first_seconds:>9.1f} s {written:>7.1f} s {full_seconds:>8.1f} s "
              f"{full.load_seconds:>9.1f} s {again_seconds:>10.2f} s {again.drives:>11,} {rate:>10,.0f} "
              f"{copies:>9,.0f} {peak / 1e6:>6,.0f} MB", flush=True)  # fmt: skip


def analyze(connection: Any) -> None:
    """As the database's own housekeeping would have done by then."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def populate(drives: int, workers: int, now: datetime) -> None:
    from django.db import connection

    from farmwire.envelope import node_id
    from seederfarm.control.sql import batches, execute, rows_as_table
    from seederfarm.registry.models import Worker

    Worker.objects.bulk_create(
        Worker(
            node_id=node_id(key_pair(number).public_key),
            name=f"w{number}",
            zone=f"zone {number % 7}",
            state="active",
            last_seen_at=now,
            free_bytes=10**13,
            capacity_bytes=10**13,
        )
        for number in range(workers)
    )
    for numbers in batches(range(drives), 50_000):
        rows = [(hashlib.sha256(b"%d" % number).hexdigest(),) for number in numbers]
        table, parameters = rows_as_table((("key", "text"),), rows)
        empty = "'[]'::jsonb" if connection.vendor == "postgresql" else "'[]'"
        execute(
            "INSERT INTO registry_drive (key, kind, label, note, state, priority, replicas_min, "
            "replicas_max, required_tags, dirty, title, byte_length, length, created_at, updated_at) "
            "SELECT v.key, 'drive', '', '', 'active', 5, %s, %s, "
            f"{empty}, false, '', %s, 1, %s, %s FROM {table}",
            [REPLICAS, REPLICAS, SIZE, now, now, *parameters],
        )
    analyze(connection)


def key_pair(number: int) -> Any:
    from hypercore.crypto import KeyPair

    return KeyPair.from_seed(hashlib.sha256(b"worker %d" % number).digest())


def ingest(workers: int, reports: int, now: datetime) -> tuple[float, float]:
    """Reports and replicas taken in a second by one process, one after the other."""
    from farmwire.envelope import seal
    from farmwire.orders import REPORT
    from farmwire.report import ReplicaReport, Report
    from seederfarm.control.identity import identity
    from seederfarm.control.ingest import ingest_report
    from seederfarm.registry.models import Replica, Worker

    messages = []
    for number in range(min(reports, workers)):
        worker = Worker.objects.get(name=f"w{number}")
        keys = Replica.objects.filter(worker=worker).values_list("drive__key", flat=True)[:REPORT_COPIES]
        told = [
            ReplicaReport(
                key=key, phase="complete", length=1526, blocks=1526, have_blocks=1526, bytes=SIZE,
                have_bytes=SIZE, peers=3, writer_seen_at=now.timestamp(), observed_at=now.timestamp(),
            )
            for key in keys
        ]  # fmt: skip
        expires = now.timestamp() + 3600
        sealed = seal(
            Report(replicas=told), name=REPORT, to=identity().node_id, seq=1, expires=expires,
            key_pair=key_pair(number),
        )  # fmt: skip
        messages.append((sealed, len(told)))

    def take_in() -> int:
        return sum(ingest_report(message, now).applied for message, _ in messages)

    seconds, applied = timed(take_in)
    assert applied == sum(count for _, count in messages)
    return len(messages) / seconds, applied / seconds
