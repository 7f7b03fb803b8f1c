"""How many handshakes a node answers, whatever peer sends them."""

from hypercore.dht.address import Address
from hypercore.dht.handshake_budget import (
    MAX_BURST,
    MAX_NETWORK_BURST,
    MAX_NEWCOMER_BURST,
    NETWORK_PER_SECOND,
    NEWCOMER_HANDSHAKES,
    NEWCOMERS_PER_SECOND,
    PER_SECOND,
    HandshakeBudget,
)

CLIENT = Address("91.0.0.1", 5000)


def ask(budget, host, now=0.0, *, client=CLIENT, own_relay=False):
    return budget.take(Address(host, 1), client, now, own_relay=own_relay)


def test_a_network_has_its_share_however_many_hosts_it_has():
    budget = HandshakeBudget()
    answered = sum(ask(budget, f"6.6.6.{number % 256}") for number in range(3000))
    assert answered == MAX_NETWORK_BURST and budget.refused == 3000 - answered
    assert sum(ask(budget, "6.6.6.7", 1.0) for _ in range(3000)) == NETWORK_PER_SECOND
    assert ask(budget, "7.7.7.7", 1.0), "others notice nothing"


def test_networks_that_send_many_leave_a_share_for_others():
    budget, answered = HandshakeBudget(), 0
    for second in range(10):
        for flood in range(20):
            answered += sum(ask(budget, f"6.6.{flood}.1", float(second)) for _ in range(100))
        for newcomer in range(NEWCOMERS_PER_SECOND // 2):
            assert ask(budget, f"8.{second}.{newcomer}.1", float(second)), "a client that comes first"
    assert answered <= MAX_BURST + 9 * PER_SECOND + 20 * NEWCOMER_HANDSHAKES


def test_all_together_cannot_take_more_than_a_part_of_a_processor():
    budget = HandshakeBudget()
    answered = sum(ask(budget, f"{high}.{low}.1.1") for high in range(1, 100) for low in range(250))
    assert answered == MAX_BURST + MAX_NEWCOMER_BURST
    later = sum(ask(budget, f"{high}.{low}.2.1", 1.0) for high in range(1, 100) for low in range(250))
    assert later == PER_SECOND + NEWCOMERS_PER_SECOND


def test_clients_that_a_relay_of_ours_sends_are_counted_by_their_own_network():
    budget = HandshakeBudget()
    flood = Address("6.6.6.6", 1)
    while ask(budget, "77.0.0.1", client=flood, own_relay=True):
        pass
    assert ask(budget, "77.0.0.1", own_relay=True), "an honest client by the same relay"
    assert not ask(budget, "6.6.6.9"), "and the network has had its share, also without a relay"
