"""What two random NATs keep apart meets at a blind relay."""

from __future__ import annotations

import pytest

from ..support.nat_matrix import PAIRS, Cell, Matrix
from ..support.nat_world import NatWorld, reached

pytestmark = pytest.mark.interop

APART = [Cell(*pair, "random", "random") for pair in PAIRS]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("named_by", ["client", "server"])
def test_behind_random_nats_peers_meet_at_a_relay_that_either_of_them_names(
    world: NatWorld, named_by: str
) -> None:
    host = world.site("open").host()
    relay = world.peer("official", host).ask("relay", name="relay")["key"]
    results = Matrix(world).run(APART, **{f"relay_of_{named_by}": relay})
    assert {cell.name: answer for cell, answer in results.items() if not reached(answer)} == {}
    assert {answer["host"] for answer in results.values()} == {host.address}
