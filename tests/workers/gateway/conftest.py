"""Gateways in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ...support.gateway import LocalGateway

NewGateway = Callable[..., LocalGateway]


@pytest.fixture
def new_gateway(bootstrap: list[str]) -> Iterator[NewGateway]:
    """Each call starts a gateway that looks into these directories."""
    started: list[LocalGateway] = []

    def start(*directories: Path) -> LocalGateway:
        started.append(LocalGateway(bootstrap, *directories))
        return started[-1]

    yield start
    for gateway in started:
        gateway.dispose()
