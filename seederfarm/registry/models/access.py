"""Secrets that let programs and workers in, stored as hashes."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .fields import TagListField
from .worker import Worker


class Scope(models.TextChoices):
    """Rights of an API token, within those of its user."""

    READ = "read", "look at everything"
    DRIVES = "drives", "add, change and remove drives"
    WORKERS = "workers", "let workers in, drain and retire them"
    SOURCES = "sources", "change sources and read them"
    ALERTS = "alerts", "acknowledge alerts"


class ApiToken(models.Model):
    """Lets a program use the API as a user, within scopes."""

    name = models.CharField(max_length=100)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the token, hex. A token has 256 random bits, so a slow hash would not help."""
    hint = models.CharField(max_length=12, editable=False)
    """Its first characters, to identify tokens."""
    scopes = models.JSONField(default=list, blank=True)
    """Words of `Scope`."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name = "API token"

    def __str__(self) -> str:
        return self.name

    def is_valid(self, now: datetime) -> bool:
        """Whether it may be used at `now`."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class EnrolmentToken(models.Model):
    """Lets one worker join, once."""

    name = models.CharField("for", max_length=100, blank=True, help_text="What the worker will be called.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the single-use secret, hex."""
    hint = models.CharField(max_length=12, editable=False)
    zone = models.CharField("place", max_length=100, blank=True)
    tags = TagListField()
    approved = models.BooleanField(
        "no approval needed",
        default=True,
        help_text="The worker is active at once. Otherwise it waits for approval.",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, editable=False)
    used_by = models.ForeignKey(
        Worker, null=True, on_delete=models.SET_NULL, related_name="enrolled_with", editable=False
    )
    revoked_at = models.DateTimeField(null=True, editable=False)
    broker_hash = models.CharField(max_length=64, blank=True, editable=False)
    """SHA-256 of the password of the account that may only join, hex. Empty: it has none."""

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(used_by__isnull=True) | Q(used_at__isnull=False),
                name="enrolment_used_by_when_used",
            ),
        )

    def __str__(self) -> str:
        return self.name or f"enrolment {self.hint}…"

    def is_valid(self, now: datetime) -> bool:
        """Whether it may be used at `now`."""
        return self.used_at is None and self.revoked_at is None and self.expires_at > now
