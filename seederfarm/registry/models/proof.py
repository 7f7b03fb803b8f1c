"""Challenges to workers, answered with merkle proofs."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from .fields import KeyField
from .replica import Replica


class Challenge(models.Model):
    """Random blocks that a worker must prove."""

    class Outcome(models.TextChoices):
        OPEN = "", "waiting"
        PROVEN = "proven", "proven"
        WRONG = "wrong", "wrong answer"
        LATE = "late", "no answer in time"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    """Made by `control.reports.challenge_ids`."""
    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="challenges")
    core = KeyField()
    """Key of the challenged core: the drive's own, or that of its blobs."""
    blocks = models.JSONField(default=list)
    sent_at = models.DateTimeField(default=timezone.now)
    deadline = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=6, choices=Outcome.choices, default=Outcome.OPEN, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    length = models.PositiveBigIntegerField(null=True)
    """Blocks of the key's own core under the signed head that the answer proved, or the answer before it (for
    the blobs core). None: nothing proven yet."""
    fork = models.PositiveBigIntegerField(null=True)
    """Fork of that head."""

    class Meta:
        ordering = ("-sent_at",)
        indexes = (
            # challenges that are past their deadline
            models.Index(fields=["deadline"], condition=Q(outcome=""), name="challenge_open"),
        )

    def __str__(self) -> str:
        return f"challenge {self.id}"
