"""How a worker reports what its blind peer keeps."""

from __future__ import annotations

from typing import Any

import pytest

from farmwire.assignment import AssignmentEntry
from farmwire.blind_cores import BlindCore
from farmwire.report import Phase
from workers.agent import blind_cores as module
from workers.agent.blind_cores import BlindCores

A, B, C = ("0a" * 32, "0b" * 32, "0c" * 32)
APP = "aa" * 32


def core(key: str, *, have: int = 3, **values: Any) -> dict[str, Any]:
    given = {"client": APP, "length": 3, "have_blocks": have, "have_bytes": 10 * have, "bytes": 30}
    return {"key": key, **given, **values}


def gone(key: str) -> dict[str, Any]:
    return {"key": key, "client": None}


def entry(key: str, *, seeded: bool = False) -> AssignmentEntry:
    return AssignmentEntry(key=key, blind_peer=True, seeded=seeded, announce=seeded)


def listed(*cores: dict[str, Any]) -> BlindCores:
    found = BlindCores(enabled=True)
    found.take_line(cores, first=True, more=False)
    return found


def test_complete_cores_are_reported_once_and_again_on_request() -> None:
    cores = listed(core(A), core(B, have=2))
    assert cores.take() == [BlindCore(key=A, client=APP)]
    assert cores.take() == []
    cores.assign([entry(A)])
    cores.take_line([core(A, length=4, have_blocks=4)], first=False, more=False)
    assert cores.take() == []
    cores.take_line([core(B)], first=False, more=False)
    assert [report.key for report in cores.take()] == [B]
    cores.report_all()
    assert [report.key for report in cores.take(again=1)] == [A]
    assert [report.key for report in cores.take()] == [B]


def test_what_is_registered_and_not_kept_is_reported_as_gone_with_each_assignment() -> None:
    cores = BlindCores(enabled=True)
    cores.assign([entry(A), entry(B)])
    assert cores.take() == []  # not known yet
    cores.take_line([core(A)], first=True, more=True)
    assert cores.take() == []
    cores.take_line([], first=True, more=False)
    assert BlindCore(key=B) in cores.take()
    cores.assign([entry(A), entry(B)])
    assert cores.take() == [BlindCore(key=B)]


def test_a_core_that_goes_away_while_a_list_comes_is_not_in_it() -> None:
    cores = BlindCores(enabled=True)
    cores.take_line([core(A), core(B)], first=True, more=True)
    cores.take_line([gone(A)], first=False, more=False)
    cores.take_line([core(C)], first=True, more=False)
    assert [report.key for report in cores.take()] == [B, C]


def test_a_worker_that_is_no_blind_peer_any_more_reports_all_as_gone() -> None:
    cores = BlindCores(enabled=False)
    cores.assign([entry(A), AssignmentEntry(key=B)])
    assert cores.take() == [BlindCore(key=A)]


def test_a_core_that_is_named_and_gone_before_it_is_registered_is_reported_as_gone() -> None:
    cores = listed()
    cores.take_line([core(A)], first=False, more=False)
    reports = cores.take()
    cores.take_line([gone(A)], first=False, more=False)
    cores.requeue(reports)
    assert cores.take() == [BlindCore(key=A)]


def test_replicas_are_those_that_are_only_kept() -> None:
    cores = listed(core(A), core(B), core(C, have=1, fork=2))
    assert cores.assign([entry(A, seeded=True), entry(C)]) == []
    [status] = cores.statuses()
    assert (status.key, status.phase, status.have_blocks, status.blocks) == (C, Phase.LOOKING, 1, 3)
    assert (status.fork, status.have_bytes, status.bytes) == (2, 10, 30)
    assert cores.statuses([A, B, C]) == [status]
    assert cores.assign([AssignmentEntry(key=A)]) == [C]


def test_what_is_registered_is_followed_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CORES_OF_WORKER", 1)
    cores = BlindCores(enabled=True)
    cores.assign([entry(C)])
    cores.take_line([core(A), core(B), core(C)], first=True, more=False)
    cores.take_line([core(B)], first=False, more=False)
    assert {report.key for report in cores.take()} == {A, C}
