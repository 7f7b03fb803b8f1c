"""The page of the next plan: for operators, a dry run."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.reads import plan as reading
from seederfarm.registry.models import Replica, Worker
from seederfarm.registry.services import next_plan

from .farm import a_copy, a_drive, a_worker, text_of

pytestmark = pytest.mark.usefixtures("database")


def test_operators_see_what_would_be_made_removed_and_finds_no_worker(operator: Client) -> None:
    fra, old = a_worker("fra"), a_worker("old", state=Worker.State.RETIRED)
    new, kept = a_drive("new <b>one</b>"), a_drive("kept")
    huge = a_drive("huge", byte_length=10**14)
    a_copy(kept, old)
    page = operator.get("/plan/")
    text = text_of(page)
    for part in ("New copy", "new <b>one</b>", "Copy to remove", "No worker", "room", "nothing is changed"):
        assert part in text, part
    assert "<b>one</b>" not in page.text
    for drive in (new, kept, huge):
        assert f"/drives/{drive.z32}/" in page.text
    assert f"/workers/{fra.node_id}/" in page.text
    assert text.index("huge") < text.index("new <b>one</b>"), "what needs a person is first"
    assert Replica.objects.count() == 1 and not Replica.objects.filter(worker=fra).exists()


def test_only_operators_see_it_and_the_workers_page_leads_there(operator: Client, viewer: Client) -> None:
    a_worker("fra")
    assert viewer.get("/plan/").status_code == 403
    assert Client().get("/plan/").status_code == 302
    assert operator.post("/plan/").status_code == 405
    assert 'href="/plan/"' in operator.get("/workers/").text
    assert 'href="/plan/"' not in viewer.get("/workers/").text


def test_a_farm_with_nothing_to_do_says_so(operator: Client) -> None:
    a_copy(a_drive("kept"), a_worker("fra"))
    assert "Nothing to do" in text_of(operator.get("/plan/"))


def test_moves_are_listed_up_to_a_bound_and_all_are_counted(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS", 2)
    a_worker("fra")

    def queries() -> int:
        next_plan.recent()
        with CaptureQueriesContext(connection) as made:
            text = text_of(operator.get("/plan/"))
        assert "2 moves" in text or "1 move" in text, text
        return len(made)

    a_drive("first")
    before = queries()
    next_plan.clear()
    for number in range(5):
        a_drive(f"d{number}")
    assert queries() == before
    text = text_of(operator.get("/plan/"))
    assert "2 moves of 6" in text and "4 more moves are not listed" in text


def test_a_page_that_cannot_be_planned_now_says_when(operator: Client) -> None:
    with next_plan._lock:
        answer = operator.get("/plan/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "Load this one again" in text_of(answer)
