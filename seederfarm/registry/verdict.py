"""May the publisher of a drive go offline? Answered from proofs, in words for pages and command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from workers import units

from .health import Health, counts, facts_of, health_of, is_rewritten
from .models import Drive, Replica


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for a drive at one moment."""

    health: Health
    is_safe: bool
    """Whether as many copies as wanted are proven, so that the publisher may go offline."""
    counted: int
    """Copies that count."""
    wanted: int
    """Copies at least."""
    proven_at: datetime | None
    """The oldest proof among the copies that count. None: none counts."""
    claim: str
    """`Safe to go offline: 3 complete copies`; what is true, without its age."""
    reason: str
    """A sentence or two: the reason for the claim."""

    def sentence(self, now: datetime) -> str:
        """The claim with the age of the oldest proof that it counts."""
        if self.proven_at is None:
            return self.claim
        return f"{self.claim}, proven {units.format_age((now - self.proven_at).total_seconds())}"


def verdict_of(drive: Drive, now: datetime, copies: Sequence[Replica] | None = None) -> Verdict:
    """`copies` are all of the drive with their workers; without them they are loaded. Two queries at most."""
    if copies is None:
        copies = list(drive.replicas.select_related("worker"))
    facts = facts_of(drive, copies, is_rewritten=bool(is_rewritten([drive])), now=now)
    health = health_of(facts)
    proofs = [
        copy.last_proven_at for copy in copies if counts(copy, drive, now) and copy.last_proven_at is not None
    ]
    stays = drive.state != Drive.State.REMOVING and not facts.is_rewritten
    is_safe = stays and facts.is_known and facts.counted >= facts.wanted
    claim, reason = _words(drive, copies, health, facts.counted, now, is_safe=is_safe)
    oldest = min(proofs, default=None)
    return Verdict(health, is_safe, facts.counted, facts.wanted, oldest, claim, reason)


def _words(
    drive: Drive, copies: Sequence[Replica], health: Health, counted: int, now: datetime, *, is_safe: bool
) -> tuple[str, str]:
    if is_safe:
        claim = f"Safe to go offline: {_copies(counted)}"
        seen = "" if drive.observed_at is None else f", first seen {_ago(drive.observed_at, now)}"
        paused = " It is paused: lost copies are not made again." if health is Health.PAUSED else ""
        return claim, f"The farm has everything up to version {drive.length:,}{seen}.{paused}"
    match health:
        case Health.REMOVING:
            return "No: the farm is removing it", "Workers are deleting their copies."
        case Health.REWRITTEN:
            kept = f" up to version {drive.length:,}" if drive.length else ""
            return (
                "No: its publisher rewrote history",
                f"Copies keep the old one{kept}, until a person lets them follow.",
            )
        case Health.WAITING:
            return (
                "Not yet: nothing has arrived",
                "No peer that has it was met. Its publisher should stay online.",
            )
        case Health.UNAVAILABLE:
            return (
                "No: no complete copy is online",
                f"{_fullest(copies, now)} If you have it, please come online.",
            )
    if counted:
        there = units.plural(counted, "copy", "copies")
        claim = f"Better stay online: {there} of at least {drive.replicas_min}"
    else:
        claim = "Not yet: please stay online"
    return claim, _progress(drive, copies, health, counted, now)


def _progress(drive: Drive, copies: Sequence[Replica], health: Health, counted: int, now: datetime) -> str:
    """Why a drive with a complete copy, or one under way, is not safe yet."""
    rest = [copy for copy in copies if copy.desired and not counts(copy, drive, now)]
    pending = [copy for copy in rest if copy.is_complete]
    parts: list[str] = []
    if not pending and rest:
        best = max(rest, key=lambda copy: (copy.fork, copy.have_blocks))
        share = units.format_percent(best.share or 0.0)
        version = "" if drive.length is None else f" of version {drive.length:,}"
        what = "of another copy is" if counted else f"{version.strip()} is"
        parts.append(f"{share} {what} here.")
    elif pending:
        parts.append(_doubt(pending, drive, now))
    if health is Health.PAUSED:
        parts.append("It is paused, so no more copies are made.")
    elif health is Health.AT_RISK and not pending:
        parts.append("Nothing arrives at the moment.")
    elif not counted:
        parts.append("The first proven copy is the one that counts.")
    return " ".join(parts)


def _doubt(pending: Sequence[Replica], drive: Drive, now: datetime) -> str:
    """The reason why complete copies do not count."""
    copy = pending[0]
    name = copy.worker.name
    out = f"The copy on {name} is not counted"
    if copy.worker.lost_since is not None:
        return f"{out}: the worker was last heard {_ago(copy.worker.last_seen_at, now)}."
    if copy.worker.paused:
        return f"{out}: the worker is paused."
    if copy.proof_failures:
        return f"{out}: it could not prove itself {_times(copy.proof_failures)}."
    if copy.length < (drive.length or 0) or copy.fork < (drive.fork or 0):
        return f"The copy on {name} has version {copy.length:,} of {drive.length:,}."
    if (copy.proven_fork, copy.proven_length) < (drive.fork or 0, drive.length or 0) and copy.proven:
        return f"The copy on {name} has proven version {copy.proven_length:,} of {drive.length:,}."
    if copy.last_proven_at is None or not copy.proven:
        return f"The copy on {name} is complete, and its proof is pending."
    return f"The copy on {name} was last proven {_ago(copy.last_proven_at, now)}: too long ago."


def _fullest(copies: Sequence[Replica], now: datetime) -> str:
    """Where most of it is."""
    here = [copy for copy in copies if copy.desired and copy.have_blocks]
    if not here:
        return "No worker has any of it."
    best = max(here, key=lambda copy: (copy.fork, copy.have_blocks))
    heard = _ago(best.worker.last_seen_at, now)
    share = "All of it" if best.have_blocks >= best.total_blocks else units.format_percent(best.share or 0.0)
    return f"{share} is on {best.worker.name}, last heard {heard}."


def _copies(number: int) -> str:
    return units.plural(number, "complete copy", "complete copies")


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times in a row")


def _ago(at: datetime | None, now: datetime) -> str:
    return "never" if at is None else units.format_age((now - at).total_seconds())
