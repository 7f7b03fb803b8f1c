"""When a core is as full as it can be: what its peers say about blocks that no peer has."""

import pytest

from hypercore.core import Core
from hypercore.replication import Event, PeerReported
from hypercore.replication.config import MAX_BROKEN_CLAIMS
from hypercore.replication.fullness import (
    ANSWER_TIME,
    CHECK_INTERVAL,
    CLAIM_TIME,
    GRACE,
    MAX_CHECK_INTERVAL,
    MAX_GRACE,
    OFFER_TIME,
    grace_for,
)
from hypercore.wire.control import BitfieldMessage, NoData, Range, Sync, Want
from hypercore.wire.request import Request
from support.replication_world import Script, Server, Site, World


@pytest.fixture
def world() -> World:
    return World()


def wait(world: World, seconds: float, *sites: Site) -> int:
    """Let time pass; each site is reviewed as by an engine: when the last review asked for it, and soon after
    events. Returns the number of reviews."""
    end, reviews = world.now + seconds, 0
    due: dict[Site, float | None] = dict.fromkeys(sites, world.now)
    while world.now < end:
        at = world.now + 0.5
        world.run(until=lambda: False, seconds=0.5)
        world.clock.now = max(world.now, at)
        for site in sites:
            review_at = due[site]
            if take_events(site) or (review_at is not None and world.now >= review_at):
                due[site] = site.replicator.fullness.review(world.now)
                reviews += 1
    return reviews


def take_events(site: Site) -> list[Event]:
    return list(iter(site.replicator.next_event, None))


def state(site: Site) -> tuple[bool, int, int]:
    fullness = site.replicator.fullness
    return fullness.full, site.core.bitfield.count, fullness.unavailable


def cleared_writer(world: World, count: int = 100, start: int = 10, end: int = 13) -> Site:
    writer = world.writer(count)
    writer.core.clear(start, end)
    writer.replicator.download_ranges = ()  # as an official writer
    return writer


def test_blocks_that_the_writer_cleared_are_given_up_after_a_while_and_not_before(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    world.connect(writer, reader)
    wait(world, GRACE - 2, reader)
    assert state(reader) == (False, 97, 0)
    wait(world, 5, reader)
    assert state(reader) == (True, 97, 3)
    assert not reader.core.complete


def test_a_complete_core_is_full_at_once_and_an_unknown_one_is_not(world: World) -> None:
    writer = world.writer(5)
    reader = world.reader(writer.core.key)
    assert state(reader) == (False, 0, 0)
    world.connect(writer, reader)
    world.run_until_idle()
    assert state(reader) == (True, 5, 0)


def test_a_source_may_leave_before_the_time_is_over(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    pair = world.connect(writer, reader)
    wait(world, 3, reader)
    pair.cut()
    wait(world, GRACE, reader)
    assert state(reader) == (True, 97, 3)


def test_what_is_given_up_once_stays_so_while_the_writer_goes_on(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    world.connect(writer, reader)
    wait(world, GRACE + 3, reader)
    writer.append(b"one more")
    world.run_until_idle()
    assert state(reader) == (True, 98, 3), "at once, when the new block is here"


def test_a_block_that_comes_all_the_same_opens_the_core_again(world: World) -> None:
    whole = world.writer(100)
    partial = world.reader(whole.core.key, source=whole.core, have=[i for i in range(100) if i not in (5, 6)])
    reader = world.reader(whole.core.key)
    partial.replicator.fullness.trust(100)
    partial.replicator.set_downloading(False, world.now)
    world.connect(partial, reader)
    wait(world, GRACE + 5, reader)
    assert state(reader) == (True, 98, 2)
    other = world.reader(whole.core.key, source=whole.core, have=[i for i in range(100) if i != 6])
    world.connect(other, reader)
    wait(world, 2, reader)
    assert state(reader) == (False, 99, 0)
    world.connect(whole, reader)
    wait(world, 2, reader)
    assert state(reader) == (True, 100, 0)


def test_two_readers_that_wait_for_the_rest_do_not_settle_it_between_them(world: World) -> None:
    writer = world.writer(100)
    a = world.reader(writer.core.key, source=writer.core, have=range(60))
    b = world.reader(writer.core.key, source=writer.core, have=range(20, 90))
    world.connect(a, b)
    wait(world, 600, a, b)
    assert state(a) == state(b) == (False, 90, 0), "they complete each other, and go on waiting"


def test_one_that_was_settled_settles_those_that_have_its_blocks_from_it(world: World) -> None:
    writer = cleared_writer(world)
    first = world.reader(writer.core.key)
    pair = world.connect(writer, first)
    wait(world, GRACE + 3, first)
    pair.cut()
    first.replicator.set_downloading(False, world.now)  # it rests
    second = world.reader(writer.core.key)
    world.connect(first, second)
    wait(world, GRACE + 3, second)
    assert state(second) == (True, 97, 3)


def test_a_reader_of_a_few_blocks_does_not_settle_the_rest_for_weeks(world: World) -> None:
    writer = world.writer(1000)
    sparse = world.reader(writer.core.key, source=writer.core, have=[1, 500, 999])
    sparse.replicator.set_downloading(False, world.now)
    reader = world.reader(writer.core.key)
    world.connect(sparse, reader)
    wait(world, 1200, reader)
    assert state(reader) == (False, 3, 0)
    assert grace_for(3, 1000) > 7 * 86400


def test_damage_found_after_the_decision_is_missing_again(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    pair = world.connect(writer, reader)
    wait(world, GRACE + 3, reader)
    pair.cut()
    reader.core._drop_corrupt([(50, 52)])
    assert state(reader) == (False, 95, 0)
    world.connect(writer, reader)
    wait(world, 2, reader)
    assert state(reader) == (True, 97, 3), "what was given up before still is"


def test_a_note_of_an_earlier_run_is_trusted_for_its_own_blocks_alone(world: World) -> None:
    writer = world.writer(20)
    have = [i for i in range(20) if i not in (3, 15)]
    reader = world.reader(writer.core.key, source=writer.core, have=have)
    reader.replicator.fullness.trust(10)
    assert state(reader) == (False, 18, 0)
    reader.replicator.fullness.trust(20)
    assert state(reader) == (True, 18, 2)


def test_a_writer_does_not_miss_what_it_cleared(world: World) -> None:
    writer = cleared_writer(world)
    assert state(writer) == (False, 97, 0)
    writer.replicator.fullness.own = True
    assert state(writer) == (True, 97, 3)


@pytest.mark.parametrize(
    ("have", "length", "seconds"), [(97, 100, 10.6), (50, 100, 40), (10, 100, 1000), (0, 100, MAX_GRACE)]
)
def test_the_less_is_here_the_longer_it_takes(have: int, length: int, seconds: float) -> None:
    assert grace_for(have, length) == pytest.approx(seconds, rel=0.01)


# --- when it is reviewed ------------------------------------------------------------------------------------


def test_a_core_whose_peers_report_nothing_is_reviewed_ever_more_rarely(world: World) -> None:
    writer, reader = interrupted(world)
    silent = Script(world, reader, 0)
    silent.send(sync(writer.core, reader))
    wait(world, 3 * CHECK_INTERVAL, reader)
    assert wait(world, 300, reader) <= 300 / MAX_CHECK_INTERVAL + 2
    assert state(reader) == (False, 90, 0)


def test_a_core_whose_blocks_are_requested_is_not_reviewed_meanwhile(world: World) -> None:
    writer, reader = interrupted(world)
    slow = Server(world, reader, 0)
    asked = slow.offer(writer.core)
    assert any(isinstance(message, Request) and message.block for message in asked)
    take_events(reader)
    assert reader.replicator.fullness.review(world.now) == world.now + MAX_CHECK_INTERVAL


def test_a_report_has_it_reviewed_at_once_and_many_once_a_second(world: World) -> None:
    writer, reader = interrupted(world)
    chatty = Script(world, reader, 0)
    chatty.send(sync(writer.core, reader))
    wait(world, 3 * CHECK_INTERVAL, reader)
    began, reported = world.now, 0
    while world.now < began + 20 * CHECK_INTERVAL:
        chatty.send(Range(start=0, length=1))
        chatty.wait(CHECK_INTERVAL / 10)
        events = take_events(reader)
        if world.now < began + CHECK_INTERVAL / 5:
            assert [type(event) for event in events] == [PeerReported]
        reported += len(events)
        if events:
            reader.replicator.fullness.review(world.now)
    assert 10 <= reported <= 21


def test_no_gap_is_reported_of_a_core_that_is_complete_or_not_reviewed(world: World) -> None:
    writer, reader = interrupted(world)
    server = Server(world, reader, 0)
    server.serve()
    server.offer(writer.core)
    server.wait(1)
    assert reader.complete
    take_events(reader)
    assert reader.replicator.fullness.review(world.now) is None
    server.send(sync(writer.core, reader), Range(start=0, length=100))
    server.wait(2 * CHECK_INTERVAL)
    assert take_events(reader) == []


# --- strangers ----------------------------------------------------------------------------------------------


def sync(core: Core, site: Site, *, downloading: bool = False) -> Sync:
    return Sync(fork=core.fork, length=core.length, remote_length=site.core.length, can_upgrade=False,
                has_manifest=True, uploading=True, downloading=downloading)  # fmt: skip


def interrupted(world: World) -> tuple[Site, Site]:
    """A reader whose writer went after 90 of 100 blocks."""
    writer = world.writer(100)
    return writer, world.reader(writer.core.key, source=writer.core, have=range(90))


@pytest.mark.parametrize("claims", [0, 90], ids=["nothing", "what we have"])
def test_a_peer_that_lacks_the_rest_decides_nothing(world: World, claims: int) -> None:
    writer, reader = interrupted(world)
    other_peer = Script(world, reader, 0)
    asked = other_peer.send(sync(writer.core, reader), *([Range(start=0, length=claims)] if claims else []))
    asked += other_peer.wait(0.1)
    assert any(isinstance(message, Want) for message in [*other_peer.greeting, *asked])
    words = ((1 << claims) - 1).to_bytes(16, "little")
    other_peer.send(BitfieldMessage(start=0, words=words))
    wait(world, 3600, reader)
    assert state(reader) == (False, 90, 0)


def test_news_of_a_block_is_no_answer_about_the_others(world: World) -> None:
    writer, reader = interrupted(world)
    reader.core.clear(40, 41)  # something that it can give
    server = Server(world, reader, 0)
    server.source = writer.core
    server.serve()
    server.send(sync(writer.core, reader), Range(start=0, length=1), Range(start=40, length=1))
    server.wait(0.1)
    server.send(Range(start=0, length=1))
    wait(world, 60, reader)
    assert state(reader) == (False, 90, 0)
    server.send(BitfieldMessage(start=0, words=((1 << 90) - 1).to_bytes(16, "little")))
    wait(world, GRACE + 5, reader)
    assert state(reader) == (True, 90, 10), "now it has said all"


def test_claims_of_a_peer_delay_the_decision_until_they_turn_out_false(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    pair = world.connect(writer, reader)
    wait(world, 3, reader)
    pair.cut()
    liar = Server(world, reader, 0)
    refused: list[int] = []

    def refuse(message: object) -> None:
        if isinstance(message, Request):
            refused.append(message.id)
            liar.channel.send_frame(NoData(request=message.id, reason=0))

    liar.on_message = refuse
    liar.source = writer.core
    liar.send(sync(writer.core, reader), Range(start=0, length=100))
    wait(world, GRACE, reader)
    assert refused
    wait(world, 90, reader)
    assert liar.peer.down.broken_claims >= MAX_BROKEN_CLAIMS
    assert state(reader) == (True, 97, 3)


def test_peers_that_never_answer_can_delay_it_for_so_long_only(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    pair = world.connect(writer, reader)
    wait(world, 3, reader)
    pair.cut()
    began = world.now
    while world.now < began + CLAIM_TIME - 60:
        liar = Server(world, reader, 0)
        liar.send(sync(writer.core, reader), Range(start=0, length=100))
        wait(world, 25, reader)
        assert state(reader)[0] is False
        liar.pair.cut()
    liar = Server(world, reader, 0)
    liar.send(sync(writer.core, reader), Range(start=0, length=100))
    wait(world, 60, reader)
    assert state(reader) == (True, 97, 3)


@pytest.mark.slow
def test_a_source_that_comes_again_and_again_can_delay_it_for_so_long_only(world: World) -> None:
    """It has given a block once, and offers the missing ones, but is gone before a request fails."""
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    remote = b"s" * 32
    liar = Server(world, reader, 0, remote=remote)
    liar.serve()
    liar.offer(writer.core, announce=5)
    wait(world, 1, reader)
    assert reader.core.bitfield.count >= 5 and liar.peer.down.is_source
    liar.pair.cut()
    pair = world.connect(writer, reader)
    wait(world, 3, reader)
    pair.cut()
    assert state(reader) == (False, 97, 0)
    began = world.now
    while world.now < began + OFFER_TIME - 60:
        assert state(reader)[0] is False, "a source is believed for a while"
        liar = Server(world, reader, 0, remote=remote)
        liar.send(sync(writer.core, reader), Range(start=0, length=100))
        wait(world, 25, reader)
        liar.pair.cut()
    liar = Server(world, reader, 0, remote=remote)
    liar.send(sync(writer.core, reader), Range(start=0, length=100))
    wait(world, 80, reader)
    assert state(reader) == (True, 97, 3)


def test_a_new_peer_of_a_core_with_gaps_may_have_blocks_for_a_while(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    pair = world.connect(writer, reader)
    fullness = reader.replicator.fullness
    wait(world, GRACE + 3, reader)
    assert fullness.full and not fullness.busy(world.now), "the writer has said all"
    pair.cut()
    silent = Script(world, reader, 0)
    silent.send(sync(writer.core, reader))
    assert fullness.busy(world.now)
    wait(world, ANSWER_TIME, reader)
    assert not fullness.busy(world.now)
    silent.send(Range(start=0, length=100))
    assert fullness.busy(world.now) and fullness.offered
    silent.pair.cut()
    assert not fullness.busy(world.now) and fullness.full


def test_a_claim_of_what_is_given_up_changes_nothing_until_it_is_kept(world: World) -> None:
    writer = cleared_writer(world)
    reader = world.reader(writer.core.key)
    pair = world.connect(writer, reader)
    wait(world, GRACE + 3, reader)
    pair.cut()
    liar = Server(world, reader, 0)
    liar.send(sync(writer.core, reader), Range(start=0, length=100))
    wait(world, 120, reader)
    assert state(reader) == (True, 97, 3)


def test_a_source_that_looks_for_the_blocks_itself_is_no_witness(world: World) -> None:
    writer, reader = interrupted(world)
    reader.core.clear(40, 41)  # something that it can give
    server = Server(world, reader, 0)
    server.source = writer.core
    server.serve()
    server.send(sync(writer.core, reader, downloading=True), Range(start=0, length=90))
    server.send(
        BitfieldMessage(start=0, words=((1 << 90) - 1).to_bytes(16, "little")), Want(start=0, length=2**21)
    )
    wait(world, 600, reader)
    assert state(reader) == (False, 90, 0)
