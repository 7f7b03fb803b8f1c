from __future__ import annotations

import pytest

from hypercore.dht import rpc


@pytest.fixture
def quick_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to nodes that do not answer fail after a second instead of four: on this machine all that do
    answer take a few milliseconds."""
    monkeypatch.setattr(rpc, "REQUEST_TIMEOUT", 0.25)
