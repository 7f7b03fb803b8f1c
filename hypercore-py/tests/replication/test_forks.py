"""Higher forks, and writers with two histories."""

from hypercore.core import Core, memory_store
from hypercore.mux import CloseReason
from hypercore.replication import (
    Conflict,
    ForkAvailable,
    PeerMisbehaved,
    Reorged,
    ReplicationConfig,
    Upgraded,
)
from hypercore.replication.config import MAX_UNASKED_PROOFS
from hypercore.replication.hotswap import HEAD_TIMEOUT
from hypercore.testing.cores import download, make_writer, sample_blocks
from hypercore.wire.control import Cancel, NoData, Range, Sync, Want
from hypercore.wire.data import Data
from hypercore.wire.request import Request, RequestUpgrade
from support.replication_world import Script, Site, World, of


def forked(length: int, shared: int, added: int) -> tuple[World, Site, Site]:
    """A writer that has cut its core to `shared` blocks and added others, and a reader of the old history."""
    world = World()
    writer = world.writer(length)
    reader = world.reader(writer.core.key, source=writer.core, have=range(length))
    writer.truncate(shared)
    writer.append(*(b"new %d" % number for number in range(added)))
    writer.flush()
    return world, writer, reader


def head(core: Core) -> Sync:
    return Sync(fork=core.fork, length=core.length, remote_length=0, has_manifest=True)


def test_a_truncated_core_is_followed_and_what_is_shared_is_kept() -> None:
    world, writer, reader = forked(1000, 777, 300)
    world.connect(reader, writer, latency=0.01)
    assert world.run(until=lambda: reader.core.fork == 1 and reader.complete)
    assert reader.blocks() == writer.blocks()
    assert reader.events_of(Reorged) == [Reorged(1, 1077, 777)]
    reader.events  # noqa: B018
    assert {event.index for event in reader.received} == set(range(777, 1077))


def test_peers_that_claim_a_fork_do_not_take_turns_for_ever() -> None:
    """One peer is asked for the head of a fork at a time, and they came first."""
    world, writer, reader = forked(20, 10, 5)
    silent = [Script(world, reader, 0) for _ in range(3)]

    def claim() -> None:
        for script in silent:
            script.send(Sync(fork=1, length=50, remote_length=0, has_manifest=True))

    claim()
    world.connect(reader, writer, latency=0.01)
    began = world.now
    while reader.core.fork == 0 or not reader.complete:
        world.run(until=lambda: False, seconds=0.5)
        world.clock.now += 0.01
        claim()
        assert world.now < began + 6 * HEAD_TIMEOUT
    assert reader.blocks() == writer.blocks()


def test_a_core_cut_to_nothing_is_followed_when_something_is_added() -> None:
    world, writer, reader = forked(20, 0, 0)
    world.connect(reader, writer)
    world.run_until_idle()
    assert reader.core.fork == 0
    writer.append(b"fresh")
    assert world.run(until=lambda: reader.core.fork == 1 and reader.complete)
    assert reader.blocks() == [b"fresh"]


def test_several_forks_at_once_lead_to_the_highest() -> None:
    world, writer, reader = forked(100, 50, 10)
    between = world.reader(writer.core.key, source=writer.core, have=range(60))
    writer.truncate(30)
    writer.append(*sample_blocks(40, 500))
    writer.flush()
    world.connect(reader, between, latency=0.03)
    world.connect(reader, writer, latency=0.01)
    world.connect(between, writer, latency=0.2)
    assert world.run(until=lambda: all(site.core.fork == 2 and site.complete for site in (reader, between)))
    assert reader.blocks() == between.blocks() == writer.blocks()


def test_a_new_reader_takes_a_fork_as_it_is() -> None:
    world, writer, _ = forked(100, 50, 10)
    fresh = world.reader(writer.core.key)
    world.connect(fresh, writer)
    assert world.run(until=lambda: fresh.complete)
    assert fresh.core.fork == 1


def test_what_is_shared_is_asked_of_any_peer_on_the_fork() -> None:
    """The first peer proves the head and knows no blocks; the second has them."""
    world, writer, reader = forked(1000, 777, 300)
    prover, knower = Script(world, reader, 0), Script(world, reader, 0)
    (request,) = of(Request, prover.send(head(writer.core)))
    assert (request.fork, request.upgrade) == (1, RequestUpgrade(0, 1077))
    assert of(Request, knower.send(head(writer.core), Range(start=0, length=1077))) == []
    prover.send(writer.core.prove(request))
    assert reader.core.fork == 0
    asked = of(Request, knower.take() or knower.log)
    while reader.core.fork == 0:
        (wanted,) = asked
        assert wanted.hash is not None
        asked = of(Request, knower.send(writer.core.prove(wanted)))
    assert reader.events_of(Reorged)[0].ancestors == 777


def test_a_coarse_answer_is_taken_when_no_better_one_comes_in_time() -> None:
    world, writer, reader = forked(1000, 777, 300)
    prover = Script(world, reader, 0)
    (request,) = of(Request, prover.send(head(writer.core)))
    reported = prover.send(writer.core.prove(request))
    assert of(Want, reported)[0].start == 0  # perhaps it knows, and we have not heard of it
    prover.wait(ReplicationConfig().refine_timeout + 1)
    (event,) = reader.events_of(Reorged)
    assert event.length == 1077
    assert event.ancestors < 777


def test_a_fork_is_not_followed_unless_it_is_wanted() -> None:
    world, writer, reader = forked(100, 50, 10)
    reader.replicator.max_fork = 0
    world.connect(reader, writer)
    world.run_until_idle()
    assert reader.core.fork == 0
    assert reader.core.complete
    (event,) = reader.events_of(ForkAvailable)
    assert (event.fork, event.length) == (1, 60)
    other = world.reader(writer.core.key)
    world.connect(other, reader)
    assert world.run(until=lambda: other.complete)
    assert (other.core.fork, other.core.length) == (0, 100), "the old history is served"
    reader.replicator.max_fork = 1
    assert world.run(until=lambda: reader.core.fork == 1 and reader.complete)
    writer.truncate(20)
    writer.append(b"once more")
    world.run_until_idle()
    assert reader.core.fork == 1, "one fork was accepted, not all"
    assert [event.fork for event in reader.events_of(ForkAvailable)] == [1, 2]
    reader.replicator.max_fork = None
    assert world.run(until=lambda: reader.core.fork == 2 and reader.complete)


def test_a_core_without_blocks_begins_on_any_fork_and_stays_on_it() -> None:
    world, writer, _ = forked(100, 50, 10)
    reader = world.reader(writer.core.key)
    reader.replicator.max_fork = 0
    world.connect(reader, writer)
    assert world.run(until=lambda: reader.core.fork == 1 and reader.complete)
    writer.truncate(20)
    world.run_until_idle()
    assert reader.core.fork == 1
    assert [event.fork for event in reader.events_of(ForkAvailable)] == [2]


def test_a_fork_that_is_not_proven_is_not_reported() -> None:
    world, writer, reader = forked(100, 50, 10)
    reader.replicator.max_fork = 0
    liar = Script(world, reader, 0)
    (request,) = of(Request, liar.send(head(writer.core)))
    data = writer.core.prove(request)
    liar.send(Data(request=data.request, fork=1, upgrade=data.upgrade._replace(signature=bytes(68))))
    assert reader.events_of(ForkAvailable) == []
    assert len(reader.events_of(PeerMisbehaved)) == 1
    honest = Script(world, reader, 0)
    (request,) = of(Request, honest.send(head(writer.core)))
    honest.send(writer.core.prove(request))
    assert [event.fork for event in reader.events_of(ForkAvailable)] == [1]
    assert of(Request, honest.turn()) == []
    assert reader.core.fork == 0


def test_a_fork_that_is_not_signed_is_not_followed() -> None:
    world, writer, reader = forked(100, 50, 10)
    liar = Script(world, reader, 0)
    (request,) = of(Request, liar.send(head(writer.core)))
    data = writer.core.prove(request)
    liar.send(Data(request=data.request, fork=1, upgrade=data.upgrade._replace(signature=bytes(68))))
    assert reader.core.fork == 0
    assert reader.core.complete
    assert len(reader.events_of(PeerMisbehaved)) == 1
    assert of(Request, liar.turn()) == []


def test_a_fork_that_a_peer_will_not_prove_is_asked_for_again_when_it_speaks() -> None:
    world, writer, reader = forked(100, 50, 10)
    peer = Script(world, reader, 0)
    (request,) = of(Request, peer.send(head(writer.core)))
    assert of(Request, peer.send(NoData(request=request.id, reason=1))) == []
    assert len(of(Request, peer.send(head(writer.core)))) == 1


def test_requests_for_the_old_fork_are_taken_back() -> None:
    world, writer, reader = forked(100, 50, 10)
    reader.core.clear(0, 20)
    old = Script(world, reader, 0)
    asked = of(Request, old.send(Sync(fork=0, length=100, remote_length=100), Range(start=0, length=100)))
    assert len(asked) > 10
    world.connect(reader, writer)
    assert world.run(until=lambda: reader.core.fork == 1)
    old.turn()
    assert {cancel.request for cancel in of(Cancel, old.log)} >= {request.id for request in asked}
    assert Range(start=50, length=50, drop=True) in old.log
    assert world.run(until=lambda: reader.complete)


def test_a_peer_left_behind_on_the_old_fork_catches_up_through_us() -> None:
    world, writer, reader = forked(100, 50, 10)
    late = world.reader(writer.core.key)
    download_old(late, 100)
    world.connect(late, reader)
    world.run_until_idle()
    world.connect(reader, writer)
    assert world.run(until=lambda: late.core.fork == 1 and late.complete)
    assert late.blocks() == writer.blocks()


def download_old(site: Site, length: int) -> None:
    """The history before any truncation, from another copy of the writer."""
    download(make_writer(sample_blocks(length)).core, site.core)
    site.store.flush()


# --- two histories ------------------------------------------------------------------------------------------


def two_histories(ours: int, theirs: int) -> tuple[World, Site, Core]:
    world = World()
    other = make_writer([b"theirs %d" % number for number in range(theirs)]).core
    site = world.reader(other.key)
    download(
        make_writer([b"ours %d" % number for number in range(ours)], store=memory_store()).core, site.core
    )
    site.store.flush()
    return world, site, other


def test_two_signed_histories_freeze_the_core_and_all_peers_get_the_proof() -> None:
    world, site, other = two_histories(8, 12)
    witness = Script(world, site, 0)
    witness.send(Sync(fork=0, length=3, remote_length=8), Range(start=0, length=3))
    peer = Script(world, site, 0)
    sync = Sync(fork=0, length=12, remote_length=8, can_upgrade=True, has_manifest=True)
    (request,) = of(Request, peer.send(sync, Range(start=0, length=12)))
    (probe,) = of(Request, peer.send(other.prove(request)))
    assert (probe.id, probe.upgrade) == (0, RequestUpgrade(0, 8))
    own = site.core.prove(probe)
    reported = peer.send(other.prove(probe))
    assert own in reported
    assert site.replicator.frozen
    (conflict,) = site.events_of(Conflict)
    assert conflict.proof.upgrade.start == 0
    assert (peer.closed, witness.closed) == (CloseReason.REMOTE, None)
    (testimony,) = of(Data, witness.log)
    assert testimony == site.core.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 3)))
    assert site.core.length == 8
    # What is here is served on, to those who were there and to those who come
    reader = world.reader(site.core.key)
    world.connect(reader, site)
    assert world.run(until=lambda: reader.complete and reader.core.length == 8)
    # And nothing more is fetched
    longer = make_writer([b"ours %d" % number for number in range(9)], store=memory_store())
    source = world.reader(longer.core.key, source=longer.core, have=range(9))
    world.connect(site, source)
    world.run_until_idle(5.0)
    assert site.core.length == 8


def test_news_of_a_conflict_from_a_peer_that_found_it_freezes_the_core() -> None:
    world, site, other = two_histories(8, 12)
    peer = Script(world, site, 0)
    peer.send(other.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 8))))
    assert site.replicator.frozen


def test_a_tree_like_ours_or_without_a_signature_is_no_conflict() -> None:
    world, site, other = two_histories(8, 12)
    peer = Script(world, site, 0)
    peer.send(site.core.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 8))))
    data = other.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 8)))
    peer.send(Data(request=0, fork=0, upgrade=data.upgrade._replace(signature=bytes(68))))
    assert not site.replicator.frozen
    assert peer.pair.connected


def test_proofs_that_no_peer_asked_for_are_looked_at_a_few_times_only() -> None:
    world, site, other = two_histories(8, 12)
    peer = Script(world, site, 0)
    harmless = site.core.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 8)))
    for _ in range(MAX_UNASKED_PROOFS):
        peer.send(harmless)
    peer.send(other.prove(Request(id=0, fork=0, upgrade=RequestUpgrade(0, 8))))
    assert not site.replicator.frozen


def test_a_peer_that_does_not_answer_a_probe_is_cut_off() -> None:
    world, site, other = two_histories(8, 12)
    peer = Script(world, site, 0)
    sync = Sync(fork=0, length=12, remote_length=8, can_upgrade=True, has_manifest=True)
    (request,) = of(Request, peer.send(sync))
    peer.send(other.prove(request))
    peer.wait(ReplicationConfig().probe_timeout + 1)
    assert [event.fatal for event in site.events_of(PeerMisbehaved)] == [False, True]
    assert peer.closed is CloseReason.REMOTE


def test_an_upgrade_emits_an_event() -> None:
    world = World()
    writer = world.writer(3)
    reader = world.reader(writer.core.key)
    world.connect(reader, writer)
    assert world.run(until=lambda: reader.complete)
    writer.append(b"more")
    assert world.run(until=lambda: reader.core.length == 4 and reader.complete)
    assert reader.events_of(Upgraded) == [Upgraded(3, 0), Upgraded(4, 0)]
