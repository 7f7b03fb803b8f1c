"""The states of drives, day by day."""

from __future__ import annotations

from django.db import models

from .drive import Drive


class DriveDay(models.Model):
    """A day (UTC) on which the state of a drive changed. On days without a row it was as it ended before.

    Its seconds are those until the last change of the day; `registry.uptime` adds the rest.
    """

    drive = models.ForeignKey(Drive, on_delete=models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    safe = models.PositiveIntegerField(default=0)
    at_risk = models.PositiveIntegerField(default=0)
    unavailable = models.PositiveIntegerField(default=0)
    ends = models.CharField(max_length=11, blank=True)
    """Name of the column in which the rest of the day counts, and those after it. Empty: in none."""

    class Meta:
        ordering = ("drive", "day")
        constraints = (models.UniqueConstraint(fields=["drive", "day"], name="drive_day_once"),)
        indexes = (models.Index(fields=["day"], name="drive_day_age"),)  # uptime.prune

    def __str__(self) -> str:
        return f"{self.drive_id} on {self.day}"


class StateChange(models.Model):
    """A drive passed from one state (`Health`) into another. Retention deletes old rows, as events."""

    at = models.DateTimeField()
    drive = models.BigIntegerField()
    """Primary key. No foreign key: a drive that is removed need not find them."""
    before = models.CharField(max_length=11)
    after = models.CharField(max_length=11)

    class Meta:
        ordering = ("id",)
        indexes = (models.Index(fields=["at"], name="state_change_age"),)  # retention

    def __str__(self) -> str:
        return f"{self.drive}: {self.before}, then {self.after}"
