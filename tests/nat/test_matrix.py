"""Who reaches whom through NATs: ours in both roles, beside what official peers reach."""

from __future__ import annotations

import pytest

from ..support.natmatrix import Cell, Matrix
from ..support.natworld import NatWorld, reached

pytestmark = pytest.mark.interop

ESSENTIAL = [
    Cell("ours", "official", "consistent", "consistent"),
    Cell("official", "ours", "consistent", "consistent"),
    Cell("ours", "ours", "consistent", "consistent"),
    Cell("ours", "official", "open", "consistent"),
    Cell("official", "ours", "consistent", "open"),
    Cell("official", "ours", "open", "random"),
]


def test_peers_reach_each_other_through_their_nats(world: NatWorld) -> None:
    results = Matrix(world).run(ESSENTIAL)
    assert {cell.name: answer for cell, answer in results.items() if not reached(answer)} == {}
