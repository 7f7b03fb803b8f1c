"""The farm in a few numbers. Import after `setup.open_farm`."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Count, F, Q
from django.utils import timezone

from ..registry.models import Drive, Replica, Worker


def counts() -> dict[str, int]:
    copies = Replica.objects.filter(desired=True)
    heard = timezone.now() - timedelta(seconds=settings.FARM.worker_grace)
    workers = Worker.objects.exclude(state=Worker.State.RETIRED)
    complete = Count("replicas", filter=Q(replicas__phase=Replica.Phase.COMPLETE, replicas__desired=True))
    short = Drive.objects.filter(state=Drive.State.ACTIVE).annotate(complete=complete)
    return {
        "drives": Drive.objects.count(),
        "short": short.filter(complete__lt=F("replicas_min")).count(),
        "copies": copies.count(),
        "complete": copies.filter(phase=Replica.Phase.COMPLETE).count(),
        "workers": workers.count(),
        "online": workers.filter(last_seen_at__gt=heard).count(),
    }
