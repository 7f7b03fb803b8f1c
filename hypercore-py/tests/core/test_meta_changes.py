"""Values that wait to be written, against a plain dictionary."""

from __future__ import annotations

from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hypercore.core import memory_store
from hypercore.core.meta_changes import MetaChanges
from hypercore.core.store import Flush
from support.examples import examples

NAMES = st.text(alphabet="ab/", max_size=4)
VALUES = st.none() | st.binary(max_size=1)


class MetaMachine(RuleBasedStateMachine):
    """The key-value table of a store over flushes that end well or are given up."""

    def __init__(self) -> None:
        super().__init__()
        self.store = memory_store()
        self.model: dict[str, bytes] = {}
        self.flush: Flush | None = None

    @rule(name=NAMES, value=VALUES)
    def set_value(self, name: str, value: bytes | None) -> None:
        self.store.set_meta(name, value)
        if value is None:
            self.model.pop(name, None)
        else:
            self.model[name] = value

    @precondition(lambda self: self.flush is None)
    @rule()
    def begin_flush(self) -> None:
        self.flush = self.store.prepare_flush()

    @precondition(lambda self: self.flush is not None)
    @rule(succeeds=st.booleans())
    def end_flush(self, succeeds: bool) -> None:
        assert self.flush is not None
        if succeeds:
            self.flush.run()
            self.flush.finish()
        else:
            self.flush.abandon()
        self.flush = None

    @rule(prefix=NAMES)
    def names_are_those_of_the_model(self, prefix: str) -> None:
        assert self.store.meta_names(prefix) == sorted(name for name in self.model if name.startswith(prefix))

    @rule(name=NAMES)
    def a_value_is_that_of_the_model(self, name: str) -> None:
        assert self.store.get_meta(name) == self.model.get(name)

    @invariant()
    def all_names_are_found(self) -> None:
        assert self.store.meta_names("") == sorted(self.model)


TestMeta = MetaMachine.TestCase
TestMeta.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)


class Name(str):
    """A name that counts how often names are looked at."""

    __slots__ = ()
    visits: ClassVar[int] = 0

    def __lt__(self, other: str) -> bool:
        Name.visits += 1
        return str.__lt__(self, other)

    def startswith(self, *args: object) -> bool:
        Name.visits += 1
        return str.startswith(self, *args)  # type: ignore[arg-type]


def test_a_lookup_by_prefix_looks_at_few_of_the_other_names() -> None:
    changes = MetaChanges()
    for number in range(4096):
        changes[Name(f"core/{number:04}/key")] = b"1"
    Name.visits = 0
    assert list(changes.with_prefix("core/2000/")) == [("core/2000/key", b"1")]
    assert 2 <= Name.visits <= 16  # a binary search over 4,096, the name, the one after it
