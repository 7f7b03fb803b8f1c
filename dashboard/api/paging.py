"""Pages of lists by cursor: each costs the same, however deep, and nothing is shown twice while rows come and
go."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from django.db.models import F, OrderBy, Q, QuerySet
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from .problems import ProblemError

MAX_PAGE: Final = 200
"""Rows of one page. Ours."""
PAGE: Final = 50
MAX_CURSOR: Final = 1000
"""Characters of a cursor: one holds a text of 200 at most. Ours."""
MAX_ID: Final = 2**63 - 1
"""The largest primary key, and the largest number in a column."""

T = TypeVar("T")


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text has no NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text has no half of a surrogate pair") from None
    return text


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time is between the years 1 and 9999") from None


Time = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time of any zone, as databases store it: PostgreSQL takes no offset above 16 hours."""

Text = Annotated[str, AfterValidator(_storable)]
"""What databases can store. JSON can spell more: `"\\ud800"`."""


class PageOf(BaseModel, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: str | None = Field(description="Pass it as `cursor` for the next page. Null: this is the last.")


class PageQuery(BaseModel):
    """Which page of a list."""

    limit: int = Field(PAGE, ge=1, le=MAX_PAGE, description="Rows of a page.")
    cursor: Text | None = Field(
        None, max_length=MAX_CURSOR, description="`next` of the page before, with the same filters and sort."
    )


@dataclass(frozen=True, slots=True)
class Order:
    """One column (or annotation), then the primary key. Rows without a value come last."""

    name: str
    """Of the sort, as the query has it."""
    column: str
    kind: type
    """Of its values: int, str or datetime."""
    down: bool
    nullable: bool = True
    """Whether rows may have no value. Others are read from an index."""

    def page(self, rows: QuerySet[Any], query: PageQuery) -> tuple[list[Any], str | None]:
        """Primary keys of a page, and the cursor of the next one. One query."""
        if query.cursor is not None:
            rows = rows.filter(self._after(*self._read(query.cursor)))
        found = list(rows.order_by(*self._by()).values_list(self.column, "pk")[: query.limit + 1])
        more = len(found) > query.limit
        found = found[: query.limit]
        return [pk for _, pk in found], self._cursor(*found[-1]) if more else None

    def _by(self) -> list[OrderBy | str]:
        pk = "-pk" if self.down else "pk"
        if not self.nullable:
            return [pk] if self.column == "pk" else [f"-{self.column}" if self.down else self.column, pk]
        by = F(self.column)
        return [by.desc(nulls_last=True) if self.down else by.asc(nulls_last=True), pk]

    def _after(self, value: Any, pk: int) -> Q:
        name, than = self.column, "lt" if self.down else "gt"
        later = Q(**{f"pk__{than}": pk})
        if not self.nullable:
            if name == "pk":
                return later
            # The first condition is what an index finds.
            return Q(**{f"{name}__{than}e": value}) & (Q(**{f"{name}__{than}": value}) | later)
        if value is None:
            return Q(**{f"{name}__isnull": True}) & later
        beyond = Q(**{f"{name}__{than}": value}) | (Q(**{name: value}) & later)
        return beyond | Q(**{f"{name}__isnull": True})

    def _cursor(self, value: Any, pk: int) -> str:
        shown = value.isoformat() if isinstance(value, datetime) else value
        text = json.dumps([self.name, shown, pk], ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def _read(self, cursor: str) -> tuple[Any, int]:
        """Raises ProblemError (422)."""
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            name, value, pk = json.loads(text)
            if name != self.name or type(pk) is not int or not 0 <= pk <= MAX_ID:
                raise ValueError
            if value is not None or not self.nullable:
                value = self._checked(value)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise wrong("query.cursor", "not a cursor of this list in this order") from None
        return value, pk

    def _checked(self, value: Any) -> Any:
        if self.kind is datetime:
            at = datetime.fromisoformat(value)
            if at.tzinfo is None:
                raise ValueError
            return at.astimezone(UTC)  # PostgreSQL takes no offset above 16 hours
        if type(value) is not self.kind:
            raise ValueError
        if isinstance(value, int) and abs(value) > MAX_ID:
            raise ValueError
        return _storable(value) if isinstance(value, str) else value


NEWEST: Final = Order("-id", "pk", int, down=True, nullable=False)
LATEST: Final = Order("-at", "at", datetime, down=True, nullable=False)
"""Events: what happened last. One that is recorded late comes at its time."""


def whole(items: list[T]) -> PageOf[T]:
    """A list that is bounded elsewhere, as one page."""
    return PageOf(items=items, next=None)


def in_order(ids: Sequence[Any], rows: QuerySet[Any]) -> list[Any]:
    """The rows of these primary keys, in this order; those gone meanwhile are left out. One query."""
    found = {row.pk: row for row in rows.filter(pk__in=ids)}
    return [found[pk] for pk in ids if pk in found]


def wrong(field: str, text: str) -> ProblemError:
    """A value that has the right shape and makes no sense."""
    return ProblemError(422, text, errors=[{"field": field, "text": text}])
