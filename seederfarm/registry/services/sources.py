"""What becomes of keys when their source is deleted."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef

from ..models import Drive, SourceEntry


def adopt(instance: Any, **_: Any) -> None:
    """Before a source is deleted: keys that it alone listed stay, as if somebody had added them."""
    others = SourceEntry.objects.filter(drive=OuterRef("pk")).exclude(source=instance)
    listed = SourceEntry.objects.filter(source=instance).values("drive_id")
    Drive.objects.filter(~Exists(others), pk__in=listed, by_hand=False).exclude(
        state=Drive.State.REMOVING
    ).update(by_hand=True)
