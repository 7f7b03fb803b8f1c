"""Which channels `Openings` opens, with links that count."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from hypercore.aio.cores.active_core import ActiveCore
from hypercore.aio.cores.link import Link
from hypercore.aio.cores.openings import MAX_PROVEN_OPENS, MAX_UNANSWERED_OPENS, SLACK, Openings


class Muxer:
    """Counts the opens of one connection, and answers them when asked to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.unanswered = 0
        self.opened_channels = 0

    def answer(self, count: int) -> None:
        self.unanswered -= count
        self.opened_channels += count


class Connection:
    """What is used of a link."""

    def __init__(self, muxer: Muxer) -> None:
        self.muxer = muxer


class World:
    """Cores and connections of one store."""

    def __init__(self) -> None:
        self.cores: dict[bytes, ActiveCore] = {}
        self.checks = 0
        """How often a core was asked whether it knows a connection."""
        self.openings = Openings(self.cores, self._attach)
        self.links: list[Link] = []

    def _attach(self, core: ActiveCore, link: Link) -> None:
        muxer = cast(Muxer, link.muxer)
        muxer.asked.append(core.core.discovery_key)
        muxer.unanswered += 1

    def connect(self) -> tuple[Link, Muxer]:
        muxer = Muxer()
        link = cast(Link, Connection(muxer))
        self.links.append(link)
        self.openings.begin(link)
        return link, muxer

    def core(self, number: int) -> ActiveCore:
        name = number.to_bytes(32)

        def knows(muxer: Muxer) -> bool:
            self.checks += 1
            return name in muxer.asked

        core = SimpleNamespace(
            core=SimpleNamespace(discovery_key=name),
            everywhere=True,
            replicator=SimpleNamespace(knows=knows),
        )
        return cast(ActiveCore, core)

    def activate(self, *numbers: int) -> None:
        for number in numbers:
            core = self.core(number)
            self.cores[core.core.discovery_key] = core
            self.openings.activated(core, self.links)


def never() -> bool:
    return False


def open_all(world: World, link: Link, muxer: Muxer) -> list[int]:
    """The peer answers everything, again and again. Returns how many channels were opened each time."""
    rounds = []
    while world.openings.is_behind(link):
        before = len(muxer.asked)
        muxer.answer(muxer.unanswered)
        assert not world.openings.open_more(link, never)
        rounds.append(len(muxer.asked) - before)
    return rounds


def test_each_active_core_is_opened_once_on_each_connection() -> None:
    world = World()
    world.activate(*range(300))
    first, one = world.connect()
    world.activate(*range(300, 500))
    second, two = world.connect()
    open_all(world, first, one)
    world.activate(*range(500, 700))
    open_all(world, second, two)
    open_all(world, first, one)
    every = [number.to_bytes(32) for number in range(700)]
    assert sorted(one.asked) == sorted(two.asked) == every


def test_a_peer_that_answers_gets_more_at_a_time_up_to_a_bound() -> None:
    world = World()
    world.activate(*range(3 * MAX_PROVEN_OPENS))
    link, muxer = world.connect()
    assert muxer.unanswered == MAX_UNANSWERED_OPENS
    rounds = open_all(world, link, muxer)
    assert rounds[:2] == [2 * MAX_UNANSWERED_OPENS, 4 * MAX_UNANSWERED_OPENS]
    assert max(rounds) == MAX_PROVEN_OPENS


def test_channels_are_opened_together_not_one_for_each_answer() -> None:
    world = World()
    world.activate(*range(500))
    link, muxer = world.connect()
    opened = []
    while world.openings.is_behind(link) and len(muxer.asked) < 250:
        before = len(muxer.asked)
        muxer.answer(1)
        world.openings.open_more(link, never)
        opened.append(len(muxer.asked) - before)
    assert min(number for number in opened if number) > MAX_UNANSWERED_OPENS // 2


def test_time_that_runs_out_ends_a_turn_and_loses_no_channel() -> None:
    world = World()
    world.activate(*range(60))
    link, muxer = world.connect()
    muxer.answer(60)
    world.activate(*range(60, 300))
    muxer.answer(muxer.unanswered)
    assert world.openings.is_behind(link)
    before = len(muxer.asked)
    assert world.openings.open_more(link, lambda: True)
    assert len(muxer.asked) <= before + 1
    open_all(world, link, muxer)
    assert len(muxer.asked) == len(set(muxer.asked)) == 300


def test_the_work_does_not_grow_with_the_square_of_the_cores() -> None:
    """Each drive activates a second core while its connection still lacks channels."""
    world = World()
    world.activate(*range(1000))
    link, muxer = world.connect()
    for number in range(1000, 3000):
        world.activate(number)
        muxer.answer(muxer.unanswered)
        if world.openings.is_behind(link):
            world.openings.open_more(link, never)
    open_all(world, link, muxer)
    assert len(muxer.asked) == len(set(muxer.asked)) == 3000
    assert world.checks < 3 * 3000


def test_names_of_cores_that_rest_or_are_closed_are_not_kept() -> None:
    world = World()
    world.activate(*range(200))
    link, muxer = world.connect()
    for number in range(200, 5000):
        world.activate(number)
        core = world.cores.pop(number.to_bytes(32))
        core.everywhere = False  # type: ignore[misc]
        assert len(world.openings._names) <= 2 * (len(world.cores) + 1) + SLACK
    open_all(world, link, muxer)
    assert world.openings._names == []
    late, other = world.connect()
    assert world.openings.is_behind(late) and len(other.asked) == MAX_UNANSWERED_OPENS
    world.openings.leave(late)
    assert world.openings._names == []
