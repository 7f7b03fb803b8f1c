"""The registry is tested alone: nobody listens to what it tells."""

from __future__ import annotations

import pytest
from django.dispatch import Signal

from seederfarm.registry import signals


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("drives_changed", "workers_changed", "reverify_wanted"):
        monkeypatch.setattr(signals, name, Signal())
