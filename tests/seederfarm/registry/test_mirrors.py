"""Which blind peers the farm offers to apps, and in which order."""

from __future__ import annotations

from seederfarm.registry.mirrors import Mirror, spread


def mirror(worker: str, zone: str, *, online: bool = True, size: int = 0) -> Mirror:
    return Mirror(f"key of {worker}", worker, zone, online, 1, size, 1)


def test_the_first_are_of_different_zones_and_keep_least() -> None:
    found = [
        mirror("a", "x", size=9),
        mirror("b", "x", size=5),
        mirror("c", "y", size=7),
        mirror("d", "y", size=8),
    ]
    assert [each.worker for each in spread(found)] == ["b", "c", "a", "d"]


def test_silent_ones_come_last_whatever_their_zone() -> None:
    found = [mirror("a", "x", online=False), mirror("b", "y"), mirror("c", "y", size=1)]
    assert [each.worker for each in spread(found)] == ["b", "c", "a"]
    assert spread([]) == []
