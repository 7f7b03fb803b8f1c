"""What is reported of each replica, and what not."""

from __future__ import annotations

from typing import Any

from farmwire.report import MAX_REPLICAS, Phase, ReplicaReport, ReplicaStatus
from workers.agent.replica_tracker import ReplicaTracker

A, B = "0a" * 32, "0b" * 32


def status(key: str, phase: str = "complete", **fields: Any) -> ReplicaStatus:
    return ReplicaStatus(key=key, phase=Phase(phase), kind="core", length=3, **fields)


def notified(tracker: ReplicaTracker) -> dict[str, str]:
    return {report.key: report.phase for report in tracker.take()}


def test_changes_are_reported_once() -> None:
    tracker = ReplicaTracker(lambda: 5.0)
    tracker.assign([A, B])
    assert notified(tracker) == {A: "assigned", B: "assigned"}
    assert not tracker.has_news
    tracker.record(status(A))
    assert tracker.take() == [
        ReplicaReport(key=A, phase="complete", kind="core", length=3, observed_at=5.0),
    ]
    tracker.report_all()
    assert notified(tracker) == {A: "complete", B: "assigned"}


def test_a_report_that_could_not_be_sent_is_sent_later_with_the_state_of_then() -> None:
    tracker = ReplicaTracker()
    tracker.assign([A])
    taken = tracker.take()
    tracker.record(status(A))
    tracker.requeue(taken)
    assert notified(tracker) == {A: "complete"}


def test_a_removal_goes_through_its_phases_and_is_forgotten() -> None:
    tracker = ReplicaTracker()
    tracker.assign([A])
    tracker.assign([])
    tracker.record(status(A))  # on its way when the assignment came
    assert notified(tracker) == {A: "removing"}
    tracker.removed(A)
    taken = tracker.take()
    assert [report.phase for report in taken] == ["removed"]
    assert len(tracker) == 0
    tracker.requeue(taken)
    assert notified(tracker) == {A: "removed"}


def test_a_key_that_is_wanted_again_before_it_was_removed_stays() -> None:
    tracker = ReplicaTracker()
    tracker.assign([A])
    tracker.assign([])
    tracker.assign([A])
    tracker.removed(A)  # of the order before
    assert notified(tracker) == {A: "assigned"}
    tracker.record(status(A, "looking"))
    assert notified(tracker) == {A: "looking"}


def test_a_removal_that_outlived_a_restart_is_reported() -> None:
    tracker = ReplicaTracker()
    tracker.removed(B)
    assert notified(tracker) == {B: "removed"}


def test_a_report_holds_so_many_and_the_rest_follows() -> None:
    tracker = ReplicaTracker()
    tracker.assign(f"{i:064x}" for i in range(MAX_REPLICAS + 7))
    assert len(tracker.take()) == MAX_REPLICAS
    assert len(tracker.take(3)) == 3
    assert len(tracker.take()) == 4


def test_a_worker_that_rests_has_no_peers_and_looks_for_nothing() -> None:
    tracker = ReplicaTracker()
    tracker.assign([A, B])
    tracker.record(status(A, peers=3))
    tracker.record(status(B, "downloading", peers=1, have_blocks=2))
    tracker.take()
    tracker.rest()
    first, second = sorted(tracker.take(), key=lambda report: report.key)
    assert (first.phase, first.peers) == ("complete", 0)
    assert (second.phase, second.peers, second.have_blocks) == ("assigned", 0, 2)
    tracker.rest()
    assert not tracker.has_news
