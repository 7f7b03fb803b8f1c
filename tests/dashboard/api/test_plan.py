"""What the next plan would do, by the API."""

from __future__ import annotations

import pytest

from seederfarm.registry.models import Replica, Worker
from seederfarm.registry.services import next_plan

from ..farm import a_copy, a_drive, a_worker
from .client import ApiClient

pytestmark = pytest.mark.usefixtures("database")


def test_a_plan_names_drives_workers_and_reasons_and_changes_nothing(reader: ApiClient) -> None:
    fra, old = a_worker("fra"), a_worker("old", state=Worker.State.RETIRED)
    new, kept = a_drive("new"), a_drive("kept")
    huge = a_drive("huge", byte_length=10**14)
    a_copy(kept, old)
    plan = reader.get("plan")
    moves = {
        (move["what"], move["drive"]["hex"], (move["worker"] or {}).get("name")) for move in plan["moves"]
    }
    assert ("assign", new.key, "fra") in moves and ("release", kept.key, "old") in moves
    assert ("unplaced", huge.key, None) in moves
    (short,) = (move for move in plan["moves"] if move["what"] == "unplaced")
    assert short["missing"] == 1 and "room" in short["reason"]
    assert (plan["drives"], plan["assign"], plan["release"], plan["unplaced"]) == (3, 2, 1, 1)
    assert (plan["left_out"], plan["not_listed"]) == (0, 0) and plan["bytes"] >= 1000
    assert Replica.objects.count() == 1 and not Replica.objects.filter(worker=fra).exists()


def test_fewer_moves_are_listed_and_all_are_counted(reader: ApiClient) -> None:
    a_worker("fra")
    for number in range(5):
        a_drive(f"d{number}")
    plan = reader.get("plan", limit=2)
    assert (len(plan["moves"]), plan["assign"], plan["not_listed"]) == (2, 5, 3)
    assert reader.get("plan", limit=0)["not_listed"] == 5
    for wrong in ("-1", "1001", "x"):
        assert reader("GET", f"plan?limit={wrong}").status == 422


def test_drives_beyond_the_bound_are_counted(reader: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_plan, "EXAMINED", 2)
    a_worker("fra")
    for number in range(5):
        a_drive(f"d{number}")
    plan = reader.get("plan")
    assert (plan["drives"], plan["left_out"], plan["assign"]) == (2, 3, 2)


def test_a_plan_is_shared_for_a_while_and_one_request_plans(
    reader: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_worker("fra")
    first = reader.get("plan")
    a_drive("new")
    assert reader.get("plan")["at"] == first["at"]
    monkeypatch.setattr(next_plan, "monotonic", lambda: 1e12)
    with next_plan._lock:
        assert reader.get("plan")["at"] == first["at"], "another request plans: the one before"
        next_plan.clear()
        answer = reader("GET", "plan")
        assert answer.status == 503 and answer.headers["Retry-After"] == "5"
    assert reader.get("plan")["assign"] == 1
