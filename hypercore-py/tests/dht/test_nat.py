"""What we believe of our own address when others report us."""

from hypothesis import given
from hypothesis import strategies as st

from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.nat import MAX_SAMPLES, NatSampler


def _sampled(*addresses):
    nat = NatSampler()
    for number, (host, port) in enumerate(addresses):
        nat.add(Address(host, port), by=Address("77.0.0.1", number))
    return nat


def test_nothing_is_known_without_samples():
    nat = NatSampler()
    assert (nat.host, nat.port, nat.firewall, nat.addresses) == (None, 0, Firewall.UNKNOWN, None)


def test_agreeing_nodes_give_host_and_port():
    nat = _sampled(("9.9.9.9", 1000), ("9.9.9.9", 1000), ("9.9.9.9", 1000))
    assert (nat.host, nat.port) == ("9.9.9.9", 1000)
    assert nat.firewall == Firewall.CONSISTENT
    assert nat.addresses == (Address("9.9.9.9", 1000),)


def test_nodes_that_agree_with_the_derived_address_are_counted():
    assert NatSampler().agreeing == 0
    liar = _sampled(*[("9.9.9.9", 1000)] * 5, ("6.6.6.6", 1000))
    assert (liar.host, liar.agreeing, len(liar)) == ("9.9.9.9", 5, 6)
    assert _sampled(("9.9.9.9", 1), ("9.9.9.9", 2), ("9.9.9.9", 3)).agreeing == 3


def test_another_port_every_time_is_a_random_nat():
    nat = _sampled(*(("9.9.9.9", port) for port in range(1000, 1006)))
    assert (nat.host, nat.port) == ("9.9.9.9", 0)
    assert nat.firewall == Firewall.RANDOM
    assert nat.addresses == (Address("9.9.9.9", 0),)


def test_the_kind_of_nat_is_unknown_until_three_hosts_have_seen_us():
    nat = _sampled(("9.9.9.9", 1000), ("9.9.9.9", 1000))
    assert nat.firewall == Firewall.UNKNOWN and nat.port == 1000


def test_nodes_that_disagree_about_the_host_prove_nothing():
    nat = _sampled(("9.9.9.9", 1), ("8.8.8.8", 1))
    assert nat.host is None and nat.firewall == Firewall.UNKNOWN


def test_one_liar_among_four_is_outvoted():
    truth = ("9.9.9.9", 1000)
    assert _sampled(truth, truth, truth, ("6.6.6.6", 6)).host == "9.9.9.9"
    assert _sampled(truth, truth, ("6.6.6.6", 6)).host is None


def test_three_liars_among_twelve_are_outvoted_and_four_are_not():
    truth, lie = ("9.9.9.9", 1000), ("6.6.6.6", 6)
    assert _sampled(*[truth] * 9, *[lie] * 3).host == "9.9.9.9"
    assert _sampled(*[truth] * 8, *[lie] * 4).host is None


def test_every_node_has_one_vote_and_may_change_it():
    nat = _sampled(("9.9.9.9", 1000), ("9.9.9.9", 1000), ("9.9.9.9", 1000), ("9.9.9.9", 1000))
    liar = Address("66.6.6.6", 6)
    assert not any(nat.add(Address("6.6.6.6", number), by=liar) for number in range(100))
    assert (nat.host, nat.port) == ("9.9.9.9", 1000) and len(nat) == 5
    moved = [nat.add(Address("8.8.8.8", 1), by=Address("77.0.0.1", number)) for number in range(4)]
    assert moved == [True, False, False, True], "unsure for a moment, then sure again"
    assert (nat.host, nat.port) == ("8.8.8.8", 1)


def test_in_another_network_only_what_is_reported_there_counts():
    nat = _sampled(*[("9.9.9.9", 1000)] * 6)
    nat.restart(
        [(Address("77.0.0.1", 1), Address("8.8.8.8", 1)), (Address("77.0.0.1", 2), Address("8.8.8.8", 1))]
    )
    assert (nat.host, nat.port, nat.firewall) == ("8.8.8.8", 1, Firewall.UNKNOWN)
    nat.add(Address("8.8.8.8", 2), by=Address("77.0.0.1", 3))
    assert (nat.host, nat.port, nat.firewall) == ("8.8.8.8", 0, Firewall.RANDOM)
    nat.restart([])
    assert (nat.host, nat.firewall, nat.addresses) == (None, Firewall.UNKNOWN, None)


def test_old_samples_are_forgotten():
    nat = _sampled(*[("9.9.9.9", 1)] * MAX_SAMPLES, *[("8.8.8.8", 2)] * MAX_SAMPLES)
    assert (nat.host, nat.port) == ("8.8.8.8", 2)
    assert len(nat) == MAX_SAMPLES


@given(st.lists(st.sampled_from([("9.9.9.9", 1), ("9.9.9.9", 2), ("8.8.8.8", 1)]), max_size=40))
def test_samples_are_bounded_and_a_port_needs_a_host(samples):
    nat = _sampled(*samples)
    assert len(nat) <= MAX_SAMPLES
    assert nat.host is not None or nat.port == 0
