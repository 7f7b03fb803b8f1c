"""States of drives as pages, command line and alerts show them."""

from __future__ import annotations

from typing import Final

from django.db.models import TextChoices


class Health(TextChoices):
    """States, the first that applies wins."""

    REMOVING = "removing", "removing"
    """Copies are being deleted."""
    PAUSED = "paused", "paused"
    """Nothing is placed or moved; what is here is served."""
    REWRITTEN = "rewritten", "rewritten"
    """Its publisher rewrote its history; copies keep the old one."""
    UNAVAILABLE = "unavailable", "unavailable"
    """It has content, and no complete copy is online."""
    AT_RISK = "at_risk", "at risk"
    """Fewer copies count than wanted, and nothing arrives."""
    COPYING = "copying", "copying"
    """Fewer copies count than wanted, and blocks arrive."""
    WAITING = "waiting", "waiting"
    """Nothing of it was seen yet."""
    SAFE = "safe", "safe"
    """As many copies count as are wanted at least."""


UNWELL: Final = (Health.UNAVAILABLE, Health.AT_RISK, Health.REWRITTEN)
"""What an operator should look at."""
WORST_FIRST: Final = (*UNWELL, Health.COPYING, Health.WAITING, Health.PAUSED, Health.REMOVING, Health.SAFE)
"""The order of lists."""
RANK: Final = {health: rank for rank, health in enumerate(WORST_FIRST)}
