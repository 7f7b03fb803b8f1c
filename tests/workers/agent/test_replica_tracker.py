"""What control was told of each replica, and what not."""

from __future__ import annotations

from typing import Any

from farmwire.report import MAX_REPLICAS, Phase, ReplicaReport, ReplicaStatus
from workers.agent.replica_tracker import ReplicaTracker

A, B = "0a" * 32, "0b" * 32


def status(key: str, phase: str = "complete", **fields: Any) -> ReplicaStatus:
    return ReplicaStatus(key=key, phase=Phase(phase), kind="core", length=3, **fields)


def told(ledger: ReplicaTracker) -> dict[str, str]:
    return {report.key: report.phase for report in ledger.take()}


def test_changes_are_reported_once() -> None:
    ledger = ReplicaTracker(lambda: 5.0)
    ledger.assign([A, B])
    assert told(ledger) == {A: "assigned", B: "assigned"}
    assert not ledger.has_news
    ledger.note(status(A))
    assert ledger.take() == [
        ReplicaReport(key=A, phase="complete", kind="core", length=3, observed_at=5.0),
    ]
    ledger.report_all()
    assert told(ledger) == {A: "complete", B: "assigned"}


def test_a_report_that_could_not_be_sent_is_sent_later_with_the_state_of_then() -> None:
    ledger = ReplicaTracker()
    ledger.assign([A])
    taken = ledger.take()
    ledger.note(status(A))
    ledger.requeue(taken)
    assert told(ledger) == {A: "complete"}


def test_a_removal_goes_through_its_phases_and_is_forgotten() -> None:
    ledger = ReplicaTracker()
    ledger.assign([A])
    ledger.assign([])
    ledger.note(status(A))  # on its way when the assignment came
    assert told(ledger) == {A: "removing"}
    ledger.removed(A)
    taken = ledger.take()
    assert [report.phase for report in taken] == ["removed"]
    assert len(ledger) == 0
    ledger.requeue(taken)
    assert told(ledger) == {A: "removed"}


def test_a_key_that_is_wanted_again_before_it_was_removed_stays() -> None:
    ledger = ReplicaTracker()
    ledger.assign([A])
    ledger.assign([])
    ledger.assign([A])
    ledger.removed(A)  # of the order before
    assert told(ledger) == {A: "assigned"}
    ledger.note(status(A, "looking"))
    assert told(ledger) == {A: "looking"}


def test_a_removal_that_outlived_a_restart_is_reported() -> None:
    ledger = ReplicaTracker()
    ledger.removed(B)
    assert told(ledger) == {B: "removed"}


def test_a_report_holds_so_many_and_the_rest_follows() -> None:
    ledger = ReplicaTracker()
    ledger.assign(f"{i:064x}" for i in range(MAX_REPLICAS + 7))
    assert len(ledger.take()) == MAX_REPLICAS
    assert len(ledger.take(3)) == 3
    assert len(ledger.take()) == 4


def test_a_worker_that_rests_has_no_peers_and_looks_for_nothing() -> None:
    ledger = ReplicaTracker()
    ledger.assign([A, B])
    ledger.note(status(A, peers=3))
    ledger.note(status(B, "downloading", peers=1, have_blocks=2))
    ledger.take()
    ledger.rest()
    first, second = sorted(ledger.take(), key=lambda report: report.key)
    assert (first.phase, first.peers) == ("complete", 0)
    assert (second.phase, second.peers, second.have_blocks) == ("assigned", 0, 2)
    ledger.rest()
    assert not ledger.has_news
