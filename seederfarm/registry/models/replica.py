"""A copy of a drive on a worker."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.models import Case, F, Q, When
from django.utils import timezone

from farmwire.report import Phase as ReportedPhase

from ..replica_states import LABELS
from .drive import Drive
from .worker import Worker

MAX_PROOF_FAILURES: Final = 3
"""Failed proofs in a row after which a copy that reports to be complete does not count as complete."""


class Replica(models.Model):
    """A drive × worker. While it is `desired`, the worker's assignment lists the key.

    The row is deleted when the worker reports the copy removed (or is retired): at most one for each pair.
    """

    Phase = ReportedPhase

    # Both begin an index below; each further index costs time for every new copy.
    drive = models.ForeignKey(Drive, on_delete=models.CASCADE, related_name="replicas", db_index=False)
    worker = models.ForeignKey(Worker, on_delete=models.PROTECT, related_name="replicas", db_index=False)
    desired = models.BooleanField(default=True)
    """False: released; the worker must remove it and report that."""
    released_at = models.DateTimeField(null=True, blank=True)
    phase = models.CharField(max_length=11, choices=LABELS, default=Phase.ASSIGNED.value)

    # as the worker reported it
    length = models.PositiveBigIntegerField(default=0)
    fork = models.PositiveBigIntegerField(default=0)
    have_blocks = models.PositiveBigIntegerField(default=0)
    total_blocks = models.PositiveBigIntegerField(default=0)
    have_bytes = models.PositiveBigIntegerField(default=0)
    total_bytes = models.PositiveBigIntegerField(default=0)
    unavailable_blocks = models.PositiveBigIntegerField(default=0)
    """Missing blocks that no peer is known to have. A complete copy lacks no others."""
    unavailable_bytes = models.PositiveBigIntegerField(default=0)
    gaps = models.TextField(blank=True, default="", editable=False)
    """Missing blocks: see `farmwire.gaps.to_text`. Empty for whole copies, and during download."""
    peers = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    last_report_at = models.DateTimeField("reported", null=True)
    """The worker's `observed_at` of the newest report that was used."""
    completed_at = models.DateTimeField(null=True)
    """When it last became complete at the length that it has."""
    grew_at = models.DateTimeField(null=True, editable=False)
    """When a report last had more blocks than the one before, by our clock."""

    # proof of availability
    last_challenged_at = models.DateTimeField(null=True)
    last_proven_at = models.DateTimeField("proven", null=True)
    proven_length = models.PositiveBigIntegerField(default=0)
    """Blocks of the key's own core under the signed head of the last proof."""
    proven_fork = models.PositiveBigIntegerField(default=0)
    """Fork of that head."""
    proof_failures = models.PositiveIntegerField(default=0)
    """In a row, since it was last proven."""
    proven = models.GeneratedField(
        expression=Case(
            When(
                phase="complete",
                proof_failures__lt=MAX_PROOF_FAILURES,
                last_proven_at__gte=F("completed_at"),
                then=True,
            ),
            default=False,
        ),
        output_field=models.BooleanField(),
        db_persist=True,
    )
    """Whether it is complete and has proven that since, so that it can replace another copy. A copy without
    blocks cannot prove anything. What counts towards a safe drive is `health.counts`."""

    search_again_sent_at = models.DateTimeField(null=True, editable=False)
    """When the worker was last sent the request to look for blocks that other copies have."""

    created_at = models.DateTimeField("assigned", default=timezone.now)

    class Meta:
        ordering = ("-id",)
        verbose_name = "copy"
        verbose_name_plural = "copies"
        constraints = (
            models.UniqueConstraint(fields=["drive", "worker"], name="replica_one_per_drive_and_worker"),
            models.CheckConstraint(
                condition=Q(desired=True, released_at__isnull=True)
                | Q(desired=False, released_at__isnull=False),
                name="replica_released_when_not_desired",
            ),
            models.CheckConstraint(
                condition=Q(phase__in=[phase.value for phase in ReportedPhase]),
                name="replica_phase_known",
            ),
        )
        indexes = (
            # a worker's assignment, in the order of its pages; all that a worker has
            models.Index(fields=["worker", "drive"], name="replica_of_worker"),
            # released copies that a worker has not confirmed
            models.Index(fields=["worker"], condition=Q(desired=False), name="replica_released"),
            # proofs that are due, longest ago first
            models.Index(
                fields=["last_challenged_at"],
                condition=Q(desired=True, phase="complete"),
                name="replica_to_prove",
            ),
            # copies that are new, or failed: those are asked first
            models.Index(
                fields=["last_challenged_at"],
                condition=Q(desired=True, phase="complete", proven=False),
                name="replica_unproven",
            ),
            # control.alerts: copies whose last answer was wrong
            models.Index(fields=["id"], condition=Q(proof_failures__gt=0), name="replica_wrong"),
            # control.completing
            models.Index(fields=["drive"], condition=Q(unavailable_blocks__gt=0), name="replica_with_gaps"),
            # what is still to be downloaded, and the admin's "in error" list; queries.with_load counts in it
            models.Index(
                fields=["worker", "phase", "desired"],
                condition=~Q(phase="complete"),
                name="replica_unfinished",
            ),
        )

    def __str__(self) -> str:
        return f"copy of {self.drive} on {self.worker}"

    @property
    def is_complete(self) -> bool:
        """Whether the worker reports every available block."""
        return self.phase == self.Phase.COMPLETE

    @property
    def is_proof_pending(self) -> bool:
        """Whether it reports to be complete and has not proven that yet."""
        return self.is_complete and not self.proven and not self.proof_failures and self.length > 0

    @property
    def share(self) -> float | None:
        """Part of the known bytes that is stored, 0 to 1. None while the size is unknown."""
        if not self.total_bytes:
            return 1.0 if self.is_complete else None
        return min(1.0, self.have_bytes / self.total_bytes)
