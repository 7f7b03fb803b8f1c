"""What the reconciler remembers between its runs."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class PlanState(models.Model):
    """One row: the farm has one plan. Only who holds the reconciler's lock changes it, but for `wanted`."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    unfinished = models.BooleanField(default=False)
    """A run took drives off the list of those to be planned, and did not come to its end: which ones they
    were is not known, so all are checked."""
    wanted = models.BooleanField(default=False)
    """Something happened that may concern any drive, such as a new worker, or so many that no mark was put
    on each: check all as soon as may be."""
    swept_at = models.DateTimeField(null=True)
    """When all drives had been checked the last time."""
    swept_seconds = models.FloatField(default=0.0)
    """How long that took, without what was done for drives that were found to need it."""

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="plan_state_only_one"),)

    @classmethod
    def load(cls) -> PlanState:
        return cls.objects.get_or_create(pk=cls.ONLY)[0]

    @classmethod
    def want(cls) -> None:
        """Have all drives checked."""
        cls.load()
        cls.objects.filter(wanted=False).update(wanted=True)

    def __str__(self) -> str:
        return "state of the plan"
