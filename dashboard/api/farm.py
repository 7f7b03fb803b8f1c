"""The farm as a whole."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router

from ..reads.farm import overview
from ..reads.frame import open_alerts
from .access import READ
from .shapes import FarmShape

NO_DRIVES: Final = "No drive yet. Add a key, and workers copy it."
"""Instead of the sentence of the overview, which a farm without drives does not have."""
router: Final = Router(tags=["farm"])


@router.get("/farm", response=FarmShape, auth=READ)
def get_farm(request: HttpRequest) -> Any:
    """Numbers of the farm, and one sentence on how it is."""
    seen = overview(timezone.now())
    numbers, sentence = seen.numbers, seen.sentence
    return FarmShape(
        name=settings.FARM.name,
        summary=f"{sentence.title}. {sentence.text}" if numbers.drives else NO_DRIVES,
        drives=numbers.drives,
        by_state={health: number for health, _, number in seen.by_health},
        copies=numbers.copies,
        complete_copies=numbers.complete,
        proven_copies=numbers.proven,
        oldest_proof=numbers.oldest_proof,
        workers=numbers.workers,
        workers_online=numbers.online,
        workers_pending=len(seen.pending),
        used_bytes=numbers.used,
        room_bytes=numbers.room,
        served_bytes=round(numbers.served),
        open_alerts=open_alerts(),
    )
