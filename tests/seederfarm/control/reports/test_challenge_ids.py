from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from seederfarm.control.reports import challenge_ids

from ..fakes import FakeBroker


def test_an_id_is_recognised_with_its_deadline_for_its_worker_alone(farm: FakeBroker, now: datetime) -> None:
    number = challenge_ids.make("anna", now)
    assert challenge_ids.deadline_of(number, "anna") == now
    assert challenge_ids.deadline_of(number, "bert") is None
    assert challenge_ids.deadline_of(uuid.uuid4(), "anna") is None
    assert challenge_ids.make("anna", now) != number


def test_an_id_with_another_deadline_is_not_recognised(farm: FakeBroker, now: datetime) -> None:
    number = challenge_ids.make("anna", now)
    later = int((now + timedelta(days=1)).timestamp()).to_bytes(4, "big")
    assert challenge_ids.deadline_of(uuid.UUID(bytes=later + number.bytes[4:]), "anna") is None
