"""The drives that a user has seen in the list."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class SeenDrives(models.Model):
    """The drives that are new to a user: those above `up_to`, without `also`. No row: the user never saw the
    list."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", primary_key=True
    )
    up_to = models.BigIntegerField(default=0)
    """The highest primary key of a drive when the user marked all as seen."""
    also = models.JSONField(default=list)
    """Primary keys above `up_to` that were marked as seen one by one, in order."""

    def __str__(self) -> str:
        return f"drives that {self.user} has seen"
