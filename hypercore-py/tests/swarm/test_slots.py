"""Room for peers that dial us."""

from hypercore.swarm.slots import (
    ACCEPT,
    HOST_SHARE,
    MAX_CONNECTIONS,
    MIN_PER_HOST,
    REFUSE,
    SILENCE,
    Slots,
    Verdict,
)


def key(number):
    return bytes([number // 256, number % 256]) * 16


class Door:
    """Slots, and how much each of those inside has reported."""

    def __init__(self, limit):
        self.reported = {}
        self.asked = 0
        self.slots = Slots(self.messages, limit=limit)
        self.count = 0

    def messages(self, public_key):
        self.asked += 1
        return self.reported.get(public_key, 0)

    def come(self, host, now=0.0):
        """A new peer knocks, and follows the verdict, which is returned."""
        verdict = self.slots.admit(host, now)
        if verdict.evict is not None:
            self.slots.closed(verdict.evict)
        if verdict.accept:
            self.count += 1
            self.slots.opened(key(self.count), host, now)
        return verdict


def test_while_there_is_room_all_are_admitted_and_their_use_is_not_measured():
    door = Door(8)
    assert [door.come(f"h{number}") for number in range(8)] == [ACCEPT] * 8
    assert len(door.slots) == 8
    assert door.asked == 0


def test_one_address_has_its_share_and_no_more():
    door = Door(MAX_CONNECTIONS)
    share = MAX_CONNECTIONS // HOST_SHARE
    verdicts = [door.come("stranger") for _ in range(share + 50)]
    assert verdicts == [ACCEPT] * share + [REFUSE] * 50
    assert door.come("somebody else") == ACCEPT


def test_a_small_bound_leaves_an_address_some():
    door = Door(4)
    assert door.slots.per_host == MIN_PER_HOST


def test_the_address_with_most_connections_makes_way():
    door = Door(16)
    for _ in range(4):
        door.come("crowd")
    for number in range(12):
        door.come(f"h{number}")
    door.reported[key(1)] = door.reported[key(3)] = 1
    assert door.come("new", now=1.0) == Verdict(True, key(2)), "the first of the quiet ones of the crowd"
    assert len(door.slots) == 16


def test_a_host_gains_nothing_by_connecting_with_other_keys():
    door = Door(16)
    hosts = [f"h{number}" for number in range(4)]
    for _ in range(4):
        for host in hosts:
            door.come(host)
    assert door.come("h0") == REFUSE
    assert [door.come("new", now=1.0).accept for _ in range(3)] == [True] * 3
    assert door.come("new", now=1.0) == REFUSE, "it has as many as the others now"


def test_the_peer_that_was_silent_longest_makes_way_after_a_while():
    door = Door(3)
    for number in range(3):
        door.come(f"h{number}", now=float(number))
    assert door.come("new", now=SILENCE - 1.0) == REFUSE
    door.reported[key(1)] = 5
    assert door.come("new", now=SILENCE + 2.0) == Verdict(True, key(2))
    assert door.come("newer", now=SILENCE + 3.0) == Verdict(True, key(3))
    assert door.come("newest", now=SILENCE + 4.0) == REFUSE, "all others have spoken or are new"


def test_a_flood_of_handshakes_does_not_make_us_look_at_every_peer_each_time():
    door = Door(4)
    for number in range(4):
        door.come(f"h{number}")
    for _ in range(1000):
        assert door.come("flood", now=1.0) == REFUSE
    assert door.asked == 4


def test_a_slot_is_free_again_when_its_peer_has_gone():
    door = Door(1)
    door.come("a")
    assert door.come("b") == REFUSE
    door.slots.closed(key(1))
    door.slots.closed(key(1))
    assert door.come("b") == ACCEPT
    door.slots.opened(key(2), "c", 1.0)  # the same peer, from elsewhere
    assert len(door.slots) == 1


def test_a_lower_limit_takes_effect_for_the_next():
    door = Door(4)
    for number in range(4):
        door.come(f"h{number}")
    door.slots.limit = 2
    assert door.come("new") == REFUSE
    assert len(door.slots) == 4
