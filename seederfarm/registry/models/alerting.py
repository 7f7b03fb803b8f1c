"""The settings of alerts: rules, silences, channels; and their deliveries."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ..alert_rules import RULES
from .drive import Drive, Tag
from .history import Alert, Severity
from .worker import Worker

MAX_SECONDS = 366 * 86400
"""The longest time that a rule or a channel may wait. Ours."""


class AlertChannel(models.Model):
    """A receiver of messages about alerts."""

    class Kind(models.TextChoices):
        """How a message is sent."""

        EMAIL = "email", "e-mail"
        WEBHOOK = "webhook", "webhook"
        NTFY = "ntfy", "ntfy"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=7, choices=Kind.choices)
    target = models.CharField(
        max_length=1000,
        help_text="Addresses with commas between (e-mail), a URL (webhook), the URL of a topic (ntfy).",
    )
    secret = models.CharField(
        max_length=200,
        blank=True,
        help_text="Signs the messages of a webhook; the access token of ntfy. Never shown again.",
    )
    min_severity = models.CharField(
        "at least", max_length=7, choices=Severity.choices, default=Severity.WARNING
    )
    sends_closed = models.BooleanField("says when it is over", default=True)
    remind_every = models.PositiveIntegerField(
        "repeats",
        default=86400,
        validators=[MaxValueValidator(MAX_SECONDS)],
        help_text="Seconds after which an alert that is not acknowledged is sent again. 0: never.",
    )
    enabled = models.BooleanField(default=True)
    active_since = models.DateTimeField(default=timezone.now, editable=False)
    """Alerts that opened before are not sent."""
    last_ok_at = models.DateTimeField(null=True, editable=False)
    last_failed_at = models.DateTimeField(null=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def works(self) -> bool | None:
        """Whether the last message was taken. None: none was sent yet."""
        if self.last_ok_at is None and self.last_failed_at is None:
            return None
        return self.last_failed_at is None or (
            self.last_ok_at is not None and self.last_ok_at >= self.last_failed_at
        )


class AlertRule(models.Model):
    """The differences from the defaults of a rule (`registry.alert_rules`). No row: none."""

    kind = models.CharField(max_length=40, primary_key=True)
    enabled = models.BooleanField(default=True)
    threshold = models.PositiveIntegerField(null=True, blank=True)
    opens_after = models.PositiveIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(MAX_SECONDS)]
    )
    """Seconds that the condition lasts before the alert opens."""
    closes_after = models.PositiveIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(MAX_SECONDS)]
    )
    """Seconds that the condition is over before the alert closes."""
    all_channels = models.BooleanField(default=True)
    channels = models.ManyToManyField(AlertChannel, blank=True, related_name="rules")
    """Where it is sent, unless `all_channels`."""

    def __str__(self) -> str:
        return self.kind


class AlertWatch(models.Model):
    """A condition that holds, and not yet for long enough to open an alert."""

    subject = models.CharField(max_length=200, primary_key=True)
    """`Alert.subject`; `*` is the last run of the rules."""
    kind = models.CharField(max_length=40)
    since = models.DateTimeField()

    def __str__(self) -> str:
        return self.subject


class AlertSilence(models.Model):
    """No messages about some alerts until a time. What is given must all fit; something is."""

    rule = models.CharField(max_length=40, blank=True)
    """`Alert.kind`."""
    worker = models.ForeignKey(Worker, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    drive = models.ForeignKey(Drive, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    tag = models.ForeignKey(Tag, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    """Of the drive, or a word among the tags of the worker."""
    reason = models.CharField(max_length=200, blank=True)
    actor = models.CharField(max_length=150)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField()

    class Meta:
        ordering = ("ends_at", "id")
        constraints = (
            models.CheckConstraint(
                condition=~Q(rule="")
                | Q(worker__isnull=False)
                | Q(drive__isnull=False)
                | Q(tag__isnull=False),
                name="silence_of_something",
            ),
        )
        indexes = (models.Index(fields=["ends_at"], name="silence_ends"),)

    def __str__(self) -> str:
        known = RULES.get(self.rule)
        about = [str(part) for part in (known.title if known else self.rule, self.worker, self.drive) if part]
        return ", ".join(about if self.tag is None else [*about, f"tag {self.tag}"])


class AlertDelivery(models.Model):
    """A message to a channel. The row is made before anything is sent, and claimed by one process."""

    class Kind(models.TextChoices):
        """Why it is sent."""

        OPENED = "opened", "opened"
        REMINDER = "reminder", "still open"
        CLOSED = "closed", "over"
        DIGEST = "digest", "digest"
        TEST = "test", "test"

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        SENDING = "sending", "being sent"
        SENT = "sent", "sent"
        UNSURE = "unsure", "may not have arrived"
        """Its process ended while the message was under way: it is not sent twice."""
        FAILED = "failed", "failed"
        DROPPED = "dropped", "no longer of use"
        DIGESTED = "digested", "in a digest"

    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="deliveries")
    alert = models.ForeignKey(Alert, null=True, on_delete=models.CASCADE, related_name="deliveries")
    """None: a digest or a test."""
    digest = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="parts")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    number = models.PositiveIntegerField(default=0, validators=[MinValueValidator(0)])
    """Of reminders: which one."""
    uid = models.UUIDField(default=uuid.uuid4, unique=True)
    """The same for each attempt: receivers know repetitions by it."""
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    claim = models.UUIDField(null=True)
    """Of the process that sends it."""
    claimed_until = models.DateTimeField(null=True)
    handed_over_at = models.DateTimeField(null=True)
    """When its transmission began."""
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "alert deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=["channel", "alert", "kind", "number"],
                condition=Q(alert__isnull=False),
                name="delivery_once",
            ),
            models.UniqueConstraint(
                fields=["channel"],
                condition=Q(kind="digest", state="waiting", tries=0),
                name="delivery_one_digest_fills",
            ),
        )
        indexes = (
            # what is due
            models.Index(
                fields=["next_at"], condition=Q(state__in=["waiting", "sending"]), name="delivery_due"
            ),
            # how many a channel got lately
            models.Index(fields=["channel", "created_at"], name="delivery_of_channel"),
        )

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel}"
