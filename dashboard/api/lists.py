"""Pages of copies and events, of whatever they are."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from seederfarm.registry.models import Event, Replica

from .paging import LATEST, NEWEST, PageOf, PageQuery, in_order
from .shapes import CopyShape, EventShape


def page_of_copies(rows: QuerySet[Replica], query: PageQuery) -> PageOf[CopyShape]:
    """The newest first. Two queries. Raises ProblemError (422): not a cursor of this list."""
    ids, following = NEWEST.page(rows, query)
    copies: list[Any] = in_order(ids, Replica.objects.select_related("worker", "drive"))
    now = timezone.now()
    return PageOf[CopyShape](items=[CopyShape.of(copy, now) for copy in copies], next=following)


def page_of_events(rows: QuerySet[Event], query: PageQuery) -> PageOf[EventShape]:
    """The latest first. Two queries. Raises ProblemError (422): not a cursor of this list."""
    ids, following = LATEST.page(rows, query)
    events = in_order(ids, Event.objects.select_related("drive", "worker"))
    return PageOf[EventShape](items=[EventShape.of(event) for event in events], next=following)
