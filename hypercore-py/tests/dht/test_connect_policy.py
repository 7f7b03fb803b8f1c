"""A client's handshake and its choice of the way."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.connect_policy import (
    MAX_LAN_ADDRESSES,
    Contact,
    Route,
    acceptable,
    choose_route,
    read_handshake_answer,
    read_holepunch_answer,
)
from hypercore.dht.constants import Firewall, HandshakeStatus, Mode
from hypercore.dht.messages import (
    Handshake,
    Holepunch,
    HolepunchInfo,
    HolepunchPayload,
    NoisePayload,
    RelayInfo,
    UdxInfo,
)
from hypercore.dht.nat import MIN_SAMPLES, NatSampler
from hypercore.dht.network_profile import MAX_LOCAL_ADDRESSES, NetworkProfile, profile_network
from hypercore.dht.noise import ClientHandshake, ServerHandshake
from hypercore.dht.punch_probes import TICKS, Probe
from hypercore.dht.punching import MAX_REMOTE_ADDRESSES, Puncher
from hypercore.dht.relays import AnnouncedRelays, best_replies, changed_addresses, relays_alive
from hypercore.dht.rpc import Reply
from hypercore.errors import RemoteProtocolError
from support.examples import examples

CLIENT = KeyPair.from_seed(b"\x01" * 32)
SERVER = KeyPair.from_seed(b"\x02" * 32)
RELAY = Address("77.0.0.1", 49737)
SERVER_AT = Address("90.0.0.1", 49737)
US_AT = Address("91.0.0.1", 5000)
RELAYS = (RelayInfo(Address("77.0.0.9", 1), SERVER_AT), RelayInfo(RELAY, SERVER_AT))
NATTED = NetworkProfile(local=(Address("192.168.1.9", 5000),), firewall=Firewall.CONSISTENT, seen=(US_AT,))
OPEN = NetworkProfile(public=US_AT, firewall=Firewall.OPEN, seen=(US_AT,))


PUNCHABLE = HolepunchInfo(0, RELAYS)


def _contact(*, relayed=True, client=US_AT, server=SERVER_AT, holepunch=PUNCHABLE, **payload):
    return Contact(
        RELAY,
        server if relayed else RELAY,
        client,
        relayed,
        NoisePayload(udx=UdxInfo(1), holepunch=holepunch, **payload),
        None,
    )


NEIGHBOUR = US_AT._replace(port=49737)
LAN = Address("192.168.1.2", 49737)
BRIDGE = Address("172.17.0.1", 5000)

WAYS = {
    "the server itself was asked": (_contact(relayed=False), NATTED, Route(direct=RELAY)),
    "anybody can reach the server": (
        _contact(firewall=Firewall.OPEN, holepunch=None, addresses4=(LAN, Address("90.9.9.9", 7))),
        NATTED,
        Route(direct=Address("90.9.9.9", 7)),
    ),
    "an open server on this machine": (
        _contact(firewall=Firewall.OPEN, holepunch=None, addresses4=(Address("127.0.0.1", 7),)),
        NATTED,
        Route(direct=SERVER_AT),
    ),
    "no hole can be punched": (_contact(holepunch=HolepunchInfo(0, ())), NATTED, Route(direct=SERVER_AT)),
    "anybody can reach us": (_contact(), OPEN, Route(passive=True)),
    "behind another NAT": (_contact(addresses4=(LAN,)), NATTED, Route(punch=RELAYS[1])),
    "behind the same NAT": (
        _contact(server=NEIGHBOUR, addresses4=(Address("10.0.0.5", 1), LAN)),
        NATTED,
        Route(lan=(LAN, Address("10.0.0.5", 1)), punch=RELAYS[1]),
    ),
    "behind the same NAT, other network": (
        _contact(server=NEIGHBOUR, addresses4=(Address("10.0.0.5", 1),)),
        NATTED,
        Route(lan=(Address("10.0.0.5", 1),), punch=RELAYS[1]),
    ),
    "behind the same NAT, a bridge like our own": (
        _contact(server=NEIGHBOUR, addresses4=(BRIDGE, LAN)),
        NATTED._replace(local=(BRIDGE, *NATTED.local)),
        Route(lan=(LAN,), punch=RELAYS[1]),
    ),
    "behind the same NAT, with more addresses than are tried": (
        _contact(server=NEIGHBOUR, addresses4=tuple(Address(f"10.0.{i}.1", 1) for i in range(9))),
        NATTED,
        Route(lan=tuple(Address(f"10.0.{i}.1", 1) for i in range(MAX_LAN_ADDRESSES)), punch=RELAYS[1]),
    ),
    "behind the same NAT, nonsense addresses": (
        _contact(server=NEIGHBOUR, addresses4=(Address("0.0.0.0", 1), Address("10.0.0.5", 0))),
        NATTED,
        Route(punch=RELAYS[1]),
    ),
    "their relays are not ours": (
        _contact(holepunch=HolepunchInfo(0, RELAYS[:1])),
        NATTED,
        Route(punch=RELAYS[0]),
    ),
}


@pytest.mark.parametrize("case", WAYS)
def test_way_to_the_server(case):
    contact, ours, route = WAYS[case]
    assert choose_route(contact, ours) == route


def test_own_network_is_left_out_if_so_wished():
    contact, ours, _ = WAYS["behind the same NAT"]
    assert choose_route(contact, ours, lan=False) == Route(punch=RELAYS[1])


def _reply(value):
    return Reply(RELAY, US_AT, None, None, (), 0, value, 0.1)


def test_relayed_answer_reports_where_the_server_is():
    value = Handshake(mode=Mode.REPLY, noise=b"n", peer_address=SERVER_AT).encode()
    assert read_handshake_answer(_reply(value)) == (b"n", SERVER_AT, True)


def test_answer_of_the_server_itself_is_not_relayed():
    value = Handshake(mode=Mode.REPLY, noise=b"n").encode()
    assert read_handshake_answer(_reply(value)) == (b"n", RELAY, False)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"\xff",
        Handshake(mode=Mode.REPLY, noise=b"").encode(),
        Handshake(mode=Mode.FROM_SERVER, noise=b"n").encode(),
        Handshake(mode=Mode.REPLY, noise=b"n", peer_address=Address("1.2.3.4", 0)).encode(),
    ],
)
def test_useless_handshake_answer_is_none(value):
    assert read_handshake_answer(_reply(value)) is None


def test_holepunch_answer_reports_where_the_server_punches_from():
    value = Holepunch(mode=Mode.REPLY, id=0, payload=b"p", peer_address=SERVER_AT).encode()
    assert read_holepunch_answer(_reply(value)) == (b"p", SERVER_AT)
    for useless in (None, b"\xff", Holepunch(mode=Mode.FROM_CLIENT, id=0, payload=b"p").encode()):
        assert read_holepunch_answer(_reply(useless)) is None


@pytest.mark.parametrize(
    ("payload", "ok"),
    [
        (NoisePayload(udx=UdxInfo(1)), True),
        (NoisePayload(), False),
        (NoisePayload(udx=UdxInfo(2**32)), False),
        (NoisePayload(udx=UdxInfo(1), error=HandshakeStatus.TRY_LATER), False),
        (NoisePayload(version=2), False),
    ],
)
def test_only_a_willing_server_is_connected_to(payload, ok):
    assert acceptable(payload) is ok


def test_right_answer_counts_after_any_number_of_wrong_ones():
    client = ClientHandshake(CLIENT, SERVER.public_key, random.Random(1).randbytes)
    server = ServerHandshake(SERVER, random.Random(2).randbytes)
    remote, key = server.read(client.write(NoisePayload(udx=UdxInfo(5))))
    assert key == CLIENT.public_key and remote.udx == UdxInfo(5)
    noise, result = server.write(NoisePayload(udx=UdxInfo(6)))
    for wrong in (b"", b"x" * 200, noise[:-1], bytes(len(noise))):
        with pytest.raises(RemoteProtocolError):
            client.read(wrong)
    payload, ours = client.read(noise)
    assert payload.udx == UdxInfo(6)
    assert (ours.tx, ours.rx, ours.hash) == (result.rx, result.tx, result.hash)
    assert client.read(noise)[1] == ours


@settings(max_examples=examples(50))
@given(st.binary(max_size=200))
def test_garbage_raises_only_remote_protocol_errors(garbage):
    client = ClientHandshake(CLIENT, SERVER.public_key, random.Random(1).randbytes)
    client.write(NoisePayload(udx=UdxInfo(5)))
    with pytest.raises(RemoteProtocolError):
        client.read(garbage)
    with pytest.raises(RemoteProtocolError):
        ServerHandshake(SERVER, random.Random(2).randbytes).read(garbage)


# --- punching, from the client's side ----------------------------------------------------------------------


def new_puncher():
    return Puncher(initiator=True, remote_host=SERVER_AT.host, random_bytes=random.Random(7).randbytes)


def test_client_punches_at_once_and_ten_times():
    puncher = new_puncher()
    puncher.update(
        HolepunchPayload(firewall=Firewall.CONSISTENT, punching=True, addresses=(SERVER_AT,)), SERVER_AT.host
    )
    assert puncher.start(Firewall.CONSISTENT, 5.0) and puncher.start(Firewall.CONSISTENT, 6.0)
    sent = []
    while (at := puncher.next_deadline()) is not None:
        puncher.handle_timer(at)
        sent += [(at, probe.address) for probe in puncher.take_output(at)]
    assert sent == [(5.0 + i, SERVER_AT) for i in range(TICKS)]
    assert puncher.exhausted and not puncher.punching


@pytest.mark.parametrize(
    ("local", "remote", "possible"),
    [
        (Firewall.OPEN, Firewall.OPEN, True),
        (Firewall.CONSISTENT, Firewall.OPEN, True),
        (Firewall.CONSISTENT, Firewall.RANDOM, False),
        (Firewall.RANDOM, Firewall.CONSISTENT, False),
        (Firewall.UNKNOWN, Firewall.CONSISTENT, False),
        (Firewall.CONSISTENT, Firewall.UNKNOWN, False),
    ],
)
def test_stable_nats_are_punched_even_at_unproven_addresses(local, remote, possible):
    puncher = new_puncher()
    puncher.update(HolepunchPayload(firewall=remote, addresses=(SERVER_AT,)), None)
    assert puncher.start(local, 0.0) is possible


def test_address_once_verified_stays_so():
    puncher = new_puncher()
    state = HolepunchPayload(firewall=Firewall.CONSISTENT, addresses=(SERVER_AT, RELAY))
    puncher.update(state, SERVER_AT.host)
    puncher.update(state, None)
    puncher.start(Firewall.CONSISTENT, 0.0)
    puncher.handle_timer(0.0)
    assert puncher.take_output(0.0) == [Probe(SERVER_AT)]


def test_port_zero_is_not_punched_at():
    puncher = new_puncher()
    puncher.update(
        HolepunchPayload(firewall=Firewall.CONSISTENT, addresses=(SERVER_AT._replace(port=0),)),
        SERVER_AT.host,
    )
    assert not puncher.start(Firewall.CONSISTENT, 0.0)


def test_client_never_echoes():
    puncher = new_puncher()
    assert puncher.expects(SERVER_AT.host) and not puncher.may_echo(SERVER_AT, 0.0)


def test_addresses_of_the_other_side_are_bounded():
    puncher = new_puncher()
    many = tuple(Address(f"90.0.1.{i}", 1) for i in range(100))
    puncher.update(HolepunchPayload(firewall=Firewall.CONSISTENT, addresses=many), None)
    assert len(puncher.addresses) == MAX_REMOTE_ADDRESSES


# --- what we tell of ourselves, and our relays -----------------------------------------------------------


def _sampled(port):
    nat = NatSampler()
    for number in range(MIN_SAMPLES):
        nat.add(Address("90.0.0.1", port), by=Address("77.0.0.1", number))
    return nat


def test_behind_a_nat_we_have_no_public_address():
    around = profile_network(_sampled(49737), firewalled=True, local_port=49737, local=(LAN,))
    assert around == NetworkProfile(None, (LAN,), Firewall.CONSISTENT, (SERVER_AT,))
    assert around.handshake_firewall == Firewall.UNKNOWN and around.handshake_addresses == (LAN,)


def test_without_a_nat_our_public_address_comes_first():
    around = profile_network(_sampled(49737), firewalled=False, local_port=49737, local=(LAN,))
    assert around.public == SERVER_AT and around.firewall == Firewall.OPEN
    assert around.handshake_firewall == Firewall.OPEN and around.handshake_addresses == (SERVER_AT, LAN)


def test_mapped_port_is_not_public():
    assert profile_network(_sampled(1234), firewalled=False, local_port=49737, local=()).public is None


def test_local_addresses_of_a_server_are_bounded():
    many = tuple(Address(f"10.0.0.{i}", 1) for i in range(100))
    around = profile_network(_sampled(1), firewalled=True, local_port=1, local=many)
    assert len(around.handshake_addresses) == MAX_LOCAL_ADDRESSES


def test_dropped_relays_are_named_and_remembered_for_three_announcements():
    relays = AnnouncedRelays()
    infos = [RelayInfo(Address("77.0.0.1", port), US_AT) for port in range(1, 7)]
    assert relays.replace(infos[:3]) == []
    assert relays.replace(infos[2:5]) == [info.relay_address for info in infos[:2]]
    assert relays.addresses == tuple(info.relay_address for info in infos[2:5])
    assert relays.current == tuple(infos[2:5])
    assert relays.is_relay(infos[0].relay_address)
    relays.replace([])
    assert relays.is_relay(infos[0].relay_address)
    relays.replace([])
    assert not relays.is_relay(infos[0].relay_address) and not relays.is_relay(US_AT)


def test_only_nodes_with_id_and_token_are_announced_to():
    good = Reply(RELAY, US_AT, b"i" * 32, b"t" * 32, (), 0, None, 0.1)
    assert (
        best_replies([good._replace(id=None), good, good._replace(token=None), good, good, good])
        == [good] * 3
    )


ELSEWHERE, ELSEWHERE_AGAIN = US_AT._replace(port=6000), US_AT._replace(port=6001)


@pytest.mark.parametrize(
    ("seen_at", "standing", "moved"),
    [
        ([US_AT, US_AT, US_AT], True, []),
        ([], True, []),
        ([US_AT, None, US_AT], False, []),
        ([US_AT, US_AT, ELSEWHERE], False, []),
        ([None, ELSEWHERE, ELSEWHERE], False, [2, 3]),
        ([ELSEWHERE_AGAIN, ELSEWHERE, ELSEWHERE], False, [1, 2, 3]),
        ([ELSEWHERE_AGAIN, ELSEWHERE, US_AT], False, [1, 2]),
    ],
)
def test_relays_that_are_gone_or_see_us_elsewhere_renew_the_announcement(seen_at, standing, moved):
    relays = [RelayInfo(Address("77.0.0.1", port), US_AT) for port in range(1, 1 + len(seen_at))]
    answers = [to and Reply(RELAY, to, None, None, (), 0, None, 0.1) for to in seen_at]
    assert relays_alive(relays, answers) is standing
    assert changed_addresses(relays, answers) == [
        (Address("77.0.0.1", port), seen_at[port - 1]) for port in moved
    ]
