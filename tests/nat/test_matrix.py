"""Who reaches whom through NATs: ours in both roles, beside what official peers reach."""

from __future__ import annotations

import pytest

from ..support.nat_matrix import PAIRS, Cell, Matrix, cells
from ..support.nat_world import NatWorld, reached

pytestmark = pytest.mark.interop

RANDOM = [
    Cell("ours", "official", "consistent", "random"),
    Cell("ours", "official", "random", "consistent"),
    Cell("official", "ours", "consistent", "random"),
    Cell("official", "ours", "random", "consistent"),
    Cell("ours", "ours", "consistent", "random"),
    Cell("ours", "ours", "random", "consistent"),
]
"""Birthday probing: half a minute at most, and in vain once in a thousand times."""

STRAIGHT = [
    cell
    for cell in cells([("ours", "official"), ("official", "ours")])
    if cell not in RANDOM and (cell.server_at, cell.client_at) != ("random", "random")
]


@pytest.mark.timeout(300)
def test_peers_reach_each_other_through_their_nats(world: NatWorld) -> None:
    matrix = Matrix(world)
    results = matrix.run([*STRAIGHT, *RANDOM])
    failed = {cell: answer for cell, answer in results.items() if not reached(answer)}
    unlucky = [cell for cell in failed if cell in RANDOM]
    if unlucky:  # new nodes: whoever has just punched in vain rests for a while
        again = matrix.run(unlucky)
        failed = {cell: answer for cell, answer in failed.items() if not reached(again.get(cell, answer))}
    assert not failed


def test_two_random_nats_are_too_much_for_every_peer(world: NatWorld) -> None:
    """Both sides find out, rather than trying for ever. A relay is what helps here."""
    hopeless = [Cell(*pair, "random", "random") for pair in PAIRS]
    results = Matrix(world).run(hopeless, seconds=30)
    assert [cell.name for cell, answer in results.items() if reached(answer)] == []
    ours = [answer["failed"] for cell, answer in results.items() if cell.connecting == "ours"]
    assert all(text.startswith("PeerUnreachable") for text in ours), ours
