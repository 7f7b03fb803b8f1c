"""Requeues messages that a killed control process had not finished.

Redis would redeliver them only after the visibility timeout; by then their envelopes are too old for the
replay window. So they return to their queues when control starts.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


def requeue_unacked(app: Any) -> int:
    """Requeue them. Returns their number. Call it before `app` takes messages.

    Messages of another running control process run twice, which is harmless.
    """
    try:
        with app.connection_for_write() as connection:
            channel = connection.default_channel
            with channel.conn_or_acquire() as client:
                tags = client.zrange(channel.unacked_index_key, 0, -1)
            for tag in tags:
                channel.qos.restore_by_tag(tag.decode() if isinstance(tag, bytes) else tag, leftmost=True)
    except (OperationalError, OSError) as error:
        log.warning("Cannot look for messages of an earlier run, the broker is away: %s", error)
        return 0
    if tags:
        log.info("Gave back %d messages that an earlier run had not finished", len(tags))
    return len(tags)
