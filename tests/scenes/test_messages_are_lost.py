"""Every kind of message is lost the first time, both ways and within control, and sent again."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from farmwire import tasks
from seederfarm.registry.models import Replica

from ..support.broker_proxy import BrokerProxy
from ..support.content import File
from ..support.control_processes import complete_on, online, proven_on
from ..support.node import Publisher
from ..support.published import publish_drive
from ..support.redis import RedisServer
from ..support.waiting import eventually
from .conftest import NewPlane, NewWorkers

KINDS = {
    tasks.SYNC_ASSIGNMENT,
    tasks.AUDIT,
    tasks.CONFIGURE,
    tasks.REFRESH,
    tasks.REPORT,
    tasks.AUDIT_ANSWER,
    tasks.JOIN,
    tasks.WELCOME,
}


@pytest.mark.interop
def test_a_farm_that_loses_every_message_once_gets_there(
    processes: ExitStack,
    new_plane: NewPlane,
    new_workers: NewWorkers,
    redis_server: RedisServer,
    publisher: Publisher,
) -> None:
    broker = BrokerProxy(redis_server.port, loses=True)
    processes.callback(broker.dispose)
    plane = new_plane(broker=broker.url, SEEDERFARM_HEARTBEAT="0.4s")
    plane.control()
    plane.beat()
    workers = new_workers(plane.home)
    workers.start("a", "b", heartbeat=0.4)
    made = publish_drive(publisher, "plain", [File(path="/note.txt", size=100_000)])
    plane.home.lines("add", made["key"], "--replicas", "2")

    both = {"a", "b"}
    eventually(lambda: online() == both, timeout=60, what="two workers")
    eventually(lambda: complete_on(made["key"]) == both, timeout=90, what="two complete copies")
    eventually(lambda: proven_on(made["key"]) == both, timeout=60, what="two proven copies")
    # Control asks for a full report when a copy was not reported for long; the worker may be faster
    eventually(
        lambda: clear_report_until_asked(broker),
        timeout=90,
        what="a request for a full report, lost and sent again",
    )
    eventually(lambda: not unreported(), timeout=60, what="a full report")
    assert broker.lost.keys() >= KINDS
    assert broker.passed.keys() >= KINDS, "each went through in the end"


def clear_report_until_asked(broker: BrokerProxy) -> bool:
    if not unreported():
        Replica.objects.filter(worker__name="a").update(last_report_at=None)
    return tasks.REFRESH in broker.lost and tasks.REFRESH in broker.passed


def unreported() -> bool:
    return Replica.objects.filter(last_report_at__isnull=True).exists()
