"""Sources of keys."""

from __future__ import annotations

import re
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from .drive import Drive, Tag
from .fields import TagListField, clean_key

HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x1f\x7f]*")
"""An HTTP header as in RFC 9110 (5.1, 5.5), without line breaks."""


class Source(models.Model):
    """A list of keys that is read periodically."""

    class Kind(models.TextChoices):
        """Where a list is and in which format."""

        HTTP = "http", "HTTP endpoint (JSON)"
        BEE = "bee", "seed-list Hyperbee"
        FILE = "file", "seeds.txt file or URL"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=4, choices=Kind.choices, default=Kind.HTTP)
    location = models.CharField(
        max_length=2000, help_text="A URL (HTTP endpoint), a key (Hyperbee), a path or URL (seeds.txt)."
    )
    removals_url = models.CharField(
        "removals endpoint",
        max_length=2000,
        blank=True,
        help_text="A second endpoint that lists keys to remove.",
    )
    mapping = models.TextField(
        blank=True,
        help_text="JMESPath that turns the answer into keys, or into objects with key, kind and label. "
        "Empty: [{url}], [{key}] and plain lists are understood.",
    )
    headers = models.JSONField(
        default=dict, blank=True, help_text="HTTP headers to send, such as an Authorization."
    )
    every = models.PositiveIntegerField(
        "interval",
        null=True,
        blank=True,
        validators=[MinValueValidator(5)],
        help_text="Seconds. Empty: as set for all.",
    )
    enabled = models.BooleanField(default=True)
    shrink = models.PositiveSmallIntegerField(
        "held beyond",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Percent of its keys that may be removed within a day before a person is asked. 100: all. "
        "Empty: as set for all.",
    )
    remove_unlisted = models.BooleanField(
        "remove what is gone",
        default=True,
        help_text="Remove keys that are no longer listed.",
    )
    remove_last_copies = models.BooleanField(
        "remove last copies, too",
        default=False,
        help_text="Without this, keys stay of which the farm has the only complete copies known.",
    )

    # defaults of its keys
    key_kind = models.CharField(max_length=5, choices=Drive.Kind.choices, blank=True, default="")
    label = models.CharField(max_length=200, blank=True)
    tags = models.ManyToManyField(Tag, blank=True, related_name="sources")
    required_tags = TagListField("only workers with tags")
    priority = models.PositiveSmallIntegerField(default=5, validators=[MaxValueValidator(9)])
    replicas_min = models.PositiveSmallIntegerField("copies at least", null=True, blank=True)
    replicas_max = models.PositiveSmallIntegerField("copies at most", null=True, blank=True)

    # results of readings
    state = models.JSONField(default=dict, editable=False)
    """What the next reading needs of the last (see `sources.claims`)."""
    next_at = models.DateTimeField("next reading", null=True, editable=False)
    last_at = models.DateTimeField("last reading", null=True, editable=False)
    last_success_at = models.DateTimeField("last success", null=True, editable=False)
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    failures = models.PositiveIntegerField("failures in a row", default=0, editable=False)
    listed = models.PositiveIntegerField("keys listed", null=True, editable=False)
    refused = models.PositiveIntegerField("entries refused", default=0, editable=False)
    held = models.PositiveIntegerField("removals held", default=0, editable=False)
    """Keys that stay although the list no longer has them (`SourceEntry.Gone.HELD`)."""
    held_because = models.CharField("held because", max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField("added", default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=Q(replicas_min__isnull=True, replicas_max__isnull=True)
                | Q(replicas_min__gte=1, replicas_max__gte=F("replicas_min")),
                name="source_replicas_min_max",
                violation_error_message="Give both numbers of copies or neither; the maximum must not be "
                "below the minimum.",
            ),
        )
        indexes = (
            # sources that are due
            models.Index(fields=["next_at"], condition=Q(enabled=True), name="source_due"),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if (self.replicas_min is None) != (self.replicas_max is None):  # NULL passes the constraint
            raise ValidationError("Give both numbers of copies or none, the larger one as at most.")
        if self.kind == self.Kind.BEE:
            self.location = clean_key(self.location)
        elif self.kind == self.Kind.HTTP and not self.location.lower().startswith(("http://", "https://")):
            raise ValidationError({"location": "An HTTP endpoint begins with http:// or https://."})
        headers = self.headers
        if not isinstance(headers, dict) or not all(
            HEADER.fullmatch(f"{n}: {v}") for n, v in headers.items()
        ):
            text = (
                'Headers are a JSON object of names and texts of one line, as {"Authorization": "Bearer …"}.'
            )
            raise ValidationError({"headers": text})
        if self.removals_url and not self.removals_url.lower().startswith(("http://", "https://")):
            raise ValidationError({"removals_url": "A removals endpoint begins with http:// or https://."})

    @property
    def reads_file(self) -> bool:
        """Whether it reads a file of the machine that runs `sources`."""
        return self.kind == self.Kind.FILE and not self.location.lower().startswith(("http://", "https://"))


class SourceEntry(models.Model):
    """A key that a source lists. A drive stays while any source lists it, or a person added it
    (`Drive.added_manually`)."""

    class Gone(models.TextChoices):
        """Why a key stays that the list has no longer."""

        HELD = "held", "gone, waits for a person"
        KEPT = "kept", "gone, the farm has the only complete copies"

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="entries")
    drive = models.ForeignKey(Drive, on_delete=models.CASCADE, related_name="source_entries")
    kind = models.CharField(max_length=5, blank=True, default="")
    label = models.CharField(max_length=200, blank=True, default="")
    """The list's label of the key: a change is copied unless a person changed it here."""
    data = models.JSONField(default=dict)
    """The entry as listed (bounded by the reader of the source)."""
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    gone = models.CharField(max_length=4, choices=Gone.choices, blank=True, default="")
    """Why the key stays although the list no longer has it. Empty: the list has it."""

    class Meta:
        ordering = ("id",)
        verbose_name_plural = "source entries"
        constraints = (models.UniqueConstraint(fields=["source", "drive"], name="source_entry_once"),)

    def __str__(self) -> str:
        return f"{self.drive} from {self.source}"
