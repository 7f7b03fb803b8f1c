"""Handshakes and hole punching from the server's side, with the client's messages made by hand."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall, HandshakeStatus
from hypercore.dht.messages import (
    NoisePayload,
    RelayInfo,
    UdxInfo,
)
from hypercore.dht.network_profile import NetworkProfile
from hypercore.dht.noise import ClientHandshake
from hypercore.dht.server_core import (
    DISCARD_SECONDS,
    PATH_SECONDS,
    Connected,
    Expired,
    Greet,
)
from hypercore.dht.sessions import (
    MAX_ANSWERS,
    MAX_HANDSHAKES,
    MAX_HANDSHAKES_PER_RELAY,
)
from support.dht_serving import (
    CLIENT,
    CLIENT_AT,
    OTHER_RELAY,
    PUBLIC,
    RELAY,
    Client,
    From,
    Server,
    _shaken,
)
from support.examples import examples


def test_reply_reports_how_the_server_can_be_reached():
    server, client = _shaken()
    payload = client.payload
    assert payload.error == HandshakeStatus.NONE and payload.firewall == Firewall.UNKNOWN
    assert payload.holepunch.relays == (RelayInfo(RELAY, PUBLIC),)
    assert payload.addresses4 == (Address("192.168.1.2", 49737),)
    assert payload.udx == UdxInfo(1001) and payload.secret_stream == 1
    assert payload.relay_addresses == (RELAY,)
    assert server.opened[0].remote_public_key == CLIENT.public_key
    assert client.result.tx == server.opened[0].result.rx


def test_server_that_any_peer_can_reach_offers_no_holepunch():
    public = NetworkProfile(public=PUBLIC, local=(), firewall=Firewall.OPEN, seen=(PUBLIC,))
    _, client = _shaken(around=public)
    assert client.payload.firewall == Firewall.OPEN and client.payload.holepunch is None
    assert client.payload.addresses4 == (PUBLIC,)


def test_equal_noise_gets_the_equal_answer_and_one_stream():
    server = Server()
    client = Client(server)
    replies = {client.shake(), client.shake(now=1.0, relay=OTHER_RELAY), client.shake(now=5.0)}
    assert len(replies) == 1 and len(server.opened) == 1


def test_answer_is_forgotten_some_time_after_all_is_over():
    server, client = _shaken()
    assert server.core.arrived(server.opened[0], 3.0)
    server.core.handle_timer(PATH_SECONDS)
    server.core.handle_timer(3.0 + DISCARD_SECONDS - 0.1)
    assert len(server.core) == 1
    client.shake(now=3.0 + DISCARD_SECONDS - 0.1)
    assert len(server.opened) == 1
    assert server.core.next_deadline() == 3.0 + DISCARD_SECONDS
    server.core.handle_timer(3.0 + DISCARD_SECONDS)
    assert len(server.core) == 0 and server.core.next_deadline() is None


@pytest.mark.parametrize("direct", [True, False])
def test_client_is_not_connected_before_it_has_arrived(direct):
    server = Server(around=NetworkProfile(public=PUBLIC, firewall=Firewall.OPEN, seen=(PUBLIC,)))
    Client(server, firewall=Firewall.OPEN).shake(direct=direct)
    assert server.events() == [] and server.core.awaited == 1
    assert server.core.arrived(server.opened[0], 1.0)
    assert server.events() == [Connected(server.opened[0])] and server.core.awaited == 0


def test_client_that_waits_for_us_is_greeted_once():
    server = Server()
    client = Client(server, firewall=Firewall.OPEN)
    client.shake()
    client.shake(now=1.0)
    assert server.events() == [Greet(server.opened[0])]
    server.core.handle_timer(PATH_SECONDS)
    assert server.events() == [Expired(server.opened[0])]


def test_client_at_port_zero_is_not_greeted():
    server = Server()
    client = Client(server, firewall=Firewall.OPEN)
    server.core.handshake(client.noise, CLIENT_AT._replace(port=0), From(RELAY), 0.0, direct=False)
    assert server.events() == []


def test_client_arrives_once():
    server, _ = _shaken()
    assert server.core.arrived(server.opened[0], 1.0)
    assert not server.core.arrived(server.opened[0], 1.1)
    assert server.events() == [Connected(server.opened[0])]


def test_client_whose_stream_ends_is_given_up():
    server, _ = _shaken()
    server.core.lost(server.opened[0], 1.0)
    server.core.lost(server.opened[0], 1.0)
    assert server.events() == [Expired(server.opened[0])]


def test_client_that_never_comes_is_given_up():
    server, client = _shaken()
    assert server.core.next_deadline() == PATH_SECONDS
    server.core.handle_timer(PATH_SECONDS)
    assert server.events() == [Expired(server.opened[0])]
    assert not server.core.arrived(server.opened[0], PATH_SECONDS)
    assert client.punch(now=PATH_SECONDS + 1, punching=True).error == HandshakeStatus.ABORTED


def test_refused_client_hears_nothing_and_is_asked_about_once():
    asked = []
    server = Server(firewall=lambda key, payload, address: asked.append((key, address)) or True)
    client = Client(server)
    assert client.shake() is None and client.shake(now=1.0) is None
    assert asked == [(CLIENT.public_key, CLIENT_AT)] and server.opened == []
    server.core.handle_timer(DISCARD_SECONDS)
    assert len(server.core) == 0


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"udx": None}, HandshakeStatus.ABORTED),
        ({"udx": UdxInfo(2**32)}, HandshakeStatus.ABORTED),
        ({"version": 2}, HandshakeStatus.VERSION_MISMATCH),
    ],
)
def test_a_client_that_cannot_be_served_gets_the_reason(payload, error):
    server = Server()
    client = Client(server, **payload)
    client.shake()
    assert client.payload.error == error and server.opened == [] and server.events() == []


def test_client_without_a_stream_gets_no_answer():
    server = Server()
    server.core._open_stream = lambda session: None
    assert Client(server).shake() is None and server.events() == []


def test_noise_for_another_peer_is_ignored():
    server = Server()
    peer = ClientHandshake(CLIENT, CLIENT.public_key, random.Random(1).randbytes)
    noise = peer.write(NoisePayload(udx=UdxInfo(1)))
    assert server.core.handshake(noise, CLIENT_AT, From(RELAY), 0.0, direct=False) is None
    assert len(server.core) == 0


@settings(max_examples=examples(50))
@given(st.binary(max_size=200))
def test_garbage_is_ignored(garbage):
    server = Server()
    assert server.core.handshake(garbage, CLIENT_AT, From(RELAY), 0.0, direct=False) is None
    assert server.core.holepunch(0, garbage, CLIENT_AT, From(RELAY), 0.0) is None


def shake_from(server, seed, *, relay=RELAY, client=CLIENT_AT, now=0.0):
    """A handshake that says to be of `client`. Returns its session."""
    noise = Client(server, seed=seed).noise
    assert server.core.handshake(noise, client, From(relay), now, direct=False) is not None
    return server.opened[-1]


def test_one_relay_has_a_share_of_the_handshakes(monkeypatch):
    """A peer that invents clients pushes out his own."""
    monkeypatch.setattr("hypercore.dht.sessions.MAX_HANDSHAKES_PER_RELAY", 10)
    assert 3 * MAX_HANDSHAKES_PER_RELAY < MAX_HANDSHAKES, "a server has three relays"
    server = Server()
    innocent = shake_from(server, 1000)
    invented = [
        shake_from(server, seed, relay=OTHER_RELAY, client=Address(f"66.0.0.{seed}", 1)) for seed in range(30)
    ]
    assert server.events() == [Expired(session) for session in invented[:20]]
    assert server.core.awaited == 11 and not innocent.over


def test_one_client_does_not_push_out_others_of_an_honest_relay(monkeypatch):
    monkeypatch.setattr("hypercore.dht.sessions.MAX_HANDSHAKES_PER_RELAY", 10)
    server = Server()
    innocent = shake_from(server, 1000)
    for seed in range(30):
        shake_from(server, seed, client=Address("66.0.0.1", seed + 1))
    assert server.core.awaited == 10 and not innocent.over


def test_handshakes_are_bounded_and_the_most_crowded_relay_makes_way(monkeypatch):
    monkeypatch.setattr("hypercore.dht.sessions.MAX_HANDSHAKES", 20)
    server = Server()
    innocent = shake_from(server, 1000)
    for seed in range(40):
        shake_from(server, seed, relay=Address(f"66.0.{seed % 5}.1", 1), client=Address(f"67.0.0.{seed}", 1))
    assert server.core.awaited == 20 and not innocent.over
    assert all(isinstance(event, Expired) for event in server.events())
    server.core.handle_timer(PATH_SECONDS)
    server.core.handle_timer(PATH_SECONDS + DISCARD_SECONDS)
    assert len(server.core) == 0
    client = Client(server, seed=99)
    assert client.shake(now=30.0) is not None
    assert client.payload.holepunch.id == 0, "slots are used again"


def test_refused_clients_take_no_place_and_are_remembered_within_bounds(monkeypatch):
    monkeypatch.setattr("hypercore.dht.sessions.MAX_ANSWERS", 10)
    assert MAX_ANSWERS >= 256
    server = Server(firewall=lambda key, payload, address: True)
    for seed in range(30):
        assert Client(server, seed=seed).shake() is None
    assert server.core.awaited == 0 and len(server.core) == 10
    server.core.handle_timer(DISCARD_SECONDS)
    assert len(server.core) == 0
