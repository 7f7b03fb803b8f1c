"""Runs the rules: facts become findings, and findings open, change and close alerts.

One run at a time in the whole farm, and each is safe to repeat: what counts is how long a condition holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from seederfarm.registry.alert_rules import RULES, Setting
from seederfarm.registry.health import Health
from seederfarm.registry.models import Alert, AlertWatch, Worker
from seederfarm.registry.services.alert_rules import rule_settings
from seederfarm.registry.services.silences import apply_silences
from seederfarm.registry.sql import batches

from ..db.locks import try_lock
from ..history import alerts
from ..messaging import outbox
from ..messaging.task_names import ControlTask
from . import facts, rules
from .hysteresis import Step, step
from .planning import plan
from .rules import Finding

MAX_ALERTS: Final = 500
"""Alerts of one rule about single drives, workers, sources or copies; one more counts the rest. Ours."""
MAX_GAP: Final = timedelta(minutes=5)
"""After a longer time without a run, what was watched before is not known to have lasted."""
LAST_RUN: Final = "*"
"""Subject of the row with the time of the last run."""
TEXTS: Final = ("text", "what", "kept", "does", "hint", "severity")
"""Fields of an alert that change with its finding."""

Describe = Callable[[Sequence[int]], Iterable[Finding]]


def evaluate(now: datetime | None = None) -> bool:
    """Run all rules. Returns False if another process does."""
    with try_lock("alerts") as alone:
        if alone:
            at = now or timezone.now()
            _Run(at).run()
            if plan(at):
                outbox.defer(ControlTask.DELIVER)
    return alone


class _Run:
    def __init__(self, now: datetime) -> None:
        self._now = now
        self._settings = rule_settings()
        rows = dict(AlertWatch.objects.values_list("subject", "since"))
        last = rows.pop(LAST_RUN, None)
        self._is_continued = last is not None and now - last <= MAX_GAP
        self._watched = rows
        self._gone: frozenset[int] | None = None
        lasting = Alert.objects.filter(resolved_at__isnull=True, kind__in=self._evaluated())
        self._open: dict[str, dict[str, datetime | None]] = {kind: {} for kind in self._evaluated()}
        for kind, subject, over_since in lasting.values_list("kind", "subject", "clear_since"):
            self._open[kind][subject] = over_since if self._is_continued else None

    def _evaluated(self) -> list[str]:
        return [kind for kind, rule in RULES.items() if rule.evaluates]

    def run(self) -> None:
        self._drives()
        self._workers()
        if (source := self._on("source.failing")) is not None:
            found = {item.id: item for item in facts.sources(source.threshold)}
            self._apply(source, list(found), lambda ids: (rules.source_failing(found[pk]) for pk in ids))
        if (refused := self._on("client.refused")) is not None:
            apps = {item.id: item for item in facts.refused_clients(self._now)}
            bound = settings.FARM.blind_peer_client_cores
            self._apply(
                refused, list(apps), lambda ids: (rules.client_refused(apps[pk], bound) for pk in ids)
            )
        if (proof := self._on("copy.proof")) is not None:
            found_copies = facts.unproven(proof.threshold)
            self._apply(proof, found_copies, lambda ids: map(rules.copy_proof, facts.copies(ids)))
        self._close_quiet()
        self._close_retired()
        apply_silences(self._now)
        AlertWatch.objects.update_or_create(
            subject=LAST_RUN, defaults={"kind": "", "since": self._now}, create_defaults=None
        )

    def _on(self, kind: str) -> Setting | None:
        """The settings of a rule that is switched on. Alerts of others close at once."""
        setting = self._settings[kind]
        if setting.enabled:
            return setting
        alerts.resolve(self._open[kind], self._now)
        AlertWatch.objects.filter(kind=kind).delete()
        return None

    def _drives(self) -> None:
        now = self._now
        short, unavailable = self._on("drive.short"), self._on("drive.unavailable")
        if short is not None or unavailable is not None:
            unwell = facts.unwell()
            never = self._without_publisher()
            if short is not None:
                self._apply(
                    short,
                    unwell[Health.AT_RISK],
                    lambda ids: [rules.drive_short(item, now) for item in facts.drives(ids)],
                )
            if unavailable is not None:
                self._apply(
                    unavailable,
                    [pk for pk in unwell[Health.UNAVAILABLE] if pk not in never],
                    lambda ids: [rules.drive_unavailable(item, now) for item in facts.drives(ids)],
                )
        if (gone := self._on("drive.upstream_gone")) is not None:
            self._apply(
                gone,
                sorted(self._without_publisher()),
                lambda ids: [rules.upstream_gone(item, now) for item in facts.drives(ids)],
            )

    def _without_publisher(self) -> frozenset[int]:
        """Drives that have an alert of their own for that they are unavailable, if its rule is on."""
        setting = self._settings["drive.upstream_gone"]
        if not setting.enabled:
            return frozenset()
        if self._gone is None:
            self._gone = frozenset(facts.upstream_gone(self._now))
        return self._gone

    def _workers(self) -> None:
        everyone, silent, lost = facts.workers(self._now)
        known = {item.id: item for item in everyone}
        full, soon = self._settings["worker.disk_full"], self._settings["worker.disk_forecast"]
        for kind, found, describe in (
            ("worker.silent", silent, rules.worker_silent),
            ("worker.lost", lost, rules.worker_lost),
            (
                "worker.disk_full",
                [item for item in everyone if rules.is_full(item, full.threshold)],
                rules.disk_full,
            ),
            (
                "worker.disk_forecast",
                [item for item in everyone if rules.is_full_soon(item, soon.threshold, full.threshold)],
                rules.disk_forecast,
            ),
        ):
            if (setting := self._on(kind)) is not None:
                self._apply(
                    setting,
                    [item.id for item in found],
                    lambda ids, describe=describe: (describe(known[pk]) for pk in ids),  # type: ignore[misc]
                )

    def _apply(self, setting: Setting, found: Sequence[int], describe: Describe) -> None:
        kind, open_ones = setting.rule.kind, self._open[setting.rule.kind]
        ours = {name: since for name, since in self._watched.items() if name.startswith(f"{kind}:")}
        ids, left_out = rules.chosen(found, kind, set(open_ones), set(ours), MAX_ALERTS)
        holding = [f"{kind}:{pk}" for pk in ids] + ([f"{kind}:more"] if left_out else [])
        done = step(
            holding,
            ours if self._is_continued else {},
            open_ones,
            self._now,
            opens_after=setting.opens_after,
            closes_after=setting.closes_after,
        )
        shown = {*done.opened, *done.lasting}
        findings = list(describe([pk for pk in ids if f"{kind}:{pk}" in shown]))
        if f"{kind}:more" in shown:
            findings.append(rules.more(kind, left_out))
        self._write(done, findings, ours)

    def _write(self, done: Step, findings: Sequence[Finding], ours: dict[str, datetime]) -> None:
        by_subject = {item.subject: item for item in findings}
        kind = findings[0].kind if findings else ""
        with transaction.atomic():
            # of what was watched before a break nothing is left
            stale = [*done.unwatched, *(ours if not self._is_continued else ())]
            for batch in batches(stale, 500):
                AlertWatch.objects.filter(subject__in=batch).delete()
            AlertWatch.objects.bulk_create(
                [
                    AlertWatch(subject=subject, kind=kind or subject.partition(":")[0], since=since)
                    for subject, since in done.watched.items()
                ],
                ignore_conflicts=True,
                batch_size=500,
            )
            opened = [_spec(by_subject[name]) for name in done.opened if name in by_subject]
            alerts.raise_alerts(opened, self._now)
            self._renew([by_subject[name] for name in done.lasting if name in by_subject])
            for batch in batches(done.clearing, 500):
                _lasting(batch).update(clear_since=self._now)
            alerts.resolve(done.closed, self._now)

    def _renew(self, findings: Sequence[Finding]) -> None:
        """Update the texts that changed."""
        for batch in batches(findings, 500):
            wanted = {item.subject: item for item in batch}
            rows = list(_lasting(list(wanted)))
            _lasting(list(wanted)).update(last_seen_at=self._now, clear_since=None)
            changed = []
            for row in rows:
                new = _texts(wanted[row.subject])
                if any(getattr(row, name) != value for name, value in new.items()):
                    for name, value in new.items():
                        setattr(row, name, value)
                    changed.append(row)
            Alert.objects.bulk_update(changed, TEXTS, batch_size=100)

    def _close_quiet(self) -> None:
        """Close alerts without an end of their own that were not met for long."""
        for kind, rule in RULES.items():
            if rule.quiet is not None:
                since = self._now - timedelta(seconds=rule.quiet)
                Alert.objects.filter(kind=kind, resolved_at__isnull=True, last_seen_at__lt=since).update(
                    resolved_at=self._now
                )

    def _close_retired(self) -> None:
        """Close alerts about workers that have left: nothing else would."""
        gone = Worker.objects.filter(state=Worker.State.RETIRED).values("pk")
        Alert.objects.filter(kind__startswith="worker.", worker__in=gone, resolved_at__isnull=True).update(
            resolved_at=self._now
        )


def _lasting(subjects: Sequence[str]) -> Any:
    return Alert.objects.filter(subject__in=subjects, resolved_at__isnull=True)


def _texts(item: Finding) -> dict[str, str]:
    rule = RULES[item.kind]
    return {
        "text": item.text[:500],
        "what": (item.what or rule.what)[:500],
        "kept": (item.kept or rule.kept)[:500],
        "does": (item.does or rule.does)[:500],
        "hint": (item.hint or rule.hint)[:500],
        "severity": item.severity.value,
    }


def _spec(item: Finding) -> alerts.AlertSpec:
    texts = _texts(item)
    return alerts.AlertSpec(
        kind=item.kind,
        subject=item.subject,
        text=texts["text"],
        hint=texts["hint"],
        severity=item.severity,
        drive_id=item.drive_id,
        worker_id=item.worker_id,
        what=texts["what"],
        kept=texts["kept"],
        does=texts["does"],
    )
