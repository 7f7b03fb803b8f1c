"""State of the reconciler between its runs, and of the control process."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class PlanState(models.Model):
    """One row: the farm has one plan. Only the holder of the reconciler's lock changes it, except for
    `sweep_requested`."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    unfinished = models.BooleanField(default=False)
    """A run took drives off the list and did not finish: which ones is unknown, so all are checked."""
    sweep_requested = models.BooleanField(default=False)
    """Check all drives as soon as possible: a change may concern any (a new worker), or too many to mark each
    one."""
    swept_at = models.DateTimeField(null=True)
    """When the last sweep ended, a check of all drives."""
    swept_seconds = models.FloatField(default=0.0)
    """Seconds that it took, without planning the drives found."""

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="plan_state_only_one"),)

    @classmethod
    def load(cls) -> PlanState:
        """Return the row; make it if there is none."""
        return cls.objects.get_or_create(pk=cls.ONLY)[0]

    @classmethod
    def request_sweep(cls) -> None:
        """Request a sweep of all drives."""
        cls.load()
        cls.objects.filter(sweep_requested=False).update(sweep_requested=True)

    def __str__(self) -> str:
        return "state of the plan"


class ControlPulse(models.Model):
    """One row: the last time that control did what beat starts every few seconds, and its measurements."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    at = models.DateTimeField()
    queues = models.JSONField(default=dict)
    """Messages that wait, by kind of queue: control, reports, join, workers, worker_reports. Empty: the
    broker did not answer."""
    broker_used_bytes = models.PositiveBigIntegerField(null=True)
    broker_max_bytes = models.PositiveBigIntegerField(null=True)
    """What the broker may use. None: not limited, or not known."""
    cpu_seconds = models.FloatField(default=0.0)
    """Processor time of the control process since its start."""
    memory_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="control_pulse_only_one"),)

    def __str__(self) -> str:
        return f"pulse of control at {self.at:%H:%M:%S}"
