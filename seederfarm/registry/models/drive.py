"""Drives: the keys that the farm keeps available."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from hypercore.keys import encode_key, short_key

from ..health_states import RANK, Health
from .fields import KeyField, TagListField, clean_tag, is_a_key
from .worker import Worker


class Tag(models.Model):
    """A word to find drives by."""

    name = models.CharField(max_length=50, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        self.name = clean_tag(self.name)


class Drive(models.Model):
    """A registered key: a core, a bee or a drive."""

    class Kind(models.TextChoices):
        """What the key names, as detected or given."""

        UNKNOWN = "", "not seen yet"
        CORE = "core", "core"
        BEE = "bee", "bee"
        DRIVE = "drive", "drive"

    class State(models.TextChoices):
        ACTIVE = "active", "active"
        PAUSED = "paused", "paused"
        """Copies stay where they are and are served; nothing is placed, moved or released."""
        REMOVING = "removing", "removing"
        """All copies are being released; the row is deleted when the last is gone."""

    key = KeyField(unique=True, editable=False)
    """Hex."""
    kind = models.CharField(
        max_length=5,
        choices=Kind.choices,
        default=Kind.UNKNOWN,
        blank=True,
        help_text="Seen from the content when left open.",
    )
    label = models.CharField(max_length=200, blank=True, help_text="What you call it.")
    note = models.TextField(blank=True)
    tags = models.ManyToManyField(Tag, blank=True, related_name="drives", help_text="Words to find it by.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="drives"
    )
    public = models.BooleanField(
        "has a public page",
        default=False,
        help_text="Anyone with the key sees at /p/KEY/ whether it is safe, without a login.",
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    added_manually = models.BooleanField("added by a person", default=True, editable=False)
    """A person added it: it stays when no source lists it any more."""

    # input of placement
    priority = models.PositiveSmallIntegerField(
        default=5,
        validators=[MaxValueValidator(9)],
        help_text="0 to 9; 0 goes first where there is not room for all.",
    )
    replicas_min = models.PositiveSmallIntegerField(
        "copies at least",
        default=1,
        validators=[MinValueValidator(1)],
        help_text="The farm repairs when there are fewer.",
    )
    replicas_max = models.PositiveSmallIntegerField(
        "copies at most",
        default=1,
        validators=[MinValueValidator(1)],
        help_text="The farm places this many where there is room, and releases what is above.",
    )
    required_tags = TagListField(
        "only workers with tags", help_text="Placed only on workers that have all of these tags."
    )
    pinned_workers = models.ManyToManyField(
        Worker, blank=True, related_name="pinned_drives", help_text="Always keep a copy on these."
    )
    max_fork = models.PositiveBigIntegerField(
        "follow up to fork",
        null=True,
        blank=True,
        help_text="When its publisher rewrites it (a higher fork), copies go over to the new history up to "
        "this fork; above it they keep and serve what they have. Empty: they always follow.",
    )
    expires_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Removed from the farm then, unless it has the fullest copy known and the publisher is "
        "silent.",
    )
    dirty = models.BooleanField(default=True, editable=False)
    """Placement must plan this drive again."""
    under_replicated = models.BooleanField(default=True, editable=False)
    """Fewer complete copies than `replicas_min` when it was last planned."""

    # the best values that any worker reported
    title = models.CharField(max_length=200, blank=True, editable=False)
    length = models.PositiveBigIntegerField(null=True, editable=False)
    """Blocks of the key's own core (a drive's: of its file list)."""
    fork = models.PositiveBigIntegerField(null=True, editable=False)
    byte_length = models.PositiveBigIntegerField("size", null=True, editable=False)
    """Bytes of all of its cores."""
    last_writer_seen_at = models.DateTimeField("publisher last wrote", null=True, editable=False)
    observed_at = models.DateTimeField("observed", null=True, editable=False)

    files = models.PositiveBigIntegerField(null=True, editable=False)
    """Files and links of a version; None: not counted, or too many to count."""
    file_bytes = models.PositiveBigIntegerField(null=True, editable=False)
    files_version = models.PositiveBigIntegerField(default=0, editable=False)
    """Length at which they were counted."""

    # its use, summed over what workers report
    served_bytes = models.PositiveBigIntegerField("served", default=0, editable=False)
    """Bytes of blocks that all workers have sent to peers."""
    served_at = models.DateTimeField("last served", null=True, editable=False)
    """When a worker last reported some."""
    watched_until = models.DateTimeField(null=True, editable=False)
    """Until when workers report its peers (`services.watching`)."""

    # `stored_health` keeps these
    health = models.CharField(max_length=11, choices=Health.choices, default=Health.WAITING, editable=False)
    """Health when it was last computed: soon after each change, and when time alone may change it."""
    health_rank = models.GeneratedField(
        expression=Case(*(When(health=health, then=Value(rank)) for health, rank in RANK.items())),
        output_field=models.PositiveSmallIntegerField(),
        db_persist=True,
    )
    """Place in WORST_FIRST."""
    health_since = models.DateTimeField(default=timezone.now, editable=False)
    counted = models.PositiveSmallIntegerField(default=0, editable=False)
    """Copies that count."""
    proven_at = models.DateTimeField("proven", null=True, editable=False)
    """The oldest proof among the copies that count."""
    arrived_at = models.DateTimeField(null=True, editable=False)
    """When a copy was last seen to grow, or was assigned. None: longer ago than makes a difference."""
    proof_asked_at = models.DateTimeField(null=True, editable=False)
    """When a person asked its copies for proof, until the outcome is known."""
    last_proof_asked_at = models.DateTimeField(null=True, editable=False)
    """When a person last asked complete copies of it for proof (`services.proofs.AGAIN_AFTER`)."""
    health_stale = models.BooleanField(default=False, editable=False)
    """Health must be computed again."""

    created_at = models.DateTimeField("added", default=timezone.now, editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True)
    removing_since = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-id",)
        constraints = (
            is_a_key("key", "drive_key_is_hex"),
            models.CheckConstraint(condition=Q(priority__lte=9), name="drive_priority_0_to_9"),
            models.CheckConstraint(
                condition=Q(replicas_min__gte=1) & Q(replicas_max__gte=F("replicas_min")),
                name="drive_replicas_min_max",
                violation_error_message="The maximum must not be below the minimum, which is 1 or more.",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["active", "paused", "removing"]), name="drive_state_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["", "core", "bee", "drive"]), name="drive_kind_known"
            ),
        )
        indexes = (
            # control.reconcile: what has to be planned again
            models.Index(fields=["id"], condition=Q(dirty=True), name="drive_dirty"),
            # queries.under_replicated
            models.Index(fields=["id"], condition=Q(under_replicated=True), name="drive_under_replicated"),
            # queries.expired
            models.Index(fields=["expires_at"], condition=Q(expires_at__isnull=False), name="drive_expires"),
            # finish_removals, and the admin's filter
            models.Index(fields=["state"], condition=~Q(state="active"), name="drive_not_active"),
            # lists, the worst first; one state; drives of each
            models.Index(fields=["health_rank", "-id"], name="drive_worst_first"),
            # lists, the most read first, and the least
            models.Index(fields=["served_bytes", "id"], name="drive_served"),
            # proof_requests.conclude
            models.Index(
                fields=["proof_asked_at"], condition=Q(proof_asked_at__isnull=False), name="drive_proof_asked"
            ),
            # services.watching
            models.Index(
                fields=["watched_until"], condition=Q(watched_until__isnull=False), name="drive_watched"
            ),
            # stored_health.refresh_due
            models.Index(fields=["id"], condition=Q(health_stale=True), name="drive_health_stale"),
            models.Index(fields=["proven_at"], condition=Q(proven_at__isnull=False), name="drive_proven_at"),
            models.Index(
                fields=["arrived_at"], condition=Q(arrived_at__isnull=False), name="drive_arrived_at"
            ),
        )

    def __str__(self) -> str:
        return self.label or self.title or self.short_key

    @property
    def key_bytes(self) -> bytes:
        """The 32 bytes of the key."""
        return bytes.fromhex(self.key)

    @property
    def z32(self) -> str:
        """The spelling that the official tools print."""
        return encode_key(self.key_bytes)

    @property
    def short_key(self) -> str:
        """The first ten characters of the z-base-32 key."""
        return short_key(self.key_bytes)

    @property
    def may_have_files(self) -> bool:
        """Whether it is a drive with content, as far as is known."""
        return self.kind in ("", Drive.Kind.DRIVE) and bool(self.length)

    def clean(self) -> None:
        if (
            self.replicas_min is not None
            and self.replicas_max is not None
            and self.replicas_max < self.replicas_min
        ):
            raise ValidationError({"replicas_max": "The maximum must not be below the minimum."})
