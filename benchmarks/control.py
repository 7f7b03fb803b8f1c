"""What the control plane takes at scale: planning, the loss of a worker, reports and heartbeats a second.

A simulation: rows in a private PostgreSQL (or SQLite), messages signed for real, nothing sent anywhere.
`./farm bench control --sizes 10k,100k,1m --workers 1000`. What it means, and figures: benchmarks/README.md.
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
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import psutil

from .usage import usage

T = TypeVar("T")

REPLICAS = 3
HOME_PREFIX = "seederfarm-bench-"
REPORT_COPIES = 500
BEATS = 200
SIZE = 100_000_000


class SilentBroker:
    """Counts what would be sent."""

    def __init__(self) -> None:
        self.deferred = 0
        self.sent = 0

    def send(self, task: str, message: dict[str, object], *, queue: str, expires: float) -> None:
        self.sent += 1

    def waiting(self, queue: str) -> int:
        return 0

    def leave(self, key: str, message: dict[str, object], *, expires: float) -> None:
        self.sent += 1

    def defer(self, task: str, args: Sequence[Any]) -> None:
        self.deferred += 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./farm bench control", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sizes", type=sizes, default="10k,100k", help="drives of each farm, such as 10k,100k,1m"
    )
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument(
        "--reports", type=int, default=40, help=f"reports of {REPORT_COPIES} copies to take in"
    )
    parser.add_argument("--sqlite", action="store_true", help="SQLite in place of PostgreSQL")
    options = parser.parse_args(arguments)
    print("Seconds; in brackets processor seconds of the control plane and of the database.")
    print("".join(f"{title:>{width}}" for title, width in COLUMNS), flush=True)
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix=HOME_PREFIX) as home:
            os.environ["SEEDERFARM_HOME"] = home
            run_alone(home, size, options.workers, options.reports, sqlite=options.sqlite)
    return 0


COLUMNS: Final = (
    ("drives", 9), ("first plan", 25), ("check all", 18), ("worker lost", 18), ("drives hit", 12),
    ("copies/s", 10), ("a beat, ms", 12), ("peak RSS", 10), ("database", 10),
)  # fmt: skip


def sizes(text: str) -> list[int]:
    """`10k,1m` as numbers."""
    units = {"k": 1000, "m": 1_000_000}
    found = []
    for word in text.lower().replace("_", "").split(","):
        digits, unit = (word[:-1], units[word[-1]]) if word[-1:] in units else (word, 1)
        if not digits.isdigit() or not int(digits):
            raise argparse.ArgumentTypeError(f"expected numbers such as 10k,100k,1m, got {word!r}")
        found.append(int(digits) * unit)
    return found


def run_alone(home: str, drives: int, workers: int, reports: int, *, sqlite: bool) -> None:
    """In a process of its own, so that the peak of memory is that of this size."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with database(Path(home), drives, sqlite=sqlite) as server:
                measure(drives, workers, reports, Clock(server))
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
def database(home: Path, drives: int, *, sqlite: bool) -> Iterator[int | None]:
    """Process id of its server, if it has one."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "seederfarm.settings.scratch"
    if sqlite:
        os.environ["DATABASE_URL"] = f"sqlite:///{drives}.sqlite3"
        migrated()
        yield None
        return
    from tests.support import postgres

    if (reason := postgres.missing()) is not None:
        raise SystemExit(reason)
    server = postgres.Postgres()
    try:
        server.start()
        os.environ["DATABASE_URL"] = server.create_database("bench")
        migrated()
        yield server.pid
        from django.db import connection

        connection.close()
    finally:
        server.dispose()


def migrated() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


class Took(NamedTuple):
    seconds: float
    ours: float
    """Processor seconds of this process."""
    database: float
    """Those of the database's processes. 0 where it works in this process."""

    def __str__(self) -> str:
        return f"{self.seconds:.2f} ({self.ours:.1f}+{self.database:.1f})"


class Clock:
    def __init__(self, server: int | None) -> None:
        self._server = None if server is None else psutil.Process(server)

    def time(self, work: Callable[[], T]) -> tuple[Took, T]:
        gc.collect()
        before, start = self._read(), time.perf_counter()
        result = work()
        seconds, after = time.perf_counter() - start, self._read()
        return Took(seconds, after[0] - before[0], after[1] - before[1]), result

    def _read(self) -> tuple[float, float]:
        database = 0.0
        if self._server is not None:
            mine = self._server.cpu_times()  # with that of children that have ended
            database = mine.user + mine.system + mine.children_user + mine.children_system
            for child in self._server.children():
                with suppress(psutil.NoSuchProcess):
                    times = child.cpu_times()
                    database += times.user + times.system
        return time.process_time(), database


def measure(drives: int, workers: int, reports: int, clock: Clock) -> None:
    from django.db import connection
    from django.utils import timezone

    from seederfarm.control.messaging.outbox import outbox
    from seederfarm.control.reconcile.liveness import OutageDetector
    from seederfarm.control.reconcile.reconcile import reconcile
    from seederfarm.registry.models import Drive, Replica, Worker

    now = timezone.now()
    outages = OutageDetector(now - timedelta(days=1))
    with outbox.through(SilentBroker()):
        populate(drives, workers, now)
        first_took, first = clock.time(lambda: reconcile(now=now, outages=outages))
        assert first.assigned == drives * min(REPLICAS, workers), (first.assigned, len(first.unplaced))
        copies = ingest(workers, reports, now, clock)
        Replica.objects.filter(phase="assigned").update(
            phase="complete",
            have_bytes=SIZE,
            total_bytes=SIZE,
            have_blocks=1526,
            total_blocks=1526,
            length=1526,
        )
        Drive.objects.update(under_replicated=False)  # as it would be by now
        reconcile(everything=False, now=now, outages=outages)  # what the reports told
        analyze(connection)
        beat = heartbeats(workers, now + timedelta(seconds=15), clock)
        full_took, full = clock.time(lambda: reconcile(now=now, outages=outages))
        assert full.moves == 0
        lost = Worker.objects.order_by("pk")[workers // 2]
        later = now + timedelta(seconds=400)
        Worker.objects.exclude(pk=lost.pk).update(last_seen_at=later)
        again_took, again = clock.time(lambda: reconcile(everything=False, now=later, outages=outages))
        assert again.assigned == again.drives, (again.assigned, again.drives)
        peak = usage(os.getpid()).peak_rss
        cells = (
            f"{drives:,}", first_took, full_took, again_took, f"{again.drives:,}", f"{copies:,.0f}",
            beat, f"{peak / 1e6:,.0f} MB", f"{size_of(connection) / 1e6:,.0f} MB",
        )  # fmt: skip
        print(
            "".join(f"{cell!s:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)), flush=True
        )


def size_of(connection: Any) -> int:
    """Bytes of the database, indexes included."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(cursor.fetchone()[0])


def analyze(connection: Any) -> None:
    """As the database's own housekeeping would have done by then."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def populate(drives: int, workers: int, now: datetime) -> None:
    from django.db import connection

    from farmwire.envelope import node_id
    from seederfarm.registry.models import Drive, Worker
    from seederfarm.registry.sql import batches, execute, rows_as_table

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
    # Without marks, as more than a thousand keys that are added at once.
    first = Drive.objects.create(
        key=key_of(0), kind="drive", replicas_min=REPLICAS, replicas_max=REPLICAS, byte_length=SIZE, length=1,
        dirty=False,
    )  # fmt: skip
    columns = [
        f.column for f in Drive._meta.concrete_fields if f.column not in ("id", "key") and not f.generated
    ]
    like = ", ".join(f"d.{column}" for column in columns)
    for numbers in batches(range(1, drives), 50_000):
        table, parameters = rows_as_table((("key", "text"),), [(key_of(number),) for number in numbers])
        execute(
            f"INSERT INTO registry_drive (key, {', '.join(columns)}) "
            f"SELECT v.key, {like} FROM {table} JOIN registry_drive d ON d.id = %s",
            [*parameters, first.pk],
        )
    analyze(connection)


def key_of(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def key_pair(number: int) -> Any:
    from hypercore.crypto import KeyPair

    return KeyPair.from_seed(hashlib.sha256(b"worker %d" % number).digest())


def ingest(workers: int, reports: int, now: datetime, clock: Clock) -> float:
    """Reported copies that one process ingests in a second, one report after the other."""
    from farmwire.report import ReplicaReport, Report
    from seederfarm.control.reports.ingest import ingest_report
    from seederfarm.registry.models import Replica, Worker

    messages = []
    for number in range(min(reports, workers)):
        worker = Worker.objects.get(name=f"w{number}")
        keys = Replica.objects.filter(worker=worker).values_list("drive__key", flat=True)[:REPORT_COPIES]
        reported = [
            ReplicaReport(
                key=key, phase="complete", length=1526, blocks=1526, have_blocks=1526, bytes=SIZE,
                have_bytes=SIZE, peers=3, writer_seen_at=now.timestamp(), observed_at=now.timestamp(),
            )
            for key in keys
        ]  # fmt: skip
        messages.append(sealed(Report(replicas=reported), number, 1, now))
    took, applied = clock.time(lambda: sum(ingest_report(message, now).applied for message in messages))
    assert applied == sum(len(message["body"]["replicas"]) for message in messages)
    return float(applied / took.seconds)


def heartbeats(workers: int, now: datetime, clock: Clock) -> str:
    """Processor time of a heartbeat of a worker that holds what it should, of which nothing is new."""
    from farmwire.report import EngineStats, Heartbeat, HostStats, Report
    from farmwire.tasks import Configure
    from seederfarm.control.messaging.assignments import send_assignment
    from seederfarm.control.reports.ingest import ingest_report
    from seederfarm.registry.models import AssignmentState, Worker

    host = HostStats(
        cpu_percent=1.5, load=0.1, cores=4, memory_bytes=1, memory_used_bytes=1, disk_bytes=1,
        disk_free_bytes=1, uptime=100.0,
    )  # fmt: skip
    engine = EngineStats(
        running=True, shards=1, restarts=0, connections=2, firewalled=False, rss_bytes=1, stored_bytes=0,
        down_per_second=0.0, up_per_second=0.0,
    )  # fmt: skip
    messages = []
    for number in range(min(workers, BEATS)):
        worker = Worker.objects.get(name=f"w{number}")
        send_assignment(worker.pk, now)
        state = AssignmentState.objects.get(pk=worker.pk)
        beat = Heartbeat(
            at=now.timestamp(), name=worker.name, software="bench", assignment_version=state.version,
            assignment_digest=state.digest, free_bytes=10**13, configured=Configure(paused=False),
            host=host, engine=engine,
        )  # fmt: skip
        messages.append(sealed(Report(heartbeat=beat), number, 2, now))
    took, results = clock.time(lambda: [ingest_report(message, now) for message in messages])
    assert not any(result.refused for result in results)
    return f"{took.ours / len(messages) * 1000:.1f}+{took.database / len(messages) * 1000:.1f}"


def sealed(report: Any, number: int, seq: int, now: datetime) -> Any:
    from farmwire.envelope import seal
    from farmwire.tasks import REPORT
    from seederfarm.control.messaging.identity import identity

    expires = now.timestamp() + 3600
    to = identity().node_id
    return seal(report, name=REPORT, to=to, seq=seq, expires=expires, key_pair=key_pair(number))
