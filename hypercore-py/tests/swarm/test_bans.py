"""Offences: how long a peer is kept out, when that is forgiven, and how many are remembered."""

from __future__ import annotations

from hypercore.swarm.bans import EXCLUSIONS, FORGIVEN_AFTER, MAX_OFFENDERS, Offences

PEER = bytes(32)


def test_each_offence_excludes_for_longer_up_to_the_longest() -> None:
    offences, now = Offences(), 100.0
    for seconds in (*EXCLUSIONS, EXCLUSIONS[-1]):
        assert offences.note(PEER, now) == seconds
        assert offences.excludes(PEER, now + seconds - 0.1)
        now += seconds
        assert not offences.excludes(PEER, now)


def test_who_behaved_for_long_begins_anew() -> None:
    offences = Offences()
    offences.note(PEER, 0.0)
    offences.note(PEER, EXCLUSIONS[0])
    end = EXCLUSIONS[0] + EXCLUSIONS[1]
    assert offences.note(PEER, end + FORGIVEN_AFTER + 1) == EXCLUSIONS[0]


def test_nobody_else_is_excluded() -> None:
    offences = Offences()
    offences.note(PEER, 0.0)
    assert not offences.excludes(b"x" * 32, 1.0)


def test_offenders_are_bounded_and_the_oldest_makes_room() -> None:
    offences = Offences()
    for number in range(MAX_OFFENDERS + 10):
        offences.note(number.to_bytes(32, "big"), 0.0)
    assert len(offences) == MAX_OFFENDERS
    assert not offences.excludes((9).to_bytes(32, "big"), 1.0)
    assert offences.excludes((10).to_bytes(32, "big"), 1.0)
    offences.note((10).to_bytes(32, "big"), 2.0)
    offences.note(PEER, 2.0)
    assert offences.excludes((10).to_bytes(32, "big"), 3.0)
