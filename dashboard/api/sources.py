"""Operations on sources of keys."""

from __future__ import annotations

from typing import Annotated, Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from ninja import Path, Query, Router, Status

from seederfarm.registry.models import Source, SourceEntry
from seederfarm.registry.models.access import Scope
from seederfarm.registry.services.edits import add_source, edit_source, read_soon, remove_source
from seederfarm.registry.services.sources import accept_removals

from .access import READ, BearerToken, caller_of
from .given import SourceChanges, SourceGiven, invalid
from .paging import Order, PageOf, PageQuery, Text, in_order
from .problems import ProblemError
from .repeats import once
from .shapes import AcceptedShape, SourceShape

router: Final = Router(tags=["sources"])

Name = Annotated[Text, Path(description="Its name.", max_length=100)]
ADD: Final = BearerToken(Scope.SOURCES, "registry.add_source")
CHANGE: Final = BearerToken(Scope.SOURCES, "registry.change_source")
DELETE: Final = BearerToken(Scope.SOURCES, "registry.delete_source")
BY_NAME: Final = Order("name", "name", str, down=False)


def _complete() -> QuerySet[Any]:
    entries = SourceEntry.objects.filter(source=OuterRef("pk")).order_by().values("source")
    number = Subquery(entries.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
    return Source.objects.prefetch_related("tags").annotate(keys=Coalesce(number, 0))


def source_of(name: str, rows: QuerySet[Any] | None = None) -> Any:
    """Return a source by name. Raises ProblemError (404)."""
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


@router.post("/sources", response={201: SourceShape}, auth=ADD)
def create_source(request: HttpRequest, body: SourceGiven) -> Any:
    """Add a source. 409 if its name is taken."""
    return once(request, lambda: _create(request, body))


def _create(request: HttpRequest, body: SourceGiven) -> Any:
    values = body.changes()
    name = values.pop("name")
    if Source.objects.filter(name=name).exists():
        raise ProblemError(409, "A source of this name is there already.")
    try:
        add_source(name, values, caller_of(request).actor)
    except ValidationError as error:
        raise invalid(error) from None
    return Status(201, SourceShape.of(source_of(name, _complete())))


@router.patch("/sources/{name}", response=SourceShape, auth=CHANGE)
def change_source(request: HttpRequest, name: Name, body: SourceChanges) -> Any:
    """Change a source; fields that are not sent stay."""
    try:
        edit_source(source_of(name), body.changes(), caller_of(request).actor)
    except ValidationError as error:
        raise invalid(error) from None
    return SourceShape.of(source_of(name, _complete()))


@router.delete("/sources/{name}", response={204: None}, auth=DELETE)
def delete_source(request: HttpRequest, name: Name) -> Any:
    """Delete a source. Its drives stay."""
    remove_source(source_of(name), caller_of(request).actor)
    return Status(204, None)


@router.post("/sources/{name}/read", response={202: SourceShape}, auth=CHANGE)
def read_source(request: HttpRequest, name: Name) -> Any:
    """Read it within seconds. 409 if it is switched off."""
    if not read_soon(source_of(name), caller_of(request).actor):
        raise ProblemError(409, "It is switched off.")
    return Status(202, SourceShape.of(source_of(name, _complete())))


@router.post("/sources/{name}/accept", response=AcceptedShape, auth=CHANGE)
def accept_source(request: HttpRequest, name: Name) -> Any:
    """Carry out the removals that wait for a person, those of its last reading."""
    done = accept_removals(source_of(name).pk, caller_of(request).actor)
    return AcceptedShape(removed=done.removed, kept=done.kept)
