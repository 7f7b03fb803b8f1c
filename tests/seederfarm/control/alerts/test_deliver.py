"""Messages about alerts, to a mail server, a webhook and ntfy of this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections

from seederfarm.control.alerts import deliver as module
from seederfarm.control.alerts import transports
from seederfarm.control.alerts.deliver import MAX_TRIES, deliver
from seederfarm.control.alerts.planning import STORM, plan
from seederfarm.registry.models import Alert, AlertChannel, AlertDelivery
from seederfarm.registry.services.alert_rules import edit_rule
from seederfarm.registry.services.alerts import acknowledge
from seederfarm.registry.services.channels import (
    MAX_CHANNELS,
    add_channel,
    edit_channel,
    remove_channel,
    send_test,
)
from seederfarm.registry.services.silences import apply_silences, silence

from ...registry.factories import make_drive, make_user
from ..fakes import FakeBroker
from .receivers import MailServer, Receiver, served

HOSTILE = "evil\r\nBcc: all@example.org\r\n\r\n\x1b[31m\u202egnp.exe" + "x" * 400


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def site(stack: ExitStack, settings: Any, farm: FakeBroker) -> Receiver:
    settings.FARM = replace(settings.FARM, alert_networks=("127.0.0.0/8",), name="Farm")
    return served(Receiver(), stack)


@pytest.fixture
def mail(stack: ExitStack, settings: Any, farm: FakeBroker) -> MailServer:
    server = served(MailServer(), stack)
    settings.FARM = replace(settings.FARM, mail_host="127.0.0.1", name="Farm")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "farm", "s3cret"
    settings.DEFAULT_FROM_EMAIL = "farm@farm.example"
    return server


def channel(target: str, kind: str = "webhook", **values: Any) -> AlertChannel:
    name = f"channel {AlertChannel.objects.count()}"
    made = add_channel({"name": name, "kind": kind, "target": target, **values}, "cli")
    AlertChannel.objects.update(active_since=datetime(2000, 1, 1, tzinfo=UTC))
    return made


def alert(now: datetime, **values: Any) -> Alert:
    given = {"kind": "worker.lost", "text": "pi is lost", "severity": "error", "opened_at": now}
    return Alert.objects.create(**{"subject": f"worker.lost:{Alert.objects.count()}", **given, **values})


def run(now: datetime) -> int:
    plan(now)
    return deliver(now)


def states() -> list[str]:
    return sorted(AlertDelivery.objects.values_list("state", flat=True))


def test_a_webhook_gets_a_signed_message_once_and_one_when_it_is_over(site: Receiver, now: datetime) -> None:
    drive = make_drive("tides")
    channel(f"{site.url}/hook", secret="whsec_" + base64.b64encode(b"0123456789").decode())
    found = alert(now, drive=drive)
    assert run(now) == 1
    assert run(now + timedelta(minutes=1)) == 0
    ((path, headers, body),) = site.seen
    assert path == "/hook"
    assert (body["type"], body["alerts"][0]["text"]) == ("alert.opened", "pi is lost")
    assert body["alerts"][0]["drive"] == drive.z32
    for line in ("kept", "farm_does", "you_can"):
        assert body["alerts"][0][line]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + site.bodies[0]
    expected = base64.b64encode(hmac.new(b"0123456789", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    found.resolved_at = now + timedelta(minutes=2)
    found.save()
    assert run(now + timedelta(minutes=3)) == 1
    assert run(now + timedelta(minutes=4)) == 0
    assert site.seen[1][2]["type"] == "alert.closed"
    assert states() == ["sent", "sent"]


def test_mail_has_one_subject_and_four_lines_whatever_a_title_contains(
    mail: MailServer, now: datetime
) -> None:
    channel("ops@farm.example, two@farm.example", "email")
    alert(now, text=HOSTILE, what=HOSTILE)
    assert run(now) == 1
    ((to, raw),) = mail.mails
    assert to == ["ops@farm.example", "two@farm.example"]
    read = message_from_bytes(raw, policy=policy.default)
    assert read["Bcc"] is None
    assert read["Subject"].strip().startswith("[Farm] evil Bcc: all@example.org")
    assert len(read["Subject"]) < 200
    body = read.get_content()
    assert [row.partition(":")[0] for row in body.splitlines()[:4]] == [
        "What",
        "Kept",
        "Farm does",
        "You can",
    ]
    assert "\x1b" not in body and "\u202e" not in body
    assert all(len(row) <= 700 for row in body.splitlines())
    assert mail.logins == ["\0farm\0s3cret"]
    assert read["Message-ID"].endswith("@farm.example>")


def test_ntfy_gets_json_and_no_header_of_others(site: Receiver, now: datetime) -> None:
    channel(f"{site.url}/night", "ntfy", secret="tk_1")
    alert(now, text=HOSTILE)
    assert run(now) == 1
    ((path, headers, body),) = site.seen
    assert path == "/"
    assert headers["authorization"] == "Bearer tk_1"
    assert (body["topic"], body["priority"]) == ("night", 5)
    assert body["title"].startswith("Farm: evil Bcc")
    assert len(body["message"].encode()) <= 3500
    assert not any("evil" in value for value in headers.values())


def test_what_fails_is_tried_again_with_longer_pauses_and_the_same_id(site: Receiver, now: datetime) -> None:
    made = channel(f"{site.url}/hook")
    site.status = 503
    alert(now)
    at = now
    assert run(at) == 0
    made.refresh_from_db()
    assert (made.works, made.last_error) == (False, "answered 503")
    assert run(at + timedelta(seconds=29)) == 0
    assert len(site.seen) == 1, "not before the pause is over"
    assert run(at + timedelta(seconds=30)) == 0
    assert run(at + timedelta(seconds=60)) == 0
    assert len(site.seen) == 2
    site.status = 200
    assert run(at + timedelta(seconds=90)) == 1
    assert len({headers["webhook-id"] for _, headers, _ in site.seen}) == 1
    made.refresh_from_db()
    assert made.works and not made.last_error


@pytest.mark.slow
def test_a_message_is_given_up_at_last(site: Receiver, now: datetime) -> None:
    channel(f"{site.url}/hook")
    site.status = 404
    alert(now)
    plan(now)
    for hour in range(MAX_TRIES + 3):
        deliver(now + timedelta(hours=hour))
    assert len(site.seen) == MAX_TRIES
    assert states() == ["failed"]


def test_a_channel_that_fails_does_not_delay_the_others(site: Receiver, now: datetime) -> None:
    channel("http://127.0.0.1:9/closed")
    channel(f"{site.url}/hook")
    for _ in range(3):
        alert(now)
    assert run(now) == 3
    assert AlertDelivery.objects.filter(tries=1, state="waiting").count() == 1


def test_a_process_that_ends_after_sending_sends_nothing_twice(
    site: Receiver, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(f"{site.url}/hook", remind_every=0)
    alert(now)
    plan(now)
    real = transports.send

    def crash(*args: Any) -> None:
        real(*args)
        raise SystemExit

    monkeypatch.setattr(transports, "send", crash)
    with pytest.raises(SystemExit):
        deliver(now)
    monkeypatch.undo()
    assert states() == ["sending"]
    assert run(now + timedelta(minutes=1)) == 0
    assert run(now + timedelta(minutes=5)) == 0
    assert (len(site.seen), states()) == (1, ["unsure"])
    assert run(now + timedelta(minutes=20)) == 1, "its alert lasts: a reminder follows"
    assert [body["type"] for _, _, body in site.seen] == ["alert.opened", "alert.reminder"]
    assert run(now + timedelta(hours=60)) == 0


def test_a_process_that_ends_before_sending_leaves_the_message_to_others(
    site: Receiver, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(f"{site.url}/hook")
    alert(now)
    plan(now)

    def crash(*args: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(transports, "send", crash)
    with pytest.raises(SystemExit):
        deliver(now)
    monkeypatch.undo()
    assert deliver(now + timedelta(minutes=1)) == 0
    assert deliver(now + timedelta(minutes=4)) == 1
    assert len(site.seen) == 1


def test_a_process_that_was_stopped_for_longer_than_its_claim_sends_nothing(
    site: Receiver, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel(f"{site.url}/hook")
    alert(now)
    plan(now)
    real = transports.send

    def stopped(*args: Any) -> None:
        monkeypatch.setattr(transports, "send", real)
        assert deliver(now + timedelta(minutes=4)) == 1, "another process sends it meanwhile"
        real(*args)

    monkeypatch.setattr(transports, "send", stopped)
    deliver(now)
    assert (len(site.seen), states()) == (1, ["sent"])


def test_two_processes_send_each_message_once(site: Receiver, now: datetime) -> None:
    channel(f"{site.url}/hook")
    for _ in range(STORM):
        alert(now)
    plan(now)
    barrier, failures = threading.Barrier(2), []

    def work() -> None:
        try:
            barrier.wait(20)
            deliver(now)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(site.seen) == STORM
    assert len({headers["webhook-id"] for _, headers, _ in site.seen}) == STORM


@pytest.mark.slow
def test_a_storm_is_one_digest(site: Receiver, now: datetime) -> None:
    channel(f"{site.url}/hook")
    for number in range(STORM + 90):
        alert(now, text=f"alert {number}")
    assert run(now) == STORM
    alert(now, text="a late one")
    assert run(now + timedelta(minutes=1)) == 0, "it joins the digest that fills"
    assert run(now + timedelta(minutes=6)) == 1
    body = site.seen[-1][2]
    assert (body["type"], len(body["alerts"]), body["left_out"]) == ("alert.digest", 20, 71)
    Alert.objects.update(resolved_at=now + timedelta(minutes=7))
    run(now + timedelta(minutes=8))
    run(now + timedelta(minutes=20))
    closed = [seen for _, _, seen in site.seen[STORM + 1 :]]
    assert sum(len(seen["alerts"]) + seen["left_out"] for seen in closed) == STORM + 91
    assert len(closed) <= STORM + 1


def test_alerts_that_a_client_took_silenced_unwanted_or_old_ones_are_not_sent(
    site: Receiver, now: datetime, settings: Any
) -> None:
    errors = channel(f"{site.url}/errors", min_severity="error", remind_every=3600)
    taken, quiet, low = alert(now), alert(now, kind="drive.short"), alert(now, severity="warning")
    unwanted = alert(now, kind="source.failing")
    acknowledge(Alert.objects.filter(pk=taken.pk), make_user())
    silence("cli", ends_at=datetime.now().astimezone() + timedelta(hours=1), rule="drive.short")
    Alert.objects.filter(pk=quiet.pk).update(silenced_until=now + timedelta(hours=1))
    edit_rule("source.failing", {"all_channels": False, "channels": []}, "cli")
    assert run(now) == 0
    edit_rule("source.failing", {"channels": [errors]}, "cli")
    assert run(now + timedelta(minutes=1)) == 1
    assert AlertDelivery.objects.get().alert == unwanted
    assert run(now + timedelta(hours=2)) == 2, "a reminder, and the silence is over"
    assert not AlertDelivery.objects.filter(alert__in=[taken, low]).exists()
    AlertChannel.objects.update(active_since=now + timedelta(hours=3))
    alert(now + timedelta(hours=2))
    assert run(now + timedelta(hours=2, minutes=1)) == 0, "older than the channel"
    apply_silences(now)


def test_an_alert_that_ends_before_it_was_sent_is_dropped(site: Receiver, now: datetime) -> None:
    channel(f"{site.url}/hook")
    found = alert(now)
    plan(now)
    Alert.objects.filter(pk=found.pk).update(resolved_at=now)
    assert run(now) == 0
    assert states() == ["dropped"]


def test_addresses_that_are_not_public_are_refused_and_no_redirect_is_followed(
    site: Receiver, now: datetime, settings: Any
) -> None:
    made = channel(f"{site.url}/hook")
    site.status, site.location = 302, "/elsewhere"
    alert(now)
    run(now)
    made.refresh_from_db()
    assert made.last_error == "answered 302" and len(site.seen) == 1
    settings.FARM = replace(settings.FARM, alert_networks=())
    for url in (
        site.url,
        site.url.replace("127.0.0.1", "localhost"),
        "http://169.254.169.254/",
        "http://[::1]:9/",
    ):
        edit_channel(made, {"target": f"{url}/hook"}, "cli")
        AlertDelivery.objects.update(next_at=now)
        assert deliver(now) == 0
        made.refresh_from_db()
        assert "SEEDERFARM_ALERT_NETWORKS" in made.last_error
    assert len(site.seen) == 1


def test_an_answer_without_end_is_cut(site: Receiver, now: datetime) -> None:
    site.answer = b"x" * (8 << 20)
    channel(f"{site.url}/hook")
    alert(now)
    assert run(now) == 1


def test_mail_servers_that_refuse_or_are_away(mail: MailServer, now: datetime, settings: Any) -> None:
    made = channel("ops@farm.example", "email")
    mail.refuses = True
    alert(now)
    assert run(now) == 0
    made.refresh_from_db()
    assert "takes no mail" in made.last_error
    settings.EMAIL_PORT = 9
    assert run(now + timedelta(minutes=1)) == 0
    made.refresh_from_db()
    assert "cannot be reached" in made.last_error
    settings.FARM = replace(settings.FARM, mail_host="")
    assert run(now + timedelta(minutes=9)) == 0
    made.refresh_from_db()
    assert "SEEDERFARM_MAIL_HOST" in made.last_error


def test_tests_are_sent_at_once_and_tried_once(site: Receiver, farm: FakeBroker, now: datetime) -> None:
    made = channel(f"{site.url}/hook")
    send_test(made, "cli")
    assert farm.take_deferred("control.deliver") == [[]]
    AlertDelivery.objects.update(next_at=now)
    assert deliver(now) == 1
    assert site.seen[0][2]["type"] == "alert.test"
    site.status = 500
    send_test(made, "cli")
    AlertDelivery.objects.update(next_at=now)
    deliver(now)
    assert states() == ["failed", "sent"]
    for _ in range(3):
        send_test(made, "cli")
    with pytest.raises(ValidationError):
        send_test(made, "cli")


def test_channels_are_checked_and_bounded(farm: FakeBroker) -> None:
    for kind, target in (
        ("email", ""), ("email", "nobody"), ("email", "a@b.example\nBcc: c@d.example"),
        ("email", ",".join(f"a{n}@b.example" for n in range(11))),
        ("webhook", "ftp://x.example"), ("webhook", "http://x.example/\r\nX: y"), ("pager", "http://x.example"),
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            channel(target, kind)
    with pytest.raises(ValidationError):
        channel("http://x.example", colour="red")
    for _ in range(MAX_CHANNELS):
        channel("http://x.example")
    with pytest.raises(ValidationError, match="already"):
        channel("http://x.example")
    first = AlertChannel.objects.first()
    assert first is not None
    assert edit_channel(first, {"enabled": False}, "cli") == ["enabled"]
    with pytest.raises(ValidationError):
        send_test(first, "cli")
    remove_channel(first, "cli")
    assert AlertChannel.objects.count() == MAX_CHANNELS - 1


def test_pauses_double_up_to_an_hour() -> None:
    seconds = [module.pause(tries).total_seconds() for tries in range(1, 14)]
    assert seconds[:4] == [30, 60, 120, 240]
    assert seconds[-1] == 3600 == max(seconds)
