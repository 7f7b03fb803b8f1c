"""A lab of networks, with or without a DHT in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support import net_lab
from ..support.nat_world import NatWorld
from ..support.net_lab import NetLab
from ..support.require import require


@pytest.fixture(scope="session")
def networks() -> None:
    """Skips in plain sight where networks cannot be made; with CI=true that is a failure."""
    require(net_lab.missing())


@pytest.fixture
def lab(networks: None) -> Iterator[NetLab]:
    with NetLab() as made:
        yield made


@pytest.fixture
def world(networks: None, official_peers: None) -> Iterator[NatWorld]:
    with NatWorld() as made:
        yield made
