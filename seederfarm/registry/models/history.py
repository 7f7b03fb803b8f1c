"""Flight recorder, alerts, samples for charts, audit log."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .drive import Drive
from .worker import Worker

FORK_ALERT: Final = "drive.forked"
"""Kind of alerts about writers that rewrote a quarantined core."""


class Severity(models.TextChoices):
    """The weight of an event or alert."""

    INFO = "info", "info"
    WARNING = "warning", "warning"
    ERROR = "error", "error"


class Event(models.Model):
    """An event of a drive or a worker. Outlives both: the text names them."""

    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=40)
    """A stable word such as `replica.complete`, `worker.lost`, `source.failed`."""
    severity = models.CharField(max_length=7, choices=Severity.choices, default=Severity.INFO)
    drive = models.ForeignKey(Drive, null=True, on_delete=models.SET_NULL, related_name="events")
    worker = models.ForeignKey(Worker, null=True, on_delete=models.SET_NULL, related_name="events")
    text = models.CharField(max_length=500)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=["at", "id"], name="event_at"),  # retention, lists
            models.Index(fields=["kind", "-id"], name="event_kind"),
        )

    def __str__(self) -> str:
        return self.text


class Alert(models.Model):
    """A state that needs a person. One per `subject`; resolved by the code that opened it."""

    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=200)
    """Identifies the alert, so that the same state opens it once: `worker.lost:3`, `drive.under:17`."""
    severity = models.CharField(max_length=7, choices=Severity.choices, default=Severity.WARNING)
    text = models.CharField(max_length=500)
    """The headline."""
    what = models.CharField(max_length=500, blank=True)
    kept = models.CharField(max_length=500, blank=True)
    """What is safe in spite of it."""
    does = models.CharField(max_length=500, blank=True)
    """What the farm does about it."""
    hint = models.CharField(max_length=500, blank=True)
    """What a person can do."""
    drive = models.ForeignKey(Drive, null=True, on_delete=models.CASCADE, related_name="alerts")
    worker = models.ForeignKey(Worker, null=True, on_delete=models.CASCADE, related_name="alerts")
    count = models.PositiveIntegerField(default=1)
    opened_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    clear_since = models.DateTimeField(null=True, editable=False)
    """Since when its condition is over, while it still may return."""
    resolved_at = models.DateTimeField(null=True, blank=True)
    silenced_until = models.DateTimeField(null=True, editable=False)
    """The end of the longest silence that fits (`services.silences.apply_silences`)."""
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["subject"], condition=Q(resolved_at__isnull=True), name="alert_open_once"
            ),
        )
        indexes = (
            # the newest that are over, and retention
            models.Index(
                fields=["-resolved_at"], condition=Q(resolved_at__isnull=False), name="alert_resolved"
            ),
        )

    def __str__(self) -> str:
        return self.text

    @property
    def lasted(self) -> float:
        """Seconds from its opening to its end, or until now."""
        return ((self.resolved_at or timezone.now()) - self.opened_at).total_seconds()


class Sample(models.Model):
    """A span of a measured value, for charts: rolled up from finer to coarser spans."""

    class Scope(models.TextChoices):
        """What a sample is about."""

        FARM = "farm", "farm"
        WORKER = "worker", "worker"
        DRIVE = "drive", "drive"

    scope = models.CharField(max_length=6, choices=Scope.choices)
    subject = models.BigIntegerField(default=0)
    """Primary key of the worker or drive; 0 for the farm. No foreign key: retention removes samples."""
    metric = models.CharField(max_length=40)
    """Such as `bytes_up`, `bytes_down`, `cpu`, `disk_free`, `replicas_complete`."""
    span = models.PositiveIntegerField()
    """Seconds that the sample covers."""
    at = models.DateTimeField()
    """Its beginning, a multiple of `span`."""
    count = models.PositiveIntegerField(default=1)
    total = models.FloatField(default=0.0)
    minimum = models.FloatField(default=0.0)
    maximum = models.FloatField(default=0.0)

    class Meta:
        ordering = ("-at",)
        constraints = (
            models.UniqueConstraint(fields=["scope", "subject", "metric", "span", "at"], name="sample_once"),
            models.CheckConstraint(condition=Q(span__gt=0), name="sample_span_positive"),
        )
        indexes = (models.Index(fields=["span", "at"], name="sample_age"),)  # roll-up and retention

    def __str__(self) -> str:
        return f"{self.metric} of {self.scope} {self.subject} at {self.at:%Y-%m-%d %H:%M}"

    @property
    def average(self) -> float:
        """Mean of the measurements; 0 without any."""
        return self.total / self.count if self.count else 0.0


class AuditEntry(models.Model):
    """An action of a person, a token or the farm. Never changed; names are kept when user and object are
    gone."""

    at = models.DateTimeField(default=timezone.now)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    actor = models.CharField("who", max_length=150)
    """The user's name, or `cli`, `source NAME`, `farm`."""
    action = models.CharField(max_length=40)
    """A stable word such as `drive.add`, `worker.drain`."""
    target = models.CharField("what", max_length=200, blank=True)
    text = models.CharField(max_length=500)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        indexes = (models.Index(fields=["at"], name="audit_at"),)

    def __str__(self) -> str:
        return f"{self.actor}: {self.text}"
