"""Data of the page of one drive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from seederfarm.registry.blind_clients import ClientOfDrive, clients_of
from seederfarm.registry.health import Health
from seederfarm.registry.models import Alert, Drive, Event, Replica
from seederfarm.registry.services.proofs import wait_for
from seederfarm.registry.uptime import Day, days_of
from seederfarm.registry.verdict import Verdict, verdict_of
from workers import units

from .farm import events
from .looks import HEALTH, Look, of_copy

EVENTS: Final = 30
SHORT_RISK: Final = 600
"""A day with fewer seconds of copying or risk is shown as safe: each new version takes some. Ours."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One of the reasons behind a verdict."""

    look: Look
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Strip:
    """Days as boxes of a row."""

    boxes: list[tuple[str, str]]
    """Class of the colour, and place."""
    text: str
    days_safe: str
    """`89 of 90 days safe`: of the days of which something is known."""


@dataclass(frozen=True, slots=True)
class DrivePage:
    """What the page of a drive shows."""

    drive: Drive
    look: Look
    verdict: Verdict
    reasons: list[Reason]
    copies: list[tuple[Replica, Look]]
    summary: str
    """`3 complete, 1 on its way`."""
    peers: int
    tags: list[str]
    sources: list[str]
    clients: list[ClientOfDrive]
    """Whose it is, as far as clients of blind peers have it kept."""
    blocks: int | None
    """Of all its cores."""
    events: list[tuple[Event, Look]]
    strip: Strip | None
    """None: it was never safe, at risk or unavailable."""
    why_not: str
    """Why copies that are missing find no worker, as the last plan had it. Empty: none does."""
    proof_wait: float
    """Seconds until its copies may be asked for proof again."""

    @property
    def may_be_drive(self) -> bool:
        """Whether it is a drive, or may turn out to be one."""
        return self.drive.kind in ("", Drive.Kind.DRIVE)


def one(drive: Drive, now: datetime, *, with_events: bool = True) -> DrivePage:
    """Return the data of the page of a drive. Nine queries, eight without events."""
    copies = list(drive.replicas.select_related("worker").order_by("worker__name"))
    verdict = verdict_of(drive, now, copies)
    shown = [(copy, of_copy(copy, drive, now)) for copy in copies]
    is_removed = drive.state == Drive.State.REMOVING
    return DrivePage(
        drive=drive,
        look=HEALTH[verdict.health],
        verdict=verdict,
        reasons=_reasons(drive, verdict, shown) if drive.length and not is_removed else [],
        copies=shown,
        summary=_summary(shown),
        peers=sum(copy.peers for copy in copies),
        tags=list(drive.tags.values_list("name", flat=True)),
        sources=list(drive.source_entries.values_list("source__name", flat=True)),
        clients=clients_of(drive),
        blocks=max((copy.total_blocks for copy in copies), default=0) or drive.length,
        events=events_of(drive) if with_events else [],
        strip=strip(days_of(drive, now)),
        why_not=_why_not(drive) if verdict.counted < drive.replicas_max else "",
        proof_wait=wait_for(drive, now),
    )


def _why_not(drive: Drive) -> str:
    open_alerts = Alert.objects.filter(subject=f"drive.unplaced:{drive.pk}", resolved_at__isnull=True)
    text = open_alerts.values_list("text", flat=True).first() or ""
    return text.removeprefix(f"{drive} ")


def events_of(drive: Drive) -> list[tuple[Event, Look]]:
    """The newest EVENTS events of a drive."""
    return events(Event.objects.filter(drive=drive), EVENTS)


def strip(days: Sequence[Day]) -> Strip | None:
    """Return the days as boxes: the worst state of a day gives its colour."""
    known = sum(day.known > 0 for day in days)
    if not known:
        return None
    tones = [_tone(day) for day in days]
    count = {tone: tones.count(tone) for tone in ("is-safe", "is-risk", "is-fail")}
    text = (
        f"{len(days)} days: {count['is-safe']} safe, {count['is-risk']} at risk, "
        f"{count['is-fail']} unavailable, {len(days) - known} not known"
    )
    boxes = [(tone, f"{number * 100 / len(days):.2f}%") for number, tone in enumerate(tones)]
    return Strip(boxes, text, f"{count['is-safe']} of {units.plural(known, 'day')} safe")


def _tone(day: Day) -> str:
    if not day.known:
        return "is-idle"
    if day.unavailable:
        return "is-fail"
    return "is-risk" if day.at_risk >= SHORT_RISK or not day.safe else "is-safe"


def _summary(copies: Sequence[tuple[Replica, Look]]) -> str:
    number: dict[str, int] = {}
    for _, look in copies:
        number[look.word.lower()] = number.get(look.word.lower(), 0) + 1
    return ", ".join(f"{count:,} {word}" for word, count in number.items()) or "none yet"


_YES: Final = HEALTH[Health.SAFE]
_WORK: Final = HEALTH[Health.COPYING]
_NO: Final = HEALTH[Health.AT_RISK]


def _reasons(drive: Drive, verdict: Verdict, copies: Sequence[tuple[Replica, Look]]) -> list[Reason]:
    """The reasons of the verdict."""
    here = [copy for copy, _ in copies if copy.desired]
    best = max(here, key=lambda copy: (copy.fork, copy.have_blocks), default=None)
    good = [copy for copy, look in copies if look.tone == "is-safe"]
    return [_all_of_it(best), _enough(drive, verdict, len(here)), _places(good), _proofs(verdict, here)]


def _all_of_it(best: Replica | None) -> Reason:
    if best is None or not best.have_blocks:
        return Reason(_NO, "Nothing of it is here", "no worker has got a block")
    amount = f"{units.format_size(best.have_bytes)}, {units.plural(best.have_blocks, 'block')}"
    if best.have_blocks >= best.total_blocks:
        return Reason(_YES, "All of it is here", amount)
    if best.is_complete:
        return Reason(
            _NO, "All that is left is here", f"no peer has the other {best.unavailable_blocks:,} blocks"
        )
    return Reason(_WORK, f"{units.format_percent(best.share or 0.0)} of it is here", amount)


def _enough(drive: Drive, verdict: Verdict, assigned: int) -> Reason:
    wanted = drive.replicas_min
    title = (
        f"{units.plural(verdict.counted, 'copy', 'copies')}, {wanted} {'is' if wanted == 1 else 'are'} enough"
    )
    maximum, missing = drive.replicas_max, wanted - verdict.counted
    more = maximum > max(wanted, verdict.counted)
    text = f"{maximum} where there is room" if more else f"{maximum} wanted"
    if missing <= 0:
        coming = min(assigned, maximum) - verdict.counted
        return Reason(_YES, title, f"{text}, {coming} on the way" if coming > 0 else text)
    text += f", {missing} missing"
    return Reason(_WORK if assigned > verdict.counted else _NO, title, text)


def _places(good: Sequence[Replica]) -> Reason:
    zones = sorted({copy.worker.zone or copy.worker.name for copy in good})
    if not zones:
        return Reason(_NO, "In no place yet", "no copy counts")
    named = ", ".join(zones[:4]) + (" and others" if len(zones) > 4 else "")
    return Reason(
        _YES if len(zones) > 1 else HEALTH[Health.WAITING], f"In {units.plural(len(zones), 'place')}", named
    )


def _proofs(verdict: Verdict, here: Sequence[Replica]) -> Reason:
    failed = sum(copy.proof_failures > 0 for copy in here)
    if failed:
        return Reason(
            _NO, f"{units.plural(failed, 'copy', 'copies')} failed a proof", "not counted until proven"
        )
    pending = sum(copy.is_proof_pending for copy in here)
    if pending:
        return Reason(_WORK, "Proof pending", f"of {units.plural(pending, 'copy', 'copies')}")
    if not verdict.counted:
        return Reason(HEALTH[Health.WAITING], "Nothing proven yet", "a copy is asked when it is complete")
    return Reason(_YES, "Each proved it", "random blocks, signed by the publisher")
