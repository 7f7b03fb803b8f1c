"""The registry is tested alone: no process listens to it."""

from __future__ import annotations

import pytest
from django.dispatch import Signal

from seederfarm.registry import signals


@pytest.fixture(autouse=True)
def no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("drives_changed", "workers_changed", "reverify_wanted"):
        monkeypatch.setattr(signals, name, Signal())
