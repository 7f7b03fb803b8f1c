"""Channels, rules and silences in an export."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from seederfarm.registry.exportfile import Unreadable
from seederfarm.registry.models import AlertChannel, AlertRule, AlertSilence, Drive, Tag
from seederfarm.registry.services.alert_rules import edit_rule
from seederfarm.registry.services.channels import add_channel
from seederfarm.registry.services.silences import silence

from ..factories import make_drive, make_worker
from .test_transfer import into, out

pytestmark = pytest.mark.usefixtures("database")

SECRET = "whsec_of-the-night"


def furnish() -> Drive:
    drive, worker = make_drive("tides"), make_worker("pi")
    Tag.objects.create(name="sound")
    hook = add_channel(
        {"name": "hook", "kind": "webhook", "target": "https://a:pass@x.example/h", "secret": SECRET}, "cli"
    )
    add_channel({"name": "mail", "kind": "email", "target": "me@x.example", "remind_every": 0}, "cli")
    edit_rule("worker.disk_forecast", {"threshold": 14, "all_channels": False, "channels": [hook]}, "cli")
    end = timezone.now() + timedelta(days=3)
    silence("cli", ends_at=end, rule="copy.proof", worker=worker, drive=drive, tag="sound", reason="moves")
    return drive


def empty() -> None:
    for model in (AlertSilence, AlertRule, AlertChannel):
        model.objects.all().delete()


def test_alerting_comes_back_and_a_second_import_changes_nothing() -> None:
    furnish()
    lines = out(secrets=True)
    empty()
    assert into(lines).alerting_added == 4
    again = [line for line in out(secrets=True)[1:] if '"silence"' not in line]
    assert again == [line for line in lines[1:] if '"silence"' not in line]
    made = AlertSilence.objects.get()
    assert (made.rule, made.worker.name, made.drive.label, made.tag.name) == (  # type: ignore[union-attr]
        "copy.proof", "pi", "tides", "sound",
    )  # fmt: skip
    assert (into(lines).alerting_added, AlertSilence.objects.count()) == (0, 1)


def test_secrets_of_channels_stay_at_home_and_such_channels_are_off() -> None:
    furnish()
    lines = out()
    assert SECRET not in "".join(lines) and "pass@" not in "".join(lines)
    empty()
    result = into(lines)
    assert [p.text for p in result.problems] == [
        "the secret of the channel 'hook' was not exported: it is switched off"
    ]
    hook, mail = AlertChannel.objects.order_by("name")
    assert (hook.enabled, hook.secret, mail.enabled) == (False, "", True)


def test_a_silence_of_what_is_not_here_is_left_out_and_not_widened() -> None:
    furnish()
    lines = out()
    empty()
    Drive.objects.all().delete()
    lines = [line for line in lines if '"key"' not in line]
    result = into(lines)
    assert "the drive of the silence is not here: it is left out" in [p.text for p in result.problems]
    assert not AlertSilence.objects.exists()


@pytest.mark.parametrize(
    "line",
    [
        {"channel": "x", "kind": "webhook", "target": "ftp://x"},
        {"channel": "x", "kind": "fax", "target": "x"},
        {"channel": "", "kind": "email", "target": "a@b.example"},
        {"rule": "worker.disk_forecast", "threshold": -1},
        {"rule": "drive.forked", "enabled": False},
        {"silence": "1", "rule": "no.such", "ends_at": "2999-01-01T00:00:00+00:00"},
        {"silence": "1", "ends_at": "soon"},
    ],
)
def test_what_makes_no_sense_imports_nothing(line: dict[str, object]) -> None:
    good = {"channel": "good", "kind": "email", "target": "a@b.example"}
    with pytest.raises(Unreadable, match="line 2"):
        into([json.dumps(good), json.dumps(line)])
    assert not AlertChannel.objects.exists() and not AlertRule.objects.exists()


def test_unknown_rules_channels_and_old_silences_are_named() -> None:
    result = into(
        [
            json.dumps({"rule": "no.such"}),
            json.dumps({"rule": "worker.disk_forecast", "channels": ["gone"]}),
            json.dumps({"silence": "1", "rule": "copy.proof", "ends_at": "2020-01-01T00:00:00+00:00"}),
        ]
    )
    assert [problem.text for problem in result.problems] == [
        "there is no rule 'no.such'",
        "no channel here is called 'gone'",
        "the silence is over: it is left out",
    ]
