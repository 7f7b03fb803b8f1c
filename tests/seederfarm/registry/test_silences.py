"""Silences and settings of rules."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from seederfarm.registry.models import Alert, AlertSilence, AuditEntry, Tag
from seederfarm.registry.services.alert_rules import edit_rule, rule_settings
from seederfarm.registry.services.silences import MAX_SILENCES, apply_silences, end_silence, silence

from ...support.databases import FarmDatabase
from .factories import make_drive, make_user, make_worker

HOUR = timedelta(hours=1)


def alert(kind: str = "drive.short", **values: object) -> Alert:
    return Alert.objects.create(kind=kind, subject=f"{kind}:{Alert.objects.count()}", text=kind, **values)


def silenced() -> set[int]:
    return set(Alert.objects.filter(silenced_until__isnull=False).values_list("pk", flat=True))


def test_a_silence_fits_all_that_it_names(database: FarmDatabase) -> None:
    pi, fra, tides = make_worker("pi", tags=["attic"]), make_worker("fra"), make_drive("tides")
    of_pi, lost = alert("copy.proof", worker=pi, drive=tides), alert("worker.lost", worker=pi)
    of_fra, of_tides = alert("copy.proof", worker=fra), alert(drive=tides)
    tides.tags.add(Tag.objects.create(name="sound"))
    end = timezone.now() + HOUR

    def fitting(**given: object) -> set[int]:
        made = silence(make_user(f"u{AlertSilence.objects.count()}"), ends_at=end, **given)  # type: ignore[arg-type]
        found = silenced()
        assert end_silence(made.pk, "cli")
        assert silenced() == set(), "its end is at once"
        return found

    assert fitting(worker=pi) == {of_pi.pk, lost.pk}
    assert fitting(rule="copy.proof") == {of_pi.pk, of_fra.pk}
    assert fitting(rule="copy.proof", worker=pi) == {of_pi.pk}
    assert fitting(drive=tides) == {of_pi.pk, of_tides.pk}
    assert fitting(tag="Sound") == {of_pi.pk, of_tides.pk}
    assert fitting(tag="attic") == {of_pi.pk, lost.pk}
    assert AuditEntry.objects.filter(action="alert.silence").count() == 6


def test_the_longest_silence_counts_and_each_ends_by_itself(database: FarmDatabase) -> None:
    now = timezone.now()
    found = alert()
    silence("cli", ends_at=now + 2 * HOUR, rule="drive.short")
    silence("cli", ends_at=now + HOUR, rule="drive.short")
    found.refresh_from_db()
    assert found.silenced_until == now + 2 * HOUR
    apply_silences(now + 90 * HOUR / 60)
    found.refresh_from_db()
    assert found.silenced_until == now + 2 * HOUR
    apply_silences(now + 3 * HOUR)
    assert silenced() == set()


@pytest.mark.parametrize(
    "given", [{}, {"rule": "no.such"}, {"tag": "unknown"}, {"rule": "drive.short", "hours": -1}]
)
def test_silences_of_nothing_or_the_past_are_refused(
    database: FarmDatabase, given: dict[str, object]
) -> None:
    hours = given.get("hours", 1)
    about = {name: value for name, value in given.items() if name != "hours"}
    with pytest.raises(ValidationError):
        silence("cli", ends_at=timezone.now() + hours * HOUR, **about)  # type: ignore[operator, arg-type]
    assert not AlertSilence.objects.exists()


def test_silences_are_bounded(database: FarmDatabase) -> None:
    end = timezone.now() + HOUR
    rows = [AlertSilence(rule="drive.short", ends_at=end, actor="cli") for _ in range(MAX_SILENCES)]
    AlertSilence.objects.bulk_create(rows)
    with pytest.raises(ValidationError, match="end some first"):
        silence("cli", ends_at=end, rule="drive.short")
    AlertSilence.objects.update(ends_at=timezone.now())
    assert silence("cli", ends_at=end, rule="drive.short")


def test_rules_are_set_within_their_limits(database: FarmDatabase) -> None:
    assert edit_rule("worker.disk_forecast", {"threshold": 14, "opens_after": 60}, "cli") == [
        "threshold",
        "opens_after",
    ]
    found = rule_settings()["worker.disk_forecast"]
    assert (found.threshold, found.opens_after, found.closes_after) == (14, 60, 6 * 3600)
    assert "within 14 days" in found.condition
    for kind, values in (
        ("worker.disk_forecast", {"threshold": 366}),
        ("worker.lost", {"threshold": 3}),
        ("broker.refused", {"opens_after": 3}),
        ("drive.short", {"opens_after": -1}),
        ("drive.forked", {"enabled": False}),
        ("drive.short", {"colour": 3}),
        ("no.such", {}),
    ):
        with pytest.raises(ValidationError):
            edit_rule(kind, values, "cli")
    assert edit_rule("worker.disk_forecast", {"threshold": 14}, "cli") == []
    assert edit_rule("worker.disk_forecast", {"threshold": None}, "cli") == ["threshold"]
    assert rule_settings()["worker.disk_forecast"].threshold == 30
    assert AuditEntry.objects.filter(action="alert.rule").count() == 2
