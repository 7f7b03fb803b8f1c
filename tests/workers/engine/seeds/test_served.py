from __future__ import annotations

from workers.engine.seeds.served import ServedCounter


def test_only_growth_counts_and_each_byte_once() -> None:
    served = ServedCounter()
    assert served.take([(b"a", 5), (b"b", 0)]) == {b"a": 5}
    assert served.take([(b"a", 5), (b"b", 2)]) == {b"b": 2}
    assert served.take([(b"a", 9)]) == {b"a": 4}


def test_a_key_that_is_added_again_begins_at_nothing() -> None:
    served = ServedCounter()
    served.take([(b"a", 5)])
    served.remove(b"a")
    assert served.take([(b"a", 3)]) == {b"a": 3}
