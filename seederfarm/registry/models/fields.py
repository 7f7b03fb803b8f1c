"""Fields and constraints that several models share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact

from farmwire.tasks import MAX_ORDERED_CLIENTS
from hypercore.errors import KeyFormatError
from hypercore.keys import decode_key

TAG: Final = re.compile(r"[\w][\w.:/-]{0,49}")
"""Letters, digits and . : / - _; `region:eu`, `disk/ssd`."""

MAX_TAGS: Final = 50
"""Tags of one drive or worker, as farmwire.message.Tags allows."""


def clean_key(text: str) -> str:
    """Return the 64 lower-case hex digits of a key in any spelling. Raises ValidationError."""
    try:
        return decode_key(text).hex()
    except KeyFormatError as error:
        raise ValidationError(str(error), code="malformed_key") from None


def clean_keys(text: str) -> list[str]:
    """Return the keys in a text, with commas or spaces between them: hex, sorted, each once. Raises
    ValidationError, also for more than MAX_ORDERED_CLIENTS."""
    keys = sorted({clean_key(word) for word in re.split(r"[,\s]+", text) if word})
    if len(keys) > MAX_ORDERED_CLIENTS:
        raise ValidationError(
            f"{len(keys):,} keys are too many: at most {MAX_ORDERED_CLIENTS}", code="too_many_keys"
        )
    return keys


def clean_clients(text: str) -> list[str] | None:
    """Return the keys of those who may ask. None: `anyone`, or nothing was written. Raises
    ValidationError."""
    match text.strip().lower():
        case "" | "anyone":
            return None
        case "none":
            return []
    try:
        return clean_keys(text)
    except ValidationError as error:
        raise ValidationError(
            f"write anyone, none or public keys: {error.message}", code=error.code
        ) from None


def validate_keys(text: str) -> None:
    """Raise ValidationError unless `clean_keys` takes it."""
    clean_keys(text)


def validate_clients(text: str) -> None:
    """Raise ValidationError unless `clean_clients` takes it."""
    clean_clients(text)


def clean_tag(text: str) -> str:
    """Return the tag in lower case. Raises ValidationError unless it matches TAG."""
    tag = text.strip().lower()
    if not TAG.fullmatch(tag):
        raise ValidationError(
            f"{text[:70]!r} is not a tag: letters, digits and . : / - _, at most 50 of them",
            code="malformed_tag",
        )
    return tag


def clean_tags(texts: object) -> list[str]:
    """Return tags sorted and without duplicates. Raises ValidationError."""
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValidationError("tags are a list of words", code="malformed_tag")
    tags = sorted({clean_tag(text) for text in texts if text.strip()})
    if len(tags) > MAX_TAGS:
        raise ValidationError(f"{len(tags)} tags are too many: at most {MAX_TAGS}", code="too_many_tags")
    return tags


def validate_tags(value: object) -> None:
    """Raise ValidationError unless the value is a list of tags."""
    clean_tags(value)


class TagListField(models.JSONField):
    """A short list of tags, stored as JSON: read with the row, never searched in SQL."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", list)
        kwargs.setdefault("blank", True)
        super().__init__(*args, **kwargs)
        self.validators = [*self.validators, validate_tags]


if TYPE_CHECKING:
    _Text = models.CharField[str, str]
else:  # the field is generic for the type checker only
    _Text = models.CharField


class KeyField(_Text):
    """The 32 bytes of a public key as 64 lower-case hex digits, whatever spelling a form gets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 64
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs


def is_a_key(field: str, name: str) -> models.CheckConstraint:
    """A constraint to 64 characters without capitals: one spelling per key, so that `unique` holds."""
    return models.CheckConstraint(
        condition=Q(Exact(Length(field), 64)) & Q(Exact(Lower(field), F(field))),
        name=name,
        violation_error_message="A key is stored as 64 lower-case hex digits.",
    )
