"""What control records every few seconds, with a real Redis."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from farmwire.tasks import KEY_PREFIX, queue_of, report_queue_of
from seederfarm.control.accounts.pulse import record_pulse
from seederfarm.registry.models import ControlPulse

from ....support.redis import RedisServer
from .test_accounts import NODE, OTHER, worker_row


def test_a_pulse_has_the_lengths_of_all_queues_and_replaces_the_one_before(broker: RedisServer) -> None:
    ControlPulse.objects.create(at=timezone.now() - timedelta(hours=1))
    worker_row()
    worker_row(OTHER)
    client = broker.client
    for name, count in (
        *(("control", 1), ("reports", 2), ("join", 3)),
        *((queue_of(NODE), 4), (queue_of(OTHER), 5), (report_queue_of(NODE), 6)),
    ):
        client.rpush(KEY_PREFIX + name, *(["x"] * count))
    client.set(KEY_PREFIX + report_queue_of(OTHER), "no list")  # its worker may write anything there
    client.config_set("maxmemory", 50 << 20)
    before = timezone.now()
    record_pulse()
    pulse = ControlPulse.objects.get()
    assert pulse.at >= before
    assert pulse.queues == {"control": 1, "reports": 2, "join": 3, "workers": 9, "worker_reports": 6}
    assert pulse.broker_max_bytes == 50 << 20
    assert (pulse.broker_used_bytes or 0) > 100_000
    assert pulse.memory_bytes > 10**6 and pulse.cpu_seconds > 0


def test_without_a_broker_the_pulse_is_recorded_all_the_same(broker: RedisServer) -> None:
    broker.stop()
    record_pulse()
    pulse = ControlPulse.objects.get()
    assert (pulse.queues, pulse.broker_used_bytes) == ({}, None)
