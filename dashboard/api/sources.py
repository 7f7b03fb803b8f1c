"""Operations on sources of keys."""

from __future__ import annotations

from typing import Annotated, Any, Final

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from ninja import Path, Query, Router

from seederfarm.registry.models import Source, SourceEntry

from .access import READ
from .paging import Order, PageOf, PageQuery, Text, in_order
from .problems import ProblemError
from .shapes import SourceShape

router: Final = Router(tags=["sources"])

Name = Annotated[Text, Path(description="Its name.", max_length=100)]
BY_NAME: Final = Order("name", "name", str, down=False)


def _complete() -> QuerySet[Any]:
    entries = SourceEntry.objects.filter(source=OuterRef("pk")).order_by().values("source")
    number = Subquery(entries.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
    return Source.objects.prefetch_related("tags").annotate(keys=Coalesce(number, 0))


def source_of(name: str, rows: QuerySet[Any] | None = None) -> Any:
    """Raises ProblemError (404)."""
    found = (
        (Source.objects.all() if rows is None else rows).filter(name=name).first()
        if "\0" not in name
        else None
    )
    if found is None:
        raise ProblemError(404, "No source of this farm has this name.")
    return found


@router.get("/sources", response=PageOf[SourceShape], auth=READ)
def list_sources(request: HttpRequest, query: Query[PageQuery]) -> Any:
    """List sources by name."""
    ids, following = BY_NAME.page(Source.objects.all(), query)
    sources = in_order(ids, _complete())
    return PageOf[SourceShape](items=[SourceShape.of(source) for source in sources], next=following)


@router.get("/sources/{name}", response=SourceShape, auth=READ)
def get_source(request: HttpRequest, name: Name) -> Any:
    """One source."""
    return SourceShape.of(source_of(name, _complete()))
