from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string
from msgspec.structs import replace

from farmwire.join import Join, queue_id, seal_secret, secret_digest
from farmwire.message import decode
from farmwire.report import BlindPeerStats, Report
from farmwire.tasks import CONFIGURE, JOIN, SYNC_ASSIGNMENT, WELCOME, Configure
from hypercore.crypto import KeyPair
from seederfarm.control import signal_handlers
from seederfarm.control.accounts.join import join
from seederfarm.control.celery.app import LATE, app, beat_table
from seederfarm.control.history import retention
from seederfarm.control.messaging import assignments, identity
from seederfarm.control.reports.ingest import ingest_report
from seederfarm.registry.models import Alert, Event, Worker
from seederfarm.registry.services import workers as worker_services
from seederfarm.registry.services.tokens import issue_enrolment

from .fakes import FakeBroker, FakeWorker

PASSWORD = "0" * 64


@pytest.fixture
def newcomer(farm: FakeBroker) -> FakeWorker:
    """Has keys, and is not known."""
    worker = FakeWorker("pi", now=timezone.now())
    Worker.objects.all().delete()
    return worker


def asks(worker: FakeWorker, secret: str, now: datetime) -> dict[str, object]:
    hidden = seal_secret(secret, sender=worker.node_id, password=PASSWORD, reader=identity.identity().node_id)
    request = Join(
        name="pi", secret=hidden, password=PASSWORD, zone="attic", tags=["disk/ssd"], software="test 1"
    )
    return worker.seal(request, now, name=JOIN)


def test_a_worker_with_a_token_joins_and_gets_its_assignment(farm: FakeBroker, newcomer: FakeWorker) -> None:
    now = timezone.now()
    secret = issue_enrolment(actor="cli").secret
    worker = join(asks(newcomer, secret, now), now)
    assert worker is not None
    assert (worker.node_id, worker.name, worker.zone, worker.state) == (
        newcomer.node_id,
        "pi",
        "attic",
        "active",
    )
    again = join(asks(newcomer, secret, now), now)
    assert again == worker
    assert Event.objects.filter(kind="worker.joined").count() == 1
    for (pk,) in farm.take_deferred("control.send_worker_config"):
        assignments.send_worker_config(pk)
    welcomes, notified = farm.sent[:2], farm.sent[2:]
    assert {sent.task for sent in welcomes} == {WELCOME}
    assert {sent.queue for sent in welcomes} == {f"join.{queue_id(secret_digest(secret))}.q"}
    assert welcomes[0].message["body"] == {"waiting": False, "user": "", "events": True, "name": "pi"}
    assert [sent.task for sent in notified] == [CONFIGURE, SYNC_ASSIGNMENT] * 2
    assert secret not in str(asks(newcomer, secret, now)), "whoever reads the broker does not learn it"


def test_a_name_with_control_characters_forges_no_line_of_a_log(
    farm: FakeBroker, newcomer: FakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """The name of a client with a token, and an id that is not checked yet, are in what is logged."""
    now = timezone.now()
    evil = "pi\n2026-01-01 ERROR forged\x1b]52;c;eA==\x07"
    hidden = seal_secret(
        "x" * 43, sender=newcomer.node_id, password=PASSWORD, reader=identity.identity().node_id
    )
    request = Join(name=evil, secret=hidden, password=PASSWORD)
    assert join(newcomer.seal(request, now, name=JOIN), now) is None
    join({"from": evil}, now)
    ingest_report({"from": evil[:60]}, now)
    formatter = settings.LOGGING["formatters"]["line"]
    made = import_string(formatter["()"])(formatter["fmt"])
    lines = [made.format(record) for record in caplog.records]
    assert any("forged" in line for line in lines)
    for line in lines:
        assert "\n" not in line and "\x1b" not in line and "\x07" not in line


def test_a_token_works_for_one_worker(farm: FakeBroker, newcomer: FakeWorker) -> None:
    now = timezone.now()
    secret = issue_enrolment(actor="cli").secret
    assert join(asks(newcomer, secret, now), now) is not None
    newcomer.pair = KeyPair.from_seed(b"t" * 32)
    assert join(asks(newcomer, secret, now), now) is None
    assert join(asks(newcomer, "x" * 43, now), now) is None
    assert join(asks(newcomer, secret, now - timedelta(days=2)), now) is None
    assert join({"from": "nobody"}, now) is None
    assert Worker.objects.count() == 1
    assert Alert.objects.get(kind="worker.unknown").count == 4


def test_a_retired_worker_joins_again_with_a_new_token(farm: FakeBroker, newcomer: FakeWorker) -> None:
    now = timezone.now()
    old = issue_enrolment(actor="cli").secret
    first = join(asks(newcomer, old, now), now)
    assert first is not None
    Worker.objects.update(last_seen_at=now - timedelta(days=30), lost_since=now)
    worker_services.retire([first], "cli")
    again = join(asks(newcomer, issue_enrolment(name="pi-8", zone="cellar", actor="cli").secret, now), now)
    assert again == first
    again.refresh_from_db()
    assert (again.state, again.name, again.zone) == ("active", "pi-8", "cellar")
    assert (again.retired_at, again.lost_since, again.last_seen_at) == (None, None, None)
    assert Event.objects.filter(kind="worker.joined").count() == 2
    renamed = Event.objects.get(kind="worker.renamed")
    assert renamed.text == "pi joined again, and is called pi-8 from now on" and renamed.worker == again
    newcomer.row = again
    newcomer.send_report(now)
    again.refresh_from_db()
    assert (again.last_seen_at, again.refused) == (now, 0), "what it reports counts"
    worker_services.retire([again], "cli")
    waits = join(asks(newcomer, issue_enrolment(approved=False, actor="cli").secret, now), now)
    assert waits is not None and waits.state == "pending"
    assert Event.objects.filter(kind="worker.renamed").count() == 1, "it keeps its name"


def test_a_worker_that_waits_for_approval_gets_no_settings(farm: FakeBroker, newcomer: FakeWorker) -> None:
    now = timezone.now()
    secret = issue_enrolment(actor="cli", approved=False).secret
    worker = join(asks(newcomer, secret, now), now)
    assert worker is not None
    assert worker.state == Worker.State.PENDING
    assignments.send_worker_config(worker.pk)
    (sent,) = farm.take_sent()
    assert sent.message["body"] == {"waiting": True, "user": "", "events": True, "name": ""}
    farm.deferred.clear()
    worker_services.activate([worker], "cli")
    assert [worker.pk] in farm.take_deferred("control.send_worker_config")
    assignments.send_worker_config(worker.pk)
    assert len(farm.take_sent()) == 2


def test_a_worker_gets_its_limits_and_which_of_them_ended(farm: FakeBroker, newcomer: FakeWorker) -> None:
    now = timezone.now()
    worker = join(asks(newcomer, issue_enrolment(actor="cli").secret, now), now)
    assert worker is not None
    Worker.objects.filter(pk=worker.pk).update(upload_limit=500, quota_bytes=7)
    farm.take_sent()
    assignments.send_worker_config(worker.pk)
    body = farm.take_sent()[0].message["body"]
    order = body.pop("blind_peer")
    assert order.pop("version")
    assert order == {"clients": None, "trusted": [], "max_cores": None, "max_bytes": None}
    assert body == {
        "quota_bytes": 7,
        "paused": False,
        "up_bytes_per_second": 1024,
        "down_bytes_per_second": None,
        "lift": ["down_bytes_per_second"],
    }


def test_settings_that_a_worker_does_not_confirm_are_sent_again(farm: FakeBroker) -> None:
    now = timezone.now()
    worker = FakeWorker("pi", now=now)
    Worker.objects.filter(pk=worker.row.pk).update(paused=True, upload_limit=100_000)
    worker.configured = Configure()
    for seconds in range(2):
        worker.send_report(now + timedelta(seconds=seconds))
        (sent,) = [sent for sent in farm.take_sent() if sent.task == CONFIGURE]
        notified = decode(sent.message["body"], Configure)
        assert notified.paused and notified.up_bytes_per_second == 100_000
    worker.configured = Configure(paused=True, up_bytes_per_second=100_000)
    worker.send_report(now + timedelta(seconds=9))
    assert CONFIGURE not in [sent.task for sent in farm.take_sent()]


def test_what_apps_may_is_sent_to_a_blind_peer_until_it_holds_there(farm: FakeBroker) -> None:
    now = timezone.now()
    worker = FakeWorker("pi", now=now)

    def sent_after(order: str | None) -> list[Configure]:
        """What a worker gets that reports this version; None: it takes none."""
        beat, stats = worker.beat(now), BlindPeerStats(key="ab" * 32, order=order)
        beat = replace(beat, engine=replace(beat.engine, blind_peer=stats))
        ingest_report(worker.seal(Report(heartbeat=beat), now), now)
        return [
            decode(sent.message["body"], Configure) for sent in farm.take_sent() if sent.task == CONFIGURE
        ]

    assert sent_after(None) == []
    (first,) = sent_after("")
    assert first.blind_peer is not None and sent_after(first.blind_peer.version) == []
    values = {"blind_clients": "none", "blind_trusted": f"{'CD' * 32}, {'ab' * 32}", "blind_max_cores": 9}
    assert set(worker_services.set_blind_peer(worker.row, values, "cli")) == set(values)
    assert [worker.row.pk] in farm.take_deferred("control.send_worker_config")
    (second,) = sent_after(first.blind_peer.version)
    order = second.blind_peer
    assert order is not None and order.version != first.blind_peer.version
    assert (order.clients, order.trusted, order.max_cores) == ([], ["ab" * 32, "cd" * 32], 9)
    assert sent_after(order.version) == []


def test_the_control_plane_keeps_its_key_in_a_private_file(tmp_path: Path) -> None:
    first = identity.load(tmp_path)
    assert stat.S_IMODE((tmp_path / identity.KEY_FILE).stat().st_mode) == 0o600
    identity.load.cache_clear()
    assert identity.load(tmp_path) == first
    identity.load.cache_clear()
    (tmp_path / identity.KEY_FILE).write_bytes(b"short")
    with pytest.raises(identity.IdentityUnreadable, match="5 bytes"):
        identity.load(tmp_path)


def test_every_beat_has_a_task_and_waits_behind_reports_without_piling_up() -> None:
    """Runs that expired within their period of a second or five never started on a busy machine."""
    app.loader.import_default_modules()
    for entry in beat_table().values():
        expires = entry["options"]["expires"]
        assert expires >= LATE
        assert expires < entry["schedule"] or expires == LATE
        assert entry["task"] in app.tasks
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"


def test_signals_are_heard_once_however_often_they_are_connected(
    farm: FakeBroker, newcomer: FakeWorker
) -> None:
    signal_handlers.connect()
    signal_handlers.connect()
    signal_handlers._drives_changed(ids=[1])
    assert farm.take_deferred("control.reconcile_dirty") == [[]]


def test_old_events_are_forgotten_and_new_ones_kept(farm: FakeBroker) -> None:
    now = timezone.now()
    for days in (0, 10, 100, 200):
        Event.objects.create(kind="test", text=f"{days}", at=now - timedelta(days=days))
    assert retention.prune(now).events == 2
    assert set(Event.objects.values_list("text", flat=True)) == {"0", "10"}


def test_celery_can_import_the_app_before_django_is_set_up(tmp_path: Path) -> None:
    program = (
        "from seederfarm.control.celery.app import app; app.loader.import_default_modules(); "
        "assert 'control.report' in app.tasks"
    )
    environment = {**os.environ, "SEEDERFARM_HOME": str(tmp_path)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
