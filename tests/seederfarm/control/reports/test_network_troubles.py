"""What `seederfarm status` says of workers whose engines find no node of the DHT."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from farmwire.report import Report, WorkerEvent
from seederfarm.cli.farm.counts import network_problems
from seederfarm.control.reports.ingest import ingest_report
from seederfarm.registry.models import Worker

from ..fakes import FakeBroker, FakeWorker


@pytest.mark.parametrize("code", ["bootstrap_silent", "bootstrap_unresolved"])
def test_trouble_is_shown_until_it_is_over(farm: FakeBroker, now: datetime, code: str) -> None:
    worker = FakeWorker("north", now=now)

    def send_event(code: str, text: str, seconds: int) -> None:
        at = now + timedelta(seconds=seconds)
        kinds = [WorkerEvent(at=at.timestamp(), code=code, text=text)]
        ingest_report(worker.seal(Report(events=kinds), at), at)

    assert network_problems() == []
    send_event("engine_ready", "engine 0 at 0.0.0.0:1", 0)
    send_event(code, "no node answers", 1)
    send_event("synced", "version 3", 2)
    assert network_problems() == ["north: no node answers"]
    send_event("network_reached", "engine 0 reaches the DHT", 3)
    assert network_problems() == []
    send_event(code, "no node answers", 4)
    Worker.objects.update(state=Worker.State.RETIRED)
    assert network_problems() == []
