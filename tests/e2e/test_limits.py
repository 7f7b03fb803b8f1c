"""Limits, against official peers. How exact they are is tested with a fake clock; here, that they hold."""

from __future__ import annotations

import time

import pytest

from ..conftest import NewFarm, NewReader
from ..support.node import Publisher
from ..support.published import publish_core, read_core

pytestmark = pytest.mark.interop

RATE = 1_500_000
SIZE = 4_800_000
BURST = 600_000
"""Bytes that may come at once, generously."""


def test_rates_hold_in_both_directions_and_are_reported(
    publisher: Publisher, new_farm: NewFarm, new_reader: NewReader
) -> None:
    made = publish_core(publisher, "plain", [(f"block {i}", 60_000) for i in range(SIZE // 60_000)])
    digests = publisher.ask("blocks", name="thing")["blocks"]
    farm = new_farm(made["key"], "--down", "1500k", "--up", "1500k")
    farm.wait_synced(made["key"])
    [opened, *_] = farm.of("peer", made["key"])
    [synced, *_] = farm.of("synced", made["key"])
    assert synced["at"] - opened["at"] >= (SIZE - BURST) / RATE
    publisher.stop()

    seen = len(farm.events)
    read_core(new_reader(), made, digests)
    [opened, *_] = [event for event in farm.events[seen:] if event.get("state") == "open"]
    assert time.monotonic() - opened["at"] >= (SIZE - BURST) / RATE
    notified = {(event["limit"], event["state"], event["max"]) for event in farm.of("limit")}
    assert notified >= {("down", "reached", RATE), ("up", "reached", RATE)}
    farm.check_contract()


def test_a_wrong_limit_is_refused_before_anything_is_written(new_farm: NewFarm) -> None:
    farm = new_farm("ab" * 32, "--up", "08:00-18:00=fast")
    assert farm.wait(20) == 2
    assert "'fast' is not a rate: expected a rate such as 2M" in farm.stderr
    assert not farm.data.exists()
