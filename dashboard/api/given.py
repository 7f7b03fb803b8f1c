"""The bodies that operations take: bounded, and without unknown fields."""

from __future__ import annotations

from typing import Annotated, Any, Final

from django.core.exceptions import ValidationError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .paging import MAX_ID, Text, Time, wrong
from .problems import ProblemError
from .shapes import Kind, SourceKind

MAX_KEYS: Final = 10_000
"""Keys that are added at once. Ours."""
MAX_TAGS: Final = 50
"""Tags of one drive."""
MAX_HEADERS: Final = 20
"""Headers that a source sends. Ours."""

Line = Annotated[Text, Field(max_length=300)]
Tags = Annotated[list[Annotated[Text, Field(max_length=50)]], Field(max_length=MAX_TAGS)]
Label = Annotated[Text, Field(max_length=200)]
Number = Annotated[int, Field(ge=1, le=1000)]
Priority = Annotated[int, Field(ge=0, le=9, description="0 goes first where there is not room for all.")]


class Given(BaseModel):
    """A body of a request. Unknown fields are an error."""

    model_config = ConfigDict(extra="forbid")

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(exclude_unset=True)


class CopiesGiven(Given):
    """Numbers of copies to keep."""

    min: Number
    max: Number

    @model_validator(mode="after")
    def _ordered(self) -> CopiesGiven:
        if self.max < self.min:
            raise ValueError("max is less than min")
        return self


class DrivesGiven(Given):
    """New drives."""

    keys: list[Line] = Field(
        min_length=1,
        max_length=MAX_KEYS,
        description="Keys in any spelling, or lines of a seeds.txt such as `bee KEY`.",
    )
    kind: Kind | None = Field(None, description="For keys without one. Null: seen from the content.")
    label: Label = ""
    tags: Tags = []
    required_tags: Tags = Field([], description="Only workers with all of these get them.")
    copies: CopiesGiven | None = Field(None, description="Null: as set for the farm.")
    priority: Priority = 5


class DriveGiven(Given):
    """Changes of a drive: fields that are not sent stay."""

    kind: Kind | None = Field(None, description="Null: seen from the content.")
    label: Label = ""
    note: Annotated[Text, Field(max_length=10_000)] = ""
    tags: Tags = []
    required_tags: Tags = []
    copies: CopiesGiven | None = None
    priority: Priority = 5
    pinned_workers: list[Annotated[Text, Field(max_length=100)]] = Field(
        [], max_length=100, description="Ids or names of workers that always keep a copy."
    )
    max_fork: Annotated[int, Field(ge=0, le=MAX_ID)] | None = Field(
        None, description="Copies follow rewritten histories up to it. Null: any."
    )
    expires_at: Time | None = Field(None, description="Removed then. Null: never.")
    public: bool = Field(False, description="Whether anyone sees its page at /p/KEY/.")

    def changes(self) -> dict[str, Any]:
        """Return the values as services take them. Raises ProblemError (422) for copies that are null."""
        found = super().changes()
        if "copies" in found:
            copies = found.pop("copies")
            if copies is None:
                raise wrong("body.copies", "send min and max")
            found |= {"replicas_min": copies["min"], "replicas_max": copies["max"]}
        if "kind" in found:
            found["kind"] = found["kind"] or ""
        return found


class SourceChanges(Given):
    """Changes of a source: fields that are not sent stay."""

    kind: SourceKind = "http"
    location: Annotated[Text, Field(max_length=2000)] = Field(
        "", description="A URL (HTTP endpoint), a key (Hyperbee), a path or URL (seeds.txt)."
    )
    removals_url: Annotated[Text, Field(max_length=2000)] = ""
    mapping: Annotated[Text, Field(max_length=10_000)] = Field("", description="JMESPath.")
    headers: dict[Annotated[Text, Field(max_length=100)], Annotated[Text, Field(max_length=2000)]] = Field(
        {}, max_length=MAX_HEADERS, description="HTTP headers that are sent. They are never shown."
    )
    every: Annotated[int, Field(ge=5, le=31_536_000)] | None = Field(
        None, description="Seconds. Null: as set for all."
    )
    enabled: bool = True
    shrink: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Percent of its keys that may go within a day before a person is asked."
    )
    remove_unlisted: bool = True
    remove_last_copies: bool = False
    key_kind: Kind | None = None
    label: Label = ""
    tags: Tags = []
    required_tags: Tags = []
    priority: Priority = 5
    replicas_min: Number | None = None
    replicas_max: Number | None = None

    def changes(self) -> dict[str, Any]:
        found = super().changes()
        if "key_kind" in found:
            found["key_kind"] = found["key_kind"] or ""
        return found


class SourceGiven(SourceChanges):
    """A new source."""

    name: Annotated[Text, Field(min_length=1, max_length=100)]
    kind: SourceKind
    location: Annotated[Text, Field(min_length=1, max_length=2000)]


def invalid(error: ValidationError) -> ProblemError:
    """Return the answer to an error of the registry."""
    found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    errors = [
        {"field": "body" if name in ("", "__all__") else f"body.{name}", "text": text[:300]}
        for name, texts in found.items()
        for text in texts
    ]
    return ProblemError(422, "; ".join(fault["text"] for fault in errors[:3]), errors=errors)
