"""`/healthz`: the process lives. `/readyz`: the farm works, or 503 with the reasons. Neither has a login."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from farmwire.tasks import CONTROL_QUEUE
from seederfarm.control.messaging.broker import BrokerDown
from seederfarm.control.messaging.outbox import outbox
from seederfarm.registry.models import ControlPulse

FRESH: Final = 2.0
"""Seconds for which an answer is kept: anyone may ask, as often as wanted. Ours."""
MAX_SILENCE: Final = timedelta(seconds=60)
"""Without a pulse of control for so long, the farm is not ready. There is one every 5 s; a plan of a large
farm, or a redelivery after a crash, may delay some."""


class Readiness:
    """Keeps the last answer for FRESH seconds. Thread-safe; `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reasons: list[str] = []
        self._until = float("-inf")

    def reasons(self) -> list[str]:
        """Why the farm does not work; empty if it does."""
        with self._lock:
            if self._clock() >= self._until:
                self._reasons = [*_database(), *_broker()]
                self._until = self._clock() + FRESH
            return self._reasons


def _database() -> list[str]:
    """Control records its pulse there. Details of errors are in the log alone."""
    try:
        pulse = ControlPulse.objects.filter(pk=ControlPulse.ONLY).first()
    except Error:
        connection.close()  # so that the next request makes a new one
        return ["the database cannot be reached"]
    if pulse is None:
        return ["control has not run yet"]
    silence = timezone.now() - pulse.at
    if silence <= MAX_SILENCE:
        return []
    return [f"control, or beat, has done nothing for {silence.total_seconds():.0f} s"]


def _broker() -> list[str]:
    try:
        outbox.broker.waiting(CONTROL_QUEUE)
    except BrokerDown:
        return ["the broker cannot be reached"]
    return []


readiness: Final = Readiness()


@never_cache
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Answers without a database query: the process is up."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Answers 200 if database and broker answer and control works, else 503 with the reasons."""
    reasons = readiness.reasons()
    text = "\n".join(reasons) or "ok"
    return HttpResponse(f"{text}\n", content_type="text/plain", status=503 if reasons else 200)
