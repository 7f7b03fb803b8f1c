"""Numbers that are counted now and then, since counting takes a pass over all copies."""

from __future__ import annotations

from django.db import models

from .worker import Worker


class WorkerTally(models.Model):
    """The copies of a worker when they were last counted."""

    worker = models.OneToOneField(Worker, on_delete=models.CASCADE, related_name="tally", primary_key=True)
    copies = models.PositiveBigIntegerField(default=0)
    """Copies that it should have."""
    complete = models.PositiveBigIntegerField(default=0)
    """Those of them that it reports to be complete."""
    proven = models.PositiveBigIntegerField(default=0)
    """Those that it has proven within a day."""
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.copies} copies of {self.worker_id}"
