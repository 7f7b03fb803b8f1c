"""Bans: how long a peer is kept out, when that is forgiven, and how many are remembered."""

from __future__ import annotations

from hypercore.swarm.bans import EXCLUSIONS, FORGIVEN_AFTER, MAX_OFFENDERS, Bans

PEER = bytes(32)


def test_each_offence_excludes_for_longer_up_to_the_longest() -> None:
    bans, now = Bans(), 100.0
    for seconds in (*EXCLUSIONS, EXCLUSIONS[-1]):
        assert bans.record(PEER, now) == seconds
        assert bans.is_banned(PEER, now + seconds - 0.1)
        now += seconds
        assert not bans.is_banned(PEER, now)


def test_a_peer_that_behaved_for_long_begins_anew() -> None:
    bans = Bans()
    bans.record(PEER, 0.0)
    bans.record(PEER, EXCLUSIONS[0])
    end = EXCLUSIONS[0] + EXCLUSIONS[1]
    assert bans.record(PEER, end + FORGIVEN_AFTER + 1) == EXCLUSIONS[0]


def test_no_other_peer_is_excluded() -> None:
    bans = Bans()
    bans.record(PEER, 0.0)
    assert not bans.is_banned(b"x" * 32, 1.0)


def test_offenders_are_bounded_and_the_oldest_makes_room() -> None:
    bans = Bans()
    for number in range(MAX_OFFENDERS + 10):
        bans.record(number.to_bytes(32, "big"), 0.0)
    assert len(bans) == MAX_OFFENDERS
    assert not bans.is_banned((9).to_bytes(32, "big"), 1.0)
    assert bans.is_banned((10).to_bytes(32, "big"), 1.0)
    bans.record((10).to_bytes(32, "big"), 2.0)
    bans.record(PEER, 2.0)
    assert bans.is_banned((10).to_bytes(32, "big"), 3.0)
