"""Peers of copies of watched drives."""

from __future__ import annotations

from django.db import models

from .replica import Replica


class CopyPeers(models.Model):
    """The peers of a copy as its worker last reported them, while its drive is watched
    (`Drive.watched_until`)."""

    replica = models.OneToOneField(
        Replica, on_delete=models.CASCADE, related_name="peer_list", primary_key=True
    )
    at = models.DateTimeField()
    """When the report came."""
    total = models.PositiveBigIntegerField()
    peers = models.JSONField(default=list)
    """`farmwire.traffic.PeerTraffic`, the busiest first."""

    class Meta:
        indexes = (models.Index(fields=["at"], name="copy_peers_age"),)

    def __str__(self) -> str:
        return f"{self.total} peers of copy {self.replica_id}"
