"""Bootsteps of the control plane's worker. Imported by Celery only, by name."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import bootsteps
from celery.worker.control import Panel
from django.db import connections

from farmwire.tasks import READ_ONLY_COMMANDS

from ..accounts import denials
from ..accounts.watch import watch
from ..messaging.collector import collector
from .stall import stall_guard

log = logging.getLogger(__name__)


class BrokerStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """On each connection to the broker: restore the farm's accounts, since the broker may have been emptied.

    Also disables remote control: it is not signed, and any client with the broker's password may send it.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self._first = True
        for command in set(Panel.data) - READ_ONLY_COMMANDS:
            Panel.data[command] = denials.refuse(command)
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Begin to watch the broker and this consumer and to keep accounts, in threads; nothing waits for
        them."""
        watch.start()
        collector.start()
        stall_guard.start_for(parent)
        first, self._first = self._first, False
        threading.Thread(target=_keep, args=(first,), name="accounts", daemon=True).start()


def _keep(afresh: bool) -> None:
    try:
        denials.sync_accounts(afresh=afresh)
    except Exception:
        log.exception("the broker's accounts were not looked after; the next beat does it")
    finally:
        connections.close_all()
