"""Fixtures of the farm."""

from __future__ import annotations

import pytest

from seederfarm.registry.buckets import Buckets


@pytest.fixture(autouse=True)
def fresh_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has all events that a day allows: rows of one test have the ids of those of another."""
    from seederfarm.control.history import event_budget
    from seederfarm.control.messaging import outbox
    from seederfarm.registry.services import log

    monkeypatch.setattr(event_budget, "budget", event_budget.EventBudget())
    monkeypatch.setattr(outbox, "refusals", event_budget.RefusalBudget())
    counts = {what: Buckets(log.SOURCE, log.MAX_SOURCES) for what in ("event", "audit")}
    monkeypatch.setattr(log, "_of_sources", counts)
