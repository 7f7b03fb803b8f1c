"""A farm with two workers over a Redis with accounts, and what a thief of its logins needs."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.entity import Queue
from redis.exceptions import ResponseError

from farmwire import tasks
from farmwire.envelope import node_id, seal
from farmwire.message import Message
from hypercore.crypto import KeyPair
from seederfarm.registry.models import Alert, Event, Worker
from workers.state import State

from ...support.control_processes import ControlPlane, WorkersOf
from ...support.redis import RedisServer
from ...support.waiting import eventually

THIEF = KeyPair.from_seed(b"\x66" * 32)
PASSWORD = "of the farm"


class Farm:
    """Control, two workers, and a Redis that keeps nothing over a restart."""

    def __init__(self, redis: RedisServer, plane: ControlPlane, workers: WorkersOf, place: Path) -> None:
        self.redis, self.plane, self.workers = redis, plane, workers
        self._place = place
        self.celery = celery_at(redis.url)
        seed = (plane.farm.home / "control_key").read_bytes()
        self.plane_id = node_id(KeyPair.from_seed(seed).public_key)

    def row(self, name: str) -> Worker:
        return Worker.objects.get(name=name)

    def wait_seen(self, *names: str) -> None:
        """Until each has reported from now on."""
        now = time.time()

        def seen() -> bool:
            rows = Worker.objects.filter(name__in=names, last_seen_at__isnull=False)
            return sum(row.last_seen_at.timestamp() > now for row in rows if row.last_seen_at) == len(names)

        eventually(seen, timeout=60, what=f"reports of {names}\n{self.plane.tails()}\n{self.workers.tails()}")

    def stolen_login(self, name: str) -> str:
        """From the disk of a worker that does not run."""
        state = State(self._place / f"worker-{name}")
        try:
            farm = state.farm
            assert farm is not None
            return farm.broker
        finally:
            state.close()

    def wait_event(self, kind: str, *words: str) -> Event:
        def found() -> Event | None:
            events = Event.objects.filter(kind=kind)
            return next((event for event in events if all(word in event.text for word in words)), None)

        eventually(lambda: found() is not None, timeout=30, what=f"{kind} {words}\n{self.plane.tails()}")
        event = found()
        assert event is not None
        return event

    def wait_alert(self, kind: str, worker: Worker | None = None) -> None:
        """Alerts follow their events."""
        alerts = Alert.objects.filter(kind=kind)
        if worker is not None:
            alerts = alerts.filter(worker=worker)
        eventually(alerts.all().exists, timeout=30, what=f"the alert {kind}")

    def refusals(self) -> list[dict[str, Any]]:
        return [entry for entry in self.redis.client.acl_log() if entry["reason"] != "auth"]


def celery_at(url: str) -> Any:
    app = Celery("somebody", broker=url, fixups=[], set_as_current=False)
    app.conf.update(broker_transport_options={"global_keyprefix": tasks.KEY_PREFIX}, result_backend=None)
    return app


def forged(body: Message, name: str, *, to: str) -> dict[str, object]:
    """Signed by the thief."""
    return seal(body, name=name, to=to, seq=2**40, expires=time.time() + 60, key_pair=THIEF)


def attempt(thief: Any, *words: Any) -> None:
    with pytest.raises(ResponseError, match=r"(?i)noperm|permissions|unknown command"):
        thief.execute_command(*words)
        pytest.fail(f"{words} was allowed")


def post(app: Any, name: str, sealed: object, queue: str, **options: Any) -> None:
    app.send_task(name, args=[sealed], queue=Queue(queue), declare=[], retry=False, **options)


def body_of(message: str) -> Any:
    return json.loads(b64decode(json.loads(message)["body"]))
