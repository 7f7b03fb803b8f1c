"""The pages of alerts, their rules, silences and channels."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.live.topics import Fragments
from dashboard.reads.alerts import mark_of
from seederfarm.registry.alert_rules import RULES
from seederfarm.registry.models import Alert, AlertChannel, AlertDelivery, AlertRule, AlertSilence, Tag
from seederfarm.registry.services.silences import silence

from ..seederfarm.registry.factories import make_drive, make_user, make_worker
from ..support.databases import FarmDatabase
from .farm import text_of

HOSTILE = "<script>alert(1)</script>\u202e"
CHANNEL = {
    "name": "hook", "kind": "webhook", "target": "https://chat.example/hook", "secret": "s3cret-of-the-hook",
    "min_severity": "error", "sends_closed": "on", "remind_every": "1d",
}  # fmt: skip


@pytest.fixture
def some(database: FarmDatabase) -> dict[str, Alert]:
    """An alert in each state."""
    now = timezone.now()
    pi, tides = make_worker("pi"), make_drive("tides")
    given: dict[str, dict[str, Any]] = {
        "open": {"kind": "worker.lost", "worker": pi, "text": "pi is lost", "what": "Nothing heard."},
        "taken": {
            "kind": "drive.short", "drive": tides, "text": "tides is short", "acknowledged_at": now,
            "acknowledged_by": make_user("olga"),
        },
        "silenced": {
            "kind": "source.failing", "text": "lists fails", "silenced_until": now + timedelta(hours=1),
        },
        "over": {"kind": "worker.silent", "text": "fra was silent", "resolved_at": now},
    }  # fmt: skip
    return {name: Alert.objects.create(subject=name, **values) for name, values in given.items()}


def test_every_state_has_its_place(some: dict[str, Alert], viewer: Client) -> None:
    shown = text_of(viewer.get("/alerts/"))
    assert "Open 1 Acknowledged 1 Silenced 1 Over 1" in shown
    for text in ("pi is lost", "Nothing heard.", "tides is short", "olga", "fra was silent"):
        assert text in shown
    for word in ("What", "Kept", "Farm does", "You can"):
        assert word in shown
    assert "lists fails" not in shown
    for view, name in (("taken", "taken"), ("silenced", "silenced"), ("over", "over")):
        shown = text_of(viewer.get(f"/alerts/?state={view}"))
        assert some[name].text in shown and "pi is lost" not in shown
    assert viewer.get("/alerts/?state=<x>").status_code == 200


def test_a_calm_farm_needs_no_user(database: FarmDatabase, viewer: Client) -> None:
    assert "Nothing needs you" in text_of(viewer.get("/alerts/"))
    for view in ("taken", "silenced", "over"):
        assert viewer.get(f"/alerts/?state={view}").status_code == 200


def test_the_sidebar_counts_what_no_user_has_taken(some: dict[str, Alert], viewer: Client) -> None:
    assert "<title>(1) " in viewer.get("/alerts/").text.replace("\n", "")


def test_an_alert_is_taken_and_silenced_without_scripts(some: dict[str, Alert], operator: Client) -> None:
    alert = some["open"]
    page = operator.get("/alerts/").text
    assert f"/alerts/{alert.pk}/silence/" in page and "this rule on pi" in page
    given = {"scope": "rule worker", "hours": "4", "reason": "moving it"}
    assert operator.post(f"/alerts/{alert.pk}/silence/", given).status_code == 302
    made = AlertSilence.objects.get()
    assert (made.rule, made.worker, made.drive) == ("worker.lost", alert.worker, None)
    assert 3.9 < (made.ends_at - timezone.now()).total_seconds() / 3600 < 4.1
    shown = text_of(operator.get("/alerts/"))
    assert "Silenced 1" in shown and "moving it" in shown
    operator.post(f"/alerts/silences/{made.pk}/end/")
    assert "Silenced 0" in text_of(operator.get("/alerts/"))
    operator.post(f"/alerts/{alert.pk}/acknowledge/")
    alert.refresh_from_db()
    assert alert.acknowledged_at is not None


def test_the_mark_changes_with_the_list_and_not_with_what_was_noticed_again(some: dict[str, Alert]) -> None:
    now = timezone.now()
    seen = [mark_of(now)]

    def changed() -> bool:
        seen.append(mark_of(now))
        return seen[-1] not in seen[:-1]

    opened = Alert.objects.filter(pk=some["open"].pk)
    opened.update(count=7, last_seen_at=now, clear_since=now)
    assert not changed(), "each check of the rules would load the page again"
    opened.update(text="pi is lost again")
    assert changed()
    opened.update(acknowledged_at=now)
    assert changed()
    opened.update(resolved_at=now)
    assert changed()
    Alert.objects.create(kind="drive.short", subject="new", text="new")
    assert changed()
    assert mark_of(now + timedelta(hours=2)) not in seen, "a silence has ended"


def test_what_depends_on_rights_is_loaded_with_the_page_and_in_no_fragment(
    some: dict[str, Alert], operator: Client, viewer: Client
) -> None:
    fragments = Fragments(99).render(["alerts.mark"], (), timezone.now())
    for client, acts in ((operator, True), (viewer, False)):
        before, _, after = client.get("/alerts/").text.partition("data-reload")
        assert fragments["alerts.mark"] in before and "data-stale hidden" in before
        assert some["open"].text in after and (f"/alerts/{some['open'].pk}/silence/" in after) == acts
        assert 'data-topic="alerts' not in after
    assert "csrf" not in fragments["alerts.mark"] and "<form" not in fragments["alerts.mark"]


def test_a_tag_is_silenced_and_nonsense_is_refused(some: dict[str, Alert], operator: Client) -> None:
    Tag.objects.create(name="sound")
    post = {"hours": "1", "tag": "sound"}
    assert "Silenced tag sound." in text_of(operator.post("/alerts/silences/add/", post, follow=True))
    for wrong in (
        {"hours": "1"},
        {"hours": "2"},
        {"hours": "1", "tag": "nothing"},
        {"hours": "1", "rule": "x"},
    ):
        answer = operator.post("/alerts/silences/add/", wrong, follow=True)
        assert answer.status_code == 200 and "is-fail" in answer.text
    assert AlertSilence.objects.count() == 1


def test_rules_are_changed(some: dict[str, Alert], operator: Client) -> None:
    page = operator.get("/alerts/rules/")
    for rule in RULES.values():
        assert rule.title in text_of(page)
    given = {"enabled": "on", "threshold": "14", "opens_after": "2h", "closes_after": "30m"}
    operator.post("/alerts/rules/worker.disk_forecast/", given)
    row = AlertRule.objects.get()
    assert (row.threshold, row.opens_after, row.closes_after, row.all_channels) == (14, 7200, 1800, False)
    assert "within 14 days" in text_of(operator.get("/alerts/rules/"))
    for wrong in ({"threshold": "0"}, {"threshold": "x"}, {"opens_after": "soon"}):
        answer = operator.post("/alerts/rules/worker.disk_forecast/", {**given, **wrong}, follow=True)
        assert "is-fail" in answer.text
    row.refresh_from_db()
    assert row.threshold == 14
    assert operator.post("/alerts/rules/no.such/").status_code == 404
    operator.post("/alerts/rules/drive.forked/", {"all_channels": "on"})
    assert AlertRule.objects.get(kind="drive.forked").enabled, "it cannot be switched off"


def test_channels_are_added_tested_and_removed_and_their_secret_is_never_shown(
    some: dict[str, Alert], operator: Client
) -> None:
    answer = operator.post("/alerts/channels/add/", CHANNEL, follow=True)
    assert "Added hook" in text_of(answer)
    made = AlertChannel.objects.get()
    assert (made.secret, made.remind_every, made.min_severity) == ("s3cret-of-the-hook", 86400, "error")
    address = f"/alerts/channels/{made.pk}/"
    operator.post(address, {"do": "test"})
    assert AlertDelivery.objects.get().kind == "test"
    operator.post(address, {**CHANNEL, "do": "save", "secret": "", "name": "chat"})
    made.refresh_from_db()
    assert (made.name, made.secret) == ("chat", "s3cret-of-the-hook")
    for page in ("/alerts/", "/alerts/rules/", "/audit/"):
        assert "s3cret-of-the-hook" not in operator.get(page).text
    operator.post(address, {"do": "switch"})
    assert "off" in text_of(operator.get("/alerts/rules/"))
    answer = operator.post(address, {"do": "test"}, follow=True)
    assert "The channel is switched off." in text_of(answer)
    wrong = {**CHANNEL, "name": "x", "target": "ftp://x"}
    assert "is-fail" in operator.post("/alerts/channels/add/", wrong, follow=True).text
    operator.post(address, {"do": "remove"})
    assert not AlertChannel.objects.exists()


def test_viewers_see_rules_and_change_nothing(some: dict[str, Alert], viewer: Client) -> None:
    channel = AlertChannel.objects.create(name="hook", kind="webhook", target="https://x.example")
    silenced = silence("cli", ends_at=timezone.now() + timedelta(hours=1), rule="drive.short")
    page = viewer.get("/alerts/rules/").text
    assert '<form class="stack"' not in page and "hook" in page
    for address in (
        f"/alerts/{some['open'].pk}/silence/", "/alerts/silences/add/", "/alerts/rules/drive.short/",
        f"/alerts/silences/{silenced.pk}/end/", "/alerts/channels/add/", f"/alerts/channels/{channel.pk}/",
    ):  # fmt: skip
        assert viewer.post(address, {"do": "remove", "hours": "1"}).status_code == 403
    assert AlertChannel.objects.count() == AlertSilence.objects.count() == 1


def test_texts_of_others_are_escaped_and_the_number_of_queries_is_fixed(
    some: dict[str, Alert], operator: Client
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert "<script>alert" not in operator.get("/alerts/").text
            assert "<script>alert" not in operator.get("/alerts/rules/").text
        return len(captured)

    few = queries()
    for number in range(20):
        Alert.objects.create(
            kind="drive.short", subject=str(number), text=HOSTILE, what=HOSTILE, kept=HOSTILE,
            drive=make_drive(HOSTILE[:25] + str(number)),
        )  # fmt: skip
        AlertChannel.objects.create(
            name=f"{HOSTILE}{number}", kind="ntfy", target="https://x.example/t", last_error=HOSTILE,
            last_failed_at=timezone.now(),
        )  # fmt: skip
    assert queries() == few
