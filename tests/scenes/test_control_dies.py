"""The control worker is killed with its hands full."""

from __future__ import annotations

from redis import Redis

from ..support.fake_workers import counted
from ..support.redis import RedisServer
from ..support.waiting import eventually
from .conftest import NewPlane
from .test_things_go_away import all_complete, crowd_of

KILLS = 2


def test_a_control_worker_that_is_killed_amid_reports_loses_none_and_doubles_none(
    new_plane: NewPlane, redis_server: RedisServer
) -> None:
    plane = new_plane()
    crowd = crowd_of(plane, redis_server, 5)
    plane.beat()
    control = plane.control()
    crowd.start(every=0.15)
    taken = Redis.from_url(redis_server.url)
    for _ in range(KILLS):
        done = counted()[0]
        eventually(lambda done=done: counted()[0] > done + 5, timeout=60, what="reports that flow")
        eventually(lambda: taken.hlen("farm:unacked") > 1, timeout=30, what="reports in work", every=0.001)
        control.kill()
        assert taken.hlen("farm:unacked") > 0
        control = plane.control()
    notified = crowd.stop()

    # One that was on the wire at the moment of a kill is in no queue: Redis has given it away.
    eventually(lambda: counted()[0] >= notified - KILLS, timeout=60, what=f"{notified} reports")
    eventually(
        lambda: not (taken.keys("farm:reports*") or taken.hlen("farm:unacked")),
        timeout=30,
        what="the end",
    )
    samples, events = counted()
    assert samples == events <= notified
    crowd.once(lambda member: member.report())
    eventually(all_complete, timeout=30, what="every copy")
