"""Workers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact
from django.utils import timezone

from ..worker_states import WorkerState
from .fields import TagListField, validate_clients, validate_keys

SILENT_AFTER: Final = 3.0
"""Missed heartbeats after which a worker is silent: it gets no new replicas."""


def silent_since(now: datetime) -> datetime:
    """Return the time since which a worker that is not silent has reported."""
    return now - timedelta(seconds=SILENT_AFTER * settings.FARM.heartbeat)


class Worker(models.Model):
    """A machine (or a part of one) that keeps copies. `node_id`, its public key, identifies it in
    messages."""

    State = WorkerState

    node_id = models.CharField("worker id", max_length=52, unique=True, editable=False)
    """z-base-32 of its ed25519 public key."""
    name = models.CharField(max_length=100, unique=True)
    zone = models.CharField(
        "place",
        max_length=100,
        blank=True,
        help_text="Copies are spread over places: a site, a rack, a provider.",
    )
    tags = TagListField(help_text="Words that drives may require, such as disk/ssd.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    weight = models.FloatField(
        default=1.0,
        validators=[MinValueValidator(0.0)],
        help_text="Share of new copies in proportion to its free room: 2 gets twice as many, 0 none.",
    )
    paused = models.BooleanField(
        default=False, help_text="Seeds nothing while paused, and keeps what it has."
    )
    note = models.TextField(blank=True)

    # its limits
    quota_bytes = models.PositiveBigIntegerField(
        "quota",
        null=True,
        blank=True,
        help_text="What it may use for content. Empty: what the disk has, less headroom.",
    )
    upload_limit = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="A second. Empty: no limit."
    )
    download_limit = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="A second. Empty: no limit."
    )

    # what clients may at its blind peer
    blind_clients = models.TextField(
        "who may ask",
        blank=True,
        validators=[validate_clients],
        help_text="Apps that may have cores kept: anyone, none, or their public keys with commas between "
        "them. Empty: anyone. Those that the machine's own settings keep out stay out.",
    )
    blind_trusted = models.TextField(
        "trusted apps",
        blank=True,
        validators=[validate_keys],
        help_text="Public keys of apps that may also have cores announced and delete them.",
    )
    blind_max_cores = models.PositiveBigIntegerField(
        "cores of one app",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Empty: 32,768. What is kept already stays.",
    )
    blind_max_bytes = models.PositiveBigIntegerField(
        "bytes of one app", null=True, blank=True, help_text="Empty: no limit. What is kept already stays."
    )

    # its last reports
    capacity_bytes = models.PositiveBigIntegerField("capacity", null=True, editable=False)
    free_bytes = models.PositiveBigIntegerField("free", null=True, editable=False)
    used_bytes = models.PositiveBigIntegerField("used", null=True, editable=False)
    """Bytes of content."""
    software = models.CharField(max_length=64, blank=True, editable=False)
    host = models.JSONField(default=dict, editable=False)
    """The last host statistics as reported (farmwire.report.HostStats)."""
    engine = models.JSONField(default=dict, editable=False)
    """The last engine statistics as reported (farmwire.report.EngineStats)."""
    last_seen_at = models.DateTimeField("last seen", null=True, editable=False)
    run = models.CharField(max_length=32, blank=True, editable=False)
    """The random id of its run that reported last (farmwire.report.Heartbeat)."""
    run_seq = models.PositiveBigIntegerField(default=0, editable=False)
    """The sequence number of the first heartbeat of that run since another one reported."""
    former_run = models.CharField(max_length=32, blank=True, editable=False)
    """The run that reported before."""
    assignment_version = models.PositiveBigIntegerField(default=0, editable=False)
    """Version of the reported assignment; the current one is in AssignmentState."""
    assignment_digest = models.CharField(max_length=128, blank=True, editable=False)
    """Digest of the reported assignment: farmwire.assignment.Assignment.digest."""

    # signed messages
    last_seq_in = models.PositiveBigIntegerField(default=0, editable=False)
    """The highest sequence number accepted from it."""
    replay_window = models.CharField(max_length=300, blank=True, editable=False)
    """Which of the numbers below were accepted (farmwire.replay.ReplayWindow)."""
    next_seq_out = models.PositiveBigIntegerField(default=1, editable=False)
    refused = models.PositiveBigIntegerField("refused messages", default=0, editable=False)
    refused_reason = models.CharField(max_length=200, blank=True, editable=False)
    broker_hash = models.CharField(max_length=64, blank=True, editable=False)
    """SHA-256 of the password of its account of the broker, hex. Empty: it has the login of its token."""

    # its times
    enrolled_at = models.DateTimeField("joined", default=timezone.now, editable=False)
    draining_since = models.DateTimeField(null=True, editable=False)
    lost_since = models.DateTimeField(null=True, editable=False)
    """Since when it has been silent past the grace; None while it reports."""
    retired_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=Q(Exact(Length("node_id"), 52)) & Q(Exact(Lower("node_id"), F("node_id"))),
                name="worker_node_id_is_z32",
            ),
            models.CheckConstraint(condition=~Q(name=""), name="worker_has_a_name"),
            models.CheckConstraint(condition=Q(weight__gte=0), name="worker_weight_not_negative"),
            models.CheckConstraint(condition=Q(state__in=WorkerState.values), name="worker_state_known"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def queue(self) -> str:
        """The queue that it consumes."""
        return f"node.{self.node_id}.q"

    def is_online(self, now: datetime) -> bool:
        """Whether it has reported and is not silent."""
        return self.last_seen_at is not None and self.last_seen_at >= silent_since(now)


class AssignmentState(models.Model):
    """The assignment that control last built for a worker. A row of its own, so that heartbeats do not
    wait."""

    worker = models.OneToOneField(
        Worker, on_delete=models.CASCADE, related_name="assignment", primary_key=True
    )
    version = models.PositiveBigIntegerField(default=0)
    digest = models.CharField(max_length=128, blank=True)
    """farmwire.assignment.Assignment.digest; empty: not computed since the version changed."""
    entries = models.PositiveIntegerField(default=0)
    built_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"assignment {self.version} of {self.worker_id}"
