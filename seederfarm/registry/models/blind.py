"""What clients have the blind peers of workers keep."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.utils import timezone

from hypercore.keys import encode_key, short_key

from .drive import Drive
from .fields import KeyField, is_a_key
from .worker import Worker

UNKNOWN_CLIENT: Final = "00" * 32
"""Client of cores that were taken over from another blind peer, until one names them."""


class BlindClient(models.Model):
    """An app that names cores at blind peers of the farm. The row is deleted with its last core."""

    key = KeyField(unique=True)
    """Its public key."""
    active_at = models.DateTimeField("last used", null=True)
    """When it, or a reader, last used one of its cores."""
    refused_at = models.DateTimeField(null=True)
    """When a core was last not registered, because it or the worker has as many as it may. None: none
    was."""
    created_at = models.DateTimeField("first seen", default=timezone.now)

    class Meta:
        ordering = ("key",)
        constraints = (is_a_key("key", "blind_client_key_is_hex"),)

    def __str__(self) -> str:
        return "moved over" if self.key == UNKNOWN_CLIENT else short_key(bytes.fromhex(self.key))

    @property
    def z32(self) -> str:
        """The key as the official tools print it."""
        return encode_key(bytes.fromhex(self.key))


class BlindCore(models.Model):
    """A core that a worker's blind peer keeps for a client. A drive stays while there is one of it, as with
    entries of sources; one that neither a person nor a source wants is never announced for it alone."""

    drive = models.ForeignKey(Drive, on_delete=models.CASCADE, related_name="blind_cores")
    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="blind_cores")
    client = models.ForeignKey(BlindClient, on_delete=models.PROTECT, related_name="cores")
    announced = models.BooleanField(default=False)
    """The worker says that a client it trusts has it announced."""
    created_at = models.DateTimeField("registered", default=timezone.now)

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=["drive", "worker"], name="blind_core_once"),)

    def __str__(self) -> str:
        return f"{self.drive} at the blind peer {self.worker}"
