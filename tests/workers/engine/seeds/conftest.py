from __future__ import annotations

import pytest


@pytest.fixture
def quick_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys rest, and are put away, after a blink."""
    monkeypatch.setattr("workers.engine.seeds.stage.REST_AFTER", 0.05)
    monkeypatch.setattr("workers.engine.seeds.stage.COLD_AFTER", 0.05)
    monkeypatch.setattr("workers.engine.seeds.lookup_schedule.LOOKUP_TIME", 0.05)
    monkeypatch.setattr("workers.engine.seeds.seed.DETECT_TIMEOUT", 0.05)
