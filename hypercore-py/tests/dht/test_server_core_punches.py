"""A server behind a NAT: hole punching, blind relays, and how many clients are on their way at a time."""

import pytest

from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall, HandshakeStatus
from hypercore.dht.messages import (
    HolepunchPayload,
)
from hypercore.dht.messages.handshake import RelayThrough
from hypercore.dht.network_profile import NetworkProfile
from hypercore.dht.punch_probes import HOLES_AT_ONCE, LOW_TTL, MAX_GUESSES
from hypercore.dht.punching import MAX_ECHOES, RANDOM_PUNCH_PAUSE_SECONDS, Puncher
from hypercore.dht.server_core import (
    MAX_MEETINGS,
    PATH_SECONDS,
    PUNCH_SECONDS,
    RANDOM_PUNCH_SECONDS,
    RELAY_DELAY_SECONDS,
    RELAY_SECONDS,
    Connected,
    Expired,
    Greet,
    RelayRendezvous,
    SendPunch,
)
from hypercore.dht.sessions import (
    MAX_PUNCHING_PER_HOST,
)
from hypercore.dht.work_budget import (
    HANDSHAKES,
    MAX_NETWORK_HANDSHAKES,
    NETWORK_HANDSHAKES_PER_SECOND,
    WorkBudget,
)
from support.dht_serving import CLIENT_AT, OTHER_RELAY, PUBLIC, RELAY, Client, Server, _shaken

# --- hole punching --------------------------------------------------------------------------------------


def test_probe_is_answered_with_our_address_and_a_token():
    server, client = _shaken()
    answer = client.punch(round=0)
    assert answer == HolepunchPayload(
        firewall=Firewall.CONSISTENT, round=0, addresses=(PUBLIC,), token=answer.token
    )
    assert len(answer.token) == 32
    assert server.events() == []


def test_a_token_is_given_only_to_clients_that_come_through_our_relays():
    _, client = _shaken()
    assert client.punch(relay=OTHER_RELAY).token is None


def test_fast_open_is_answered_with_a_byte():
    server, client = _shaken()
    client.punch(remote_address=PUBLIC)
    assert server.events() == [SendPunch(CLIENT_AT)]
    client.punch(remote_address=Address("66.6.6.6", 6))
    assert server.events() == []


def _bytes_sent(server, until):
    """Seconds at which bytes go out, until a given time."""
    sent = []
    while (at := server.core.next_deadline()) is not None and at <= until:
        server.core.handle_timer(at)
        sent += [(at, e.address) for e in server.events() if isinstance(e, SendPunch)]
    return sent


def test_punch_round_makes_the_server_punch_at_the_verified_address():
    server, client = _shaken()
    token = client.punch(now=1.0).token
    answer = client.punch(
        now=2.0,
        round=1,
        punching=True,
        firewall=Firewall.CONSISTENT,
        addresses=(CLIENT_AT,),
        token=b"t" * 32,
        remote_token=token,
    )
    assert answer.punching and answer.remote_token == b"t" * 32
    assert _bytes_sent(server, 20.0) == [(3.0 + i, CLIENT_AT) for i in range(10)]


def test_unverified_address_gets_a_byte_every_fourth_tick():
    server, client = _shaken()
    client.punch(now=2.0, round=1, punching=True, firewall=Firewall.CONSISTENT, addresses=(CLIENT_AT,))
    assert _bytes_sent(server, 20.0) == [(6.0, CLIENT_AT), (10.0, CLIENT_AT)]


def test_punching_that_leads_nowhere_ends():
    server, client = _shaken()
    client.punch(now=2.0, round=1, punching=True, firewall=Firewall.CONSISTENT, addresses=(CLIENT_AT,))
    server.core.handle_timer(2.0 + PUNCH_SECONDS)
    assert server.events()[-1] == Expired(server.opened[0])


def test_punching_stops_when_the_client_arrives():
    server, client = _shaken()
    client.punch(now=2.0, round=1, punching=True, firewall=Firewall.CONSISTENT, addresses=(CLIENT_AT,))
    server.core.arrived(server.opened[0], 2.5)
    server.events()
    assert _bytes_sent(server, 60.0) == []
    assert client.punch(now=2.6) is None, "connected: the client has stopped listening"


def test_repeated_punch_round_is_answered_and_punches_once():
    server, client = _shaken()
    fields = {
        "round": 1,
        "punching": True,
        "firewall": Firewall.CONSISTENT,
        "addresses": (CLIENT_AT,),
    }
    assert client.punch(now=2.0, **fields).punching
    assert client.punch(now=2.5, **fields).punching
    assert len(_bytes_sent(server, 20.0)) == 2


def test_late_message_of_an_earlier_round_changes_nothing():
    _, client = _shaken()
    client.punch(now=2.0, round=1, punching=True, firewall=Firewall.CONSISTENT, addresses=(CLIENT_AT,))
    answer = client.punch(now=2.5, round=0, firewall=Firewall.UNKNOWN, addresses=None)
    assert answer.punching and answer.round == 1


@pytest.mark.parametrize("local", [Firewall.UNKNOWN, Firewall.RANDOM])
def test_hopeless_pair_of_nats_is_aborted(local):
    around = NetworkProfile(
        firewall=local, seen=None if local == Firewall.UNKNOWN else (PUBLIC._replace(port=0),)
    )
    server, client = _shaken(around=around)
    answer = client.punch(now=1.0, firewall=Firewall.RANDOM)
    assert answer.error == HandshakeStatus.ABORTED
    assert server.events() == [Expired(server.opened[0])]


RANDOM_CLIENT = {
    "round": 1,
    "punching": True,
    "firewall": Firewall.RANDOM,
    "addresses": (CLIENT_AT._replace(port=0),),
}
RANDOM_SERVER = NetworkProfile(firewall=Firewall.RANDOM, seen=(PUBLIC._replace(port=0),))


def test_random_nat_of_the_client_is_guessed_at_one_client_at_a_time():
    server, client = _shaken()
    other = Client(server, seed=2)
    other.shake()
    tokens = client.punch(now=1.0).token, other.punch(now=1.0).token
    assert client.punch(now=1.0, remote_token=tokens[0], **RANDOM_CLIENT).punching
    assert other.punch(now=1.0, remote_token=tokens[1], **RANDOM_CLIENT).error == HandshakeStatus.TRY_LATER
    assert server.events() == [Expired(server.opened[1])]
    sent = _bytes_sent(server, 1.0 + RANDOM_PUNCH_SECONDS - 0.1)
    assert len(sent) == MAX_GUESSES and {address.host for _, address in sent} == {CLIENT_AT.host}
    third = Client(server, seed=3)
    third.shake(now=3.0)
    server.core.arrived(server.opened[0], 40.0)
    for now, possible in (
        (40.0 + RANDOM_PUNCH_PAUSE_SECONDS - 1, False),
        (40.0 + RANDOM_PUNCH_PAUSE_SECONDS, True),
    ):
        late = Client(server, seed=int(now))
        late.shake(now=now)
        token = late.punch(now=now).token
        assert late.punch(now=now, remote_token=token, **RANDOM_CLIENT).punching is possible


def test_unverified_client_behind_a_random_nat_is_not_guessed_at():
    server, client = _shaken()
    assert client.punch(now=1.0, **RANDOM_CLIENT).error == HandshakeStatus.ABORTED
    assert server.events() == [Expired(server.opened[0])]


def test_server_behind_a_random_nat_punches_and_echoes_from_sockets_of_its_own():
    server, client = _shaken(around=RANDOM_SERVER)
    [session] = server.opened
    token = client.punch(now=1.0).token
    fields = {"round": 1, "punching": True, "firewall": Firewall.CONSISTENT, "addresses": (CLIENT_AT,)}
    answer = client.punch(now=1.0, remote_token=token, **fields)
    assert answer.punching and answer.addresses == (PUBLIC._replace(port=0),)
    server.core.handle_timer(1.0)
    assert server.events() == [SendPunch(CLIENT_AT, LOW_TTL, hole, session) for hole in range(HOLES_AT_ONCE)]
    server.core.on_probe_received(session, 3, CLIENT_AT, 1.1)
    server.core.on_probe_received(session, 3, Address("66.6.6.6", 6), 3.0)
    assert server.events() == [SendPunch(CLIENT_AT, None, 3, session)]
    assert server.core.arrived(session, 1.2)
    assert server.events() == [Connected(session)]
    server.core.on_probe_received(session, 4, CLIENT_AT, 3.0)
    assert server.events() == []


def test_punching_without_an_address_is_aborted():
    _, client = _shaken()
    answer = client.punch(now=1.0, round=1, punching=True, firewall=Firewall.CONSISTENT)
    assert answer.error == HandshakeStatus.ABORTED


def test_neighbour_that_cannot_punch_may_still_come_over_the_network_that_we_share():
    around = RANDOM_SERVER._replace(seen=(Address(CLIENT_AT.host, 0),))
    server, client = _shaken(around=around)
    assert client.punch(now=1.0, firewall=Firewall.RANDOM).error == HandshakeStatus.ABORTED
    assert client.punch(now=1.1, error=HandshakeStatus.ABORTED).error == HandshakeStatus.ABORTED
    assert server.events() == []
    assert server.core.arrived(server.opened[0], 1.2)
    server, client = _shaken(around=around)
    client.punch(now=1.0, firewall=Firewall.RANDOM)
    server.core.handle_timer(PATH_SECONDS)
    assert server.events() == [Expired(server.opened[0])]


# --- blind relays -----------------------------------------------------------------------------------------

BLIND = RelayThrough(b"\x07" * 32, b"\x08" * 32)
HOPELESS = NetworkProfile(local=(), firewall=Firewall.RANDOM, seen=(PUBLIC,))


def test_client_that_names_a_relay_is_met_there_after_a_while():
    server = Server()
    client = Client(server, relay_through=BLIND)
    client.shake()
    assert client.payload.relay_through is None
    (meet,) = server.events()
    assert meet == RelayRendezvous(server.opened[0], BLIND, False, RELAY_DELAY_SECONDS)
    assert server.core.met(server.opened[0], 2.0) and server.events() == []
    server.core.arrived(server.opened[0], 2.0)
    assert server.events() == [Connected(server.opened[0])]


def test_server_that_needs_a_relay_names_its_own():
    server = Server(around=HOPELESS, relay_through=lambda: BLIND.public_key)
    client = Client(server, relay_through=BLIND)
    client.shake()
    ours = client.payload.relay_through
    assert ours.public_key == BLIND.public_key and ours.token != BLIND.token
    assert server.events() == [RelayRendezvous(server.opened[0], ours, True, 0.0)]


def test_hopeless_punching_does_not_give_up_a_client_that_comes_over_a_relay():
    server = Server(around=HOPELESS)
    client = Client(server, relay_through=BLIND)
    client.shake()
    server.events()
    assert client.punch(firewall=Firewall.RANDOM, round=0).error == HandshakeStatus.ABORTED
    assert server.events() == []
    server.core.handle_timer(RELAY_SECONDS + 1)
    assert server.events() == [Expired(server.opened[0])]


def test_clients_that_are_met_at_relays_at_a_time_are_bounded():
    server = Server()
    for number in range(MAX_MEETINGS + 5):
        Client(server, seed=number, relay_through=BLIND).shake()
    assert len(server.opened) == MAX_MEETINGS + 5
    assert [type(event) for event in server.events()] == [RelayRendezvous] * MAX_MEETINGS
    server.core.arrived(server.opened[0], 2.0)
    Client(server, seed=1000, relay_through=BLIND).shake()
    assert RelayRendezvous in [type(event) for event in server.events()]


def test_client_that_is_met_too_late_is_not_awaited():
    server, _ = _shaken()
    server.core.handle_timer(PATH_SECONDS)
    assert not server.core.met(server.opened[0], PATH_SECONDS)


def test_client_that_any_peer_can_reach_needs_no_relay():
    server = Server()
    Client(server, relay_through=BLIND, firewall=Firewall.OPEN).shake()
    assert [type(event) for event in server.events()] == [Greet]


def test_client_that_aborts_is_given_up():
    server, client = _shaken()
    assert client.punch(now=1.0, error=HandshakeStatus.ABORTED).error == HandshakeStatus.ABORTED
    assert server.events() == [Expired(server.opened[0])]


def test_byte_of_the_client_is_echoed_within_bounds():
    server, _ = _shaken()
    byte_from = Address(CLIENT_AT.host, 9999)
    for _ in range(5):
        server.core.punch_received(byte_from, 1.0)
    assert server.events() == [SendPunch(byte_from)], "an echo of an echo is not echoed"
    for second in range(2, 100):
        server.core.punch_received(byte_from, float(second))
    assert server.events() == [SendPunch(byte_from)] * (MAX_ECHOES - 1)


def test_byte_of_a_peer_is_not_echoed():
    server, _ = _shaken()
    server.core.punch_received(Address("66.6.6.6", 6), 0.0)
    server.core.arrived(server.opened[0], 1.0)
    server.events()
    server.core.punch_received(CLIENT_AT, 1.0)
    assert server.events() == []


def test_byte_costs_the_same_however_many_clients_are_awaited(monkeypatch):
    asked = []
    may_echo = Puncher.may_echo

    def counted(puncher, source, now):
        asked.append(source)
        return may_echo(puncher, source, now)

    monkeypatch.setattr(Puncher, "may_echo", counted)
    server = Server()
    for seed in range(5 * MAX_PUNCHING_PER_HOST):
        Client(server, seed=seed).shake()
    assert server.core.awaited == 5 * MAX_PUNCHING_PER_HOST
    server.core.punch_received(Address("66.6.6.6", 6), 0.0)
    assert asked == [], "nobody is awaited from there"
    for _ in range(MAX_PUNCHING_PER_HOST + 1):
        asked.clear()
        server.core.punch_received(CLIENT_AT, 0.0)
        assert 0 < len(asked) <= MAX_PUNCHING_PER_HOST
    assert [type(event) for event in server.events()] == [SendPunch] * MAX_PUNCHING_PER_HOST


def test_byte_is_answered_where_the_client_says_that_it_is():
    server, client = _shaken()
    byte_from, old = Address("92.0.0.9", 1), Address("92.0.0.8", 1)
    for at in (old, byte_from):
        client.punch(now=0.1, firewall=Firewall.CONSISTENT, punching=True, addresses=(at,))
    server.events()
    for at, answered in ((old, False), (byte_from, True), (CLIENT_AT, False)):
        assert server.core.punch_received(at, 1.0) is answered, "one echo in half a second"
    assert server.core.punch_received(CLIENT_AT, 2.0), "the relay saw it there"
    server.core.close(3.0)
    assert not server.core.punch_received(byte_from, 4.0)


def test_closing_gives_up_on_every_peer_on_the_way():
    server, _ = _shaken()
    server.core.close(1.0)
    assert server.events() == [Expired(server.opened[0])]
    server.core.close(1.0)
    assert server.events() == []


@pytest.mark.slow
def test_handshakes_without_end_are_not_all_answered_and_others_are():
    """Each costs half a millisecond: a flood of them took all of a processor."""
    server = Server()
    flooded = sum(
        Client(server, seed=number).shake(0.5 * number / 1000, relay=Address("6.6.6.6", number + 1))
        is not None
        for number in range(1000)
    )
    assert MAX_NETWORK_HANDSHAKES <= flooded <= MAX_NETWORK_HANDSHAKES + NETWORK_HANDSHAKES_PER_SECOND
    honest = Client(server, seed=5000)
    first = honest.shake(0.5)
    assert first is not None
    for _ in range(1000):
        assert honest.shake(0.5) == first, "what comes again costs nothing"


def test_clients_that_a_relay_of_ours_sends_are_counted_by_their_own_network():
    hosts = []

    class Budget(WorkBudget):
        def take(self, host, now):
            hosts.append(host)
            return host != CLIENT_AT.host

    server = Server(handshakes=Budget(HANDSHAKES))
    assert Client(server, seed=1).shake(relay=RELAY) is None
    assert Client(server, seed=2).shake(direct=True) is None
    assert Client(server, seed=3).shake(relay=OTHER_RELAY) is not None
    assert hosts == [CLIENT_AT.host, CLIENT_AT.host, OTHER_RELAY.host]
