"""How many files may be open."""

from __future__ import annotations

import resource

import pytest

from workers.engine.limits import rlimit
from workers.engine.limits.rlimit import (
    MAX_BLOCK_FILES,
    MIN_BLOCK_FILES,
    RESERVED,
    WANTED,
    allow_open_files,
    block_files,
)

ANY = resource.RLIM_INFINITY


class System:
    """Stands for the kernel."""

    def __init__(self, soft: int, hard: int, *, grants: bool = True) -> None:
        self.limits = (soft, hard)
        self.grants = grants

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, _: int, limits: tuple[int, int]) -> None:
        if not self.grants:
            raise ValueError("not allowed to raise maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1_024, 4_096, 4_096),
        (1_024, 1 << 20, WANTED),
        (1_024, ANY, WANTED),
        (1_024, 1_024, 1_024),
        (1 << 20, 1 << 20, 1 << 20),  # what is more already stays
        (ANY, ANY, WANTED),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, after: int
) -> None:
    system = System(soft, hard)
    monkeypatch.setattr(rlimit.resource, "getrlimit", system.getrlimit)
    monkeypatch.setattr(rlimit.resource, "setrlimit", system.setrlimit)
    assert allow_open_files() == after
    assert system.limits[1] == hard, "the hard limit is the operator's"
    assert system.limits[0] in (soft, after)


def test_a_system_that_does_not_grant_more_is_put_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(256, 4_096, grants=False)
    monkeypatch.setattr(rlimit.resource, "getrlimit", system.getrlimit)
    monkeypatch.setattr(rlimit.resource, "setrlimit", system.setrlimit)
    assert allow_open_files() == 256


def test_the_store_keeps_a_part_of_them_within_bounds() -> None:
    assert block_files(10) == MIN_BLOCK_FILES
    assert block_files(1_024) == (1_024 - RESERVED) // 2
    assert block_files(1 << 20) == MAX_BLOCK_FILES
