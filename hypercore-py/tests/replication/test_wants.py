from hypothesis import given, settings
from hypothesis import strategies as st

from hypercore.bitfield import Bitfield
from hypercore.replication.config import (
    MAX_LOCAL_WANTS,
    MAX_REMOTE_ANY_WANTS,
    MAX_REMOTE_WANT_SIZES,
    MAX_REMOTE_WANTS,
    WANT_BATCH,
)
from hypercore.replication.wants import LocalWants, RemoteWants
from hypercore.wire.control import Want

REGIONS = st.builds(
    lambda power, number: Want(start=number << power, length=1 << power),
    st.integers(5, 8),
    st.integers(0, 20),
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), REGIONS), max_size=20), st.integers(0, 3000), st.integers(1, 600))
def test_regions_are_remembered_and_forgotten(
    changes: list[tuple[bool, Want]], start: int, size: int
) -> None:
    wants, model = RemoteWants(), set()
    for add, want in changes:
        if add:
            assert wants.add(want)
            model.add((want.start, want.length))
        else:
            wants.remove(want)
            model.discard((want.start, want.length))
    expected = any(low < start + size and start < low + length for low, length in model)
    assert wants.overlaps(start, start + size) == expected
    assert wants.regions() == sorted(model)
    assert len(wants) == len(model)


def test_a_want_of_more_than_a_batch_is_ignored() -> None:
    wants = RemoteWants()
    assert not wants.add(Want(start=0, length=2 * WANT_BATCH))
    assert not wants.overlaps(0, 1)


def test_a_want_that_is_no_region_wants_everything() -> None:
    for odd in (Want(start=0, length=33), Want(start=16, length=32), Want(start=0, length=16)):
        wants = RemoteWants()
        assert wants.add(odd)
        assert wants.everything
        assert wants.overlaps(10**9, 10**9 + 1)


def test_remote_wants_are_bounded() -> None:
    wants = RemoteWants()
    for number in range(MAX_REMOTE_WANTS):
        wants.add(Want(start=32 * number, length=32))
    assert not wants.everything
    wants.add(Want(start=0, length=32))  # not a new one
    assert not wants.everything
    wants.add(Want(start=32 * MAX_REMOTE_WANTS, length=32))
    assert wants.everything
    assert len(wants) == MAX_REMOTE_WANTS


def test_sizes_of_remote_wants_are_bounded() -> None:
    wants = RemoteWants()
    for power in range(MAX_REMOTE_WANT_SIZES):
        wants.add(Want(start=0, length=32 << power))
    assert not wants.everything
    wants.add(Want(start=0, length=32 << MAX_REMOTE_WANT_SIZES))
    assert wants.everything


def test_any_wants_are_bounded() -> None:
    wants = RemoteWants()
    for number in range(MAX_REMOTE_ANY_WANTS):
        wants.add(Want(start=10 * number, length=5, any_=True))
    assert wants.overlaps(12, 13)
    assert not wants.overlaps(16, 17)
    wants.remove(Want(start=10, length=5, any_=True))
    assert not wants.overlaps(12, 13)
    for number in (100, 200):
        wants.add(Want(start=10 * number, length=5, any_=True))
    assert wants.everything


def test_a_region_is_wanted_once_and_only_where_something_is_missing() -> None:
    have, wants = Bitfield(), LocalWants(64)
    have.set_range(64, 128)
    new, old = wants.update(have, known=0, start=0, end=300)
    assert [(want.start, want.length) for want in new] == [(0, 64), (128, 64), (192, 64), (256, 64)]
    assert not old
    assert wants.update(have, known=0, start=0, end=300) == ([], [])


def test_what_a_peer_has_from_the_front_on_need_not_be_wanted() -> None:
    new, _ = LocalWants(64).update(Bitfield(), known=130, start=0, end=300)
    assert [want.start for want in new] == [128, 192, 256]


def test_local_wants_are_bounded_and_move_on_with_the_download() -> None:
    have, wants = Bitfield(), LocalWants(64)
    end = 64 * 2 * MAX_LOCAL_WANTS
    new, _ = wants.update(have, known=0, start=0, end=end)
    assert len(new) == MAX_LOCAL_WANTS == len(wants)
    assert wants.update(have, known=0, start=0, end=end) == ([], [])
    have.set_range(0, 3 * 64)
    new, old = wants.update(have, known=0, start=0, end=end)
    assert [want.start for want in old] == [0, 64, 128]
    assert [want.start for want in new] == [64 * (MAX_LOCAL_WANTS + n) for n in range(3)]
    assert len(wants) == MAX_LOCAL_WANTS
