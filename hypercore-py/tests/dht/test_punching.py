"""Punching through random NATs, byte by byte, and within which bounds."""

import random
from itertools import islice

import pytest

from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.messages import HolepunchPayload
from hypercore.dht.punch_probes import (
    GUESS_SECONDS,
    HOLES_AT_ONCE,
    LEAD_SECONDS,
    LOW_TTL,
    MAX_GUESSES,
    MAX_HOLES,
    PORTS,
)
from hypercore.dht.punching import MAX_RANDOM_PUNCHES, RANDOM_PUNCH_PAUSE_SECONDS, Puncher, RandomPunches

THERE = Address("90.0.0.1", 49737)
ELSEWHERE = Address("91.0.0.1", 5000)


def puncher_towards(*addresses, firewall, verified=THERE.host, initiator=True):
    puncher = Puncher(initiator=initiator, remote_host=THERE.host, random_bytes=random.Random(3).randbytes)
    puncher.update(HolepunchPayload(firewall=firewall, punching=True, addresses=addresses), verified)
    return puncher


def shots_of(puncher, count=10**6):
    """Time and byte of everything that it sends."""
    sent = []
    while (at := puncher.next_deadline()) is not None and len(sent) < count:
        puncher.handle_timer(at)
        sent += [(at, probe) for probe in puncher.take_output(at)]
    return sent


@pytest.mark.parametrize("initiator", [True, False])
def test_random_nat_of_the_other_side_is_guessed_at(initiator):
    puncher = puncher_towards(THERE._replace(port=0), firewall=Firewall.RANDOM, initiator=initiator)
    assert puncher.start(Firewall.CONSISTENT, 0.0)
    sent = shots_of(puncher)
    assert len(sent) == MAX_GUESSES and sent[-1][0] == pytest.approx((MAX_GUESSES - 1) * GUESS_SECONDS)
    assert all(shot.address.host == THERE.host and shot.ttl is shot.hole is None for _, shot in sent)
    ports = {shot.address.port for _, shot in sent}
    assert ports <= set(PORTS) and len(ports) > 0.97 * MAX_GUESSES
    assert puncher.exhausted and not puncher.punching


def test_behind_a_random_nat_many_sockets_are_opened_gently_and_then_kept_open():
    puncher = puncher_towards(THERE, firewall=Firewall.CONSISTENT)
    assert puncher.start(Firewall.RANDOM, 0.0)
    sent = shots_of(puncher)
    opening, keeping = sent[:MAX_HOLES], sent[MAX_HOLES:]
    assert [shot.hole for _, shot in opening] == list(range(MAX_HOLES))
    assert {shot.ttl for _, shot in opening} == {LOW_TTL}
    assert [at for at, _ in opening].count(0.0) == HOLES_AT_ONCE
    assert keeping[0][0] - opening[-1][0] == pytest.approx(LEAD_SECONDS)
    assert len(keeping) == MAX_GUESSES
    assert [shot.hole for _, shot in keeping[: 2 * MAX_HOLES]] == list(range(MAX_HOLES)) * 2
    assert [shot.ttl for _, shot in keeping[: 2 * MAX_HOLES]] == [LOW_TTL] * MAX_HOLES + [None] * MAX_HOLES
    assert {shot.address for _, shot in sent} == {THERE}


@pytest.mark.parametrize(
    ("local", "remote", "addresses", "verified"),
    [
        (Firewall.RANDOM, Firewall.RANDOM, [THERE], THERE.host),
        (Firewall.CONSISTENT, Firewall.RANDOM, [THERE], None),
        (Firewall.CONSISTENT, Firewall.RANDOM, [], THERE.host),
        (Firewall.RANDOM, Firewall.CONSISTENT, [THERE], None),
        (Firewall.RANDOM, Firewall.CONSISTENT, [THERE._replace(port=0)], THERE.host),
        (Firewall.RANDOM, Firewall.UNKNOWN, [THERE], THERE.host),
    ],
)
def test_hundreds_of_bytes_go_only_where_a_peer_proved_to_be(local, remote, addresses, verified):
    puncher = puncher_towards(*addresses, firewall=remote, verified=verified)
    assert not puncher.start(local, 0.0)
    assert puncher.next_deadline() is None


def test_of_several_addresses_the_verified_one_is_punched_at():
    puncher = puncher_towards(ELSEWHERE, THERE, firewall=Firewall.CONSISTENT)
    puncher.start(Firewall.RANDOM, 0.0)
    assert {shot.address for _, shot in islice(shots_of(puncher, 100), 100)} == {THERE}


def test_byte_from_any_port_of_the_guessed_host_is_awaited_and_else_from_the_very_address():
    guessing = puncher_towards(THERE._replace(port=0), firewall=Firewall.RANDOM)
    assert not guessing.awaits(THERE)
    guessing.start(Firewall.CONSISTENT, 0.0)
    assert guessing.awaits(THERE) and guessing.awaits(THERE._replace(port=1234))
    assert not guessing.awaits(ELSEWHERE)
    stable = puncher_towards(THERE, firewall=Firewall.CONSISTENT)
    stable.start(Firewall.CONSISTENT, 0.0)
    assert stable.awaits(THERE) and not stable.awaits(THERE._replace(port=1234))


def test_one_punch_through_a_random_nat_at_a_time_and_a_rest_after_it():
    punches = RandomPunches()
    assert punches.may_start(0.0)
    for _ in range(MAX_RANDOM_PUNCHES):
        punches.start()
    assert not punches.may_start(1000.0)
    punches.end(None)
    assert punches.may_start(0.0), "it did not come to bytes"
    punches.start()
    punches.end(5.0)
    assert not punches.may_start(5.0 + RANDOM_PUNCH_PAUSE_SECONDS - 0.1)
    assert punches.may_start(5.0 + RANDOM_PUNCH_PAUSE_SECONDS)
