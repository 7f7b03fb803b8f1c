"""Two beats, started by mistake or so that one can die."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise

from seederfarm.registry.models import Challenge, Event

from ..support.broker_proxy import BrokerProxy
from ..support.fake_workers import counted
from ..support.redis import RedisServer
from ..support.waiting import eventually
from .conftest import NewPlane
from .test_things_go_away import all_complete, crowd_of


def test_two_beats_double_nothing_and_one_takes_over_from_the_other(
    processes: ExitStack, new_plane: NewPlane, redis_server: RedisServer
) -> None:
    broker = BrokerProxy(redis_server.port, loses=False)
    processes.callback(broker.dispose)
    plane = new_plane(broker=broker.url)
    crowd = crowd_of(plane, redis_server, 3)
    plane.control()
    beats = {beat.process.pid: beat for beat in (plane.beat(1), plane.beat(2))}
    crowd.start(every=0.3)
    eventually(all_complete, timeout=60, what="every copy")
    eventually(lambda: broker.passed["control.challenge"] >= 3, timeout=60, what="questions")

    started = {pid for name, pids in broker.senders.items() if name == "control.sweep" for pid in pids}
    assert len(started) == 1, "the other stands by"
    (leader,) = started
    beats.pop(leader).kill()
    (heir,) = beats
    eventually(lambda: heir in broker.senders["control.sweep"], timeout=60, what="the other beat")
    eventually(lambda: heir in broker.senders["control.challenge"], timeout=60, what="its questions")
    questions = Challenge.objects.values("replica").distinct()
    eventually(lambda: questions.count() == 60, timeout=60, what="a question about each copy")
    eventually(lambda: Challenge.objects.count() > 60, timeout=60, what="another one about some")

    notified = crowd.stop()
    eventually(lambda: counted() == (notified, notified), timeout=60, what="all reports")
    kinds = Counter(Event.objects.filter(kind__startswith="replica.").values_list("kind", flat=True))
    assert kinds == {"replica.assigned": 60, "replica.complete": 60}
    asked: dict[int, list[object]] = {}
    for replica, at in Challenge.objects.order_by("sent_at").values_list("replica_id", "sent_at"):
        asked.setdefault(replica, []).append(at)
    gaps = [later - before for times in asked.values() for before, later in pairwise(times)]
    assert len(asked) == 60 and min(gaps) > timedelta(seconds=plane.farm.audit_every)
